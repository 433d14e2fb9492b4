"""What runs a model: one module for each backend, one protocol for all."""

from __future__ import annotations

BACKENDS: dict[str, str] = {"onnx": "vlad.policy.backends.onnx"}
"""The `backend` of a bundle -> the module that has it; imported only when a bundle asks for it."""
