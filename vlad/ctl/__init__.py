"""`vladctl`: look at the daemon and act on it from a terminal or a script."""
