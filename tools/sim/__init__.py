"""The simulated robot: seeded worlds, MuJoCo physics, ray-cast sensors."""
