"""One file for each group of commands; `run(arguments, out)` returns the exit status."""
