"""What surrounds the daemon: the demo, the simulated robot, training, evaluation and benchmarks."""
