"""Fault injection: a proxy that spoils signals and commands, and what can be done to a process."""
