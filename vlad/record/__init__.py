"""What the daemon remembers: events in SQLite, and the black box, recordings in MCAP."""
