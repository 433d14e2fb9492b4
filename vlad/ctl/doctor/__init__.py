"""What `vladctl doctor` looks at: a file for each field, a generator of findings for each thing."""
