"""The tasks, a module each: `run(job) -> Result`; the docstring's first line says what it does."""
