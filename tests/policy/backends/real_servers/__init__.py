"""Inference servers that others wrote, each started with the Python of an environment that has it."""
