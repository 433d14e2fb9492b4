"""The servers of these tests speak as the protocols' own clients do. `tools/test` installs those."""

import numpy as np
import pytest

from tests.policy.backends.asking import STATE
from tools.policy_servers.kserve import Served
from tools.policy_servers.kserve_grpc import GrpcServer
from tools.policy_servers.kserve_http import HttpServer
from tools.policy_servers.openpi import OpenpiServer

PLAN = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
PICTURE = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)


@pytest.mark.filterwarnings("ignore:connect:DeprecationWarning")
def test_openpi_s_client_is_answered():
    client = pytest.importorskip("openpi_client.websocket_client_policy")
    seen = []

    def answer(saw):
        seen.append(saw)
        return {"actions": PLAN[0], "told": saw["prompt"]}

    server = OpenpiServer(answer, token="secret")
    host, _, port = server.address.rpartition(":")
    policy = client.WebsocketClientPolicy(host, int(port), api_key="secret")
    assert policy.get_server_metadata() == {"robot": "bench"}
    reply = policy.infer({"observation/state": STATE[0], "prompt": "fold it"})
    np.testing.assert_array_equal(reply["actions"], PLAN[0])
    assert reply["told"] == "fold it"
    assert reply["server_timing"]["infer_ms"] >= 0
    np.testing.assert_array_equal(seen[0]["observation/state"], STATE[0])
    with pytest.raises(RuntimeError, match="KeyError: 'prompt'"):
        policy.infer({})
    server.close()


@pytest.mark.parametrize(("kind", "takes_bytes"), [("http", True), ("http", False), ("grpc", True)])
def test_triton_s_client_is_answered(kind, takes_bytes):
    client_of = pytest.importorskip(f"tritonclient.{kind}")
    served = Served(lambda seen: {"actions": PLAN}, takes_bytes=takes_bytes)
    served.inputs = {"picture": ("UINT8", [-1, 4, 4, 3]), "prompt": ("BYTES", [-1])}
    served.outputs = {"actions": ("FP32", [-1, 4, 2])}
    server = {"http": HttpServer, "grpc": GrpcServer}[kind](served)
    client = client_of.InferenceServerClient(server.address.partition("://")[2])
    said = client.get_model_metadata("pi", **({"as_json": True} if kind == "grpc" else {}))
    assert said["name"] == "pi"
    assert [(row["name"], row["datatype"]) for row in said["inputs"]] == [
        ("picture", "UINT8"),
        ("prompt", "BYTES"),
    ]
    assert [int(size) for size in said["outputs"][0]["shape"]] == [-1, 4, 2]
    binary = {} if kind == "grpc" else {"binary_data": takes_bytes}
    inputs = []
    for name, array in (("picture", PICTURE), ("prompt", np.array(["räume auf".encode()], object))):
        inputs.append(client_of.InferInput(name, array.shape, dict(served.inputs)[name][0]))
        inputs[-1].set_data_from_numpy(array, **binary)
    answer = client.infer(
        "pi", inputs, outputs=[client_of.InferRequestedOutput("actions", **binary)], request_id="7"
    )
    np.testing.assert_array_equal(answer.as_numpy("actions"), PLAN)
    np.testing.assert_array_equal(served.seen[0]["picture"], PICTURE)
    assert served.seen[0]["prompt"].tolist() == ["räume auf".encode()]
    with pytest.raises(client_of.InferenceServerException, match="unknown model"):
        client.get_model_metadata("gone")
    client.close()
    server.close()
