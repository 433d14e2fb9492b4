"""Maintenance: what looks after this computer and its data, each task in a process of its own."""
