"""Training and evaluation of the committed policies."""
