"""LeRobot datasets on disk: reading them, and playing them onto the wire."""
