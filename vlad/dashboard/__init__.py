"""The web page: a process of its own beside the daemon, which knows no more than the control socket tells."""
