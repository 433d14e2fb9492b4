"""Whether the robot's sensors are still calibrated: a file for each kind, and their stored references."""
