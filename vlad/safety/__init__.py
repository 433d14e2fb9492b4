"""What keeps the robot safe: pure functions and state machines, no I/O, no clock of their own."""
