"""A runtime of MLServer."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceResponse

from tests.policy.backends.real_servers.models import answer


class Runtime(MLModel):
    async def predict(self, payload):
        inputs = {
            tensor.name: np.array(StringCodec.decode_input(tensor), object)
            if tensor.datatype == "BYTES"
            else NumpyCodec.decode_input(tensor)
            for tensor in payload.inputs
        }
        try:
            outputs = answer(self.name, inputs)
        except RuntimeError as error:
            raise InferenceError(str(error)) from error
        rows = [NumpyCodec.encode_output(name, array) for name, array in outputs.items()]
        return InferenceResponse(model_name=self.name, outputs=rows)
