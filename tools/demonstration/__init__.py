"""The demo: the simulated rover, vlad and a referee that gives it tasks, shown live in the terminal."""
