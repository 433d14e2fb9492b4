"""Policy servers written from their protocols, for tests and benchmarks; none of them runs a model."""
