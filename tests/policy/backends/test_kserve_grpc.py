"""The Open Inference Protocol over gRPC: what may come instead of an answer."""

import contextlib

import numpy as np
import pytest
from hypothesis import given

from tests.policy.backends.asking import STATE, asking, spoilt
from tools.policy_servers.kserve import Served
from tools.policy_servers.kserve_grpc import GrpcServer, message, varints
from vlad.policy.backends import ServerLost
from vlad.policy.backends.kserve_grpc import parsed, read
from vlad.policy.backends.remote import Refused

PLAN = np.arange(8, dtype=np.float32).reshape(1, 4, 2)


def row(*, name="actions", kind="FP32", shape=(1, 4, 2), contents=b""):
    fields = [(1, name), (2, kind), (3, varints(shape))]
    return (5, message(*fields, *([(5, contents)] if contents else [])))


BYTES = (6, PLAN.tobytes())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\xff", "is not the protocol's protobuf"),
        (message((5, b"\xff\xff")), "is not the protocol's protobuf"),
        (b"", "has no 'actions' but nothing"),
        (message(row(name="arm"), BYTES), "has no 'actions' but arm"),
        (message(row(), row(), BYTES), "has 2 outputs and the bytes of 1"),
        (message(row(shape=(1, 4, 3)), BYTES), "another size"),
        (message(row(shape=(-1, -4, 2)), BYTES), "array of shape"),
        (message(row(kind="BYTES"), BYTES), "datatype 'BYTES'; only numbers"),
        (message(row(kind="BF16"), BYTES), "datatype 'BF16'; only numbers"),
        (message(row(kind="BYTES", contents=message((8, b"x")))), "datatype 'BYTES'; only numbers"),
        (message(row(contents=message((7, np.zeros(8).tobytes())))), "array of 0 bytes"),
        (message(row()), "array of 0 bytes"),
    ],
)
def test_an_answer_over_grpc_that_is_none_is_refused(answer, said):
    served = Served(lambda seen: {"actions": PLAN}, raw=answer)
    server = GrpcServer(served)
    with asking("kserve", server.address, "actions") as backend:
        with pytest.raises(ServerLost) as lost:
            backend.run({"state": STATE})
        served.raw = None
        backend.run({"state": STATE})
    server.close()
    assert said in str(lost.value)
    assert str(lost.value).startswith(server.address)


@given(spoilt(message((1, "pi"), row(), BYTES)) | spoilt(message(row(contents=message(BYTES)))))
def test_a_spoilt_answer_over_grpc_is_read_or_refused(data):
    with contextlib.suppress(Refused):
        assert isinstance(read(parsed("ModelInferResponse", data), ("actions",))["actions"], np.ndarray)
