"""What the daemon remembers: events in SQLite."""
