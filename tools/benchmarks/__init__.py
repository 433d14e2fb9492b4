"""The benchmarks: a module each, with `add_arguments(parser)` where it has options, and `run(arguments)`."""
