"""A model of Triton's Python backend, which does not heed PYTHONPATH."""

import os
import sys

import triton_python_backend_utils as triton

sys.path.insert(0, os.environ["PYTHONPATH"])
from tests.policy.backends.real_servers.models import answer


class TritonPythonModel:
    def initialize(self, arguments):
        self.name = arguments["model_name"]

    def execute(self, requests):
        return [self.reply(request) for request in requests]

    def reply(self, request):
        outputs = answer(self.name, {tensor.name(): tensor.as_numpy() for tensor in request.inputs()})
        return triton.InferenceResponse([triton.Tensor(name, array) for name, array in outputs.items()])
