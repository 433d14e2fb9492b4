"""KServe's own server: python -m tests.policy.backends.real_servers.kserve_server HTTP_PORT GRPC_PORT."""

import sys

from kserve import InferOutput, InferResponse, Model, ModelServer
from kserve.errors import InferenceError

from tests.policy.backends.real_servers.models import MODELS, answer, rows


class Served(Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    async def get_input_types(self):
        return rows(MODELS[self.name][0])

    async def get_output_types(self):
        return rows(MODELS[self.name][1])

    async def predict(self, payload, headers=None, response_headers=None):
        try:
            outputs = answer(self.name, {tensor.name: tensor.as_numpy() for tensor in payload.inputs})
        except RuntimeError as error:
            raise InferenceError(str(error)) from error
        given = []
        for name, array in outputs.items():
            given.append(InferOutput(name, list(array.shape), "FP32"))
            given[-1].set_data_from_numpy(array)
        return InferResponse(payload.id, self.name, given, requested_outputs=payload.request_outputs)


if __name__ == "__main__":
    http_port, grpc_port = map(int, sys.argv[1:])
    ModelServer(http_port=http_port, grpc_port=grpc_port).start([Served(name) for name in MODELS])
