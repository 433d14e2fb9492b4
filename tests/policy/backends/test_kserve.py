"""What holds for both transports of the Open Inference Protocol."""

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tests.policy.backends.asking import STATE, asking, free_port
from tests.policy.bundles import image_input, laser_input, manifest, observations, sample
from tools.policy_servers.kserve import Served
from tools.policy_servers.kserve_grpc import GrpcServer
from tools.policy_servers.kserve_http import HttpServer
from vlad.clock import SystemClock
from vlad.config import PathSettings
from vlad.messages import Image
from vlad.policy.backends import BackendError, ServerLost, TensorSpec
from vlad.policy.backends.kserve_tensors import Place
from vlad.policy.backends.remote import LARGEST_ANSWER
from vlad.policy.bundle import BundleRefused, load_bundle, write_manifest
from vlad.policy.opening import open_policy
from vlad.policy_settings import PolicySettings
from vlad.server_settings import ServerSettings

SERVERS = {"http": HttpServer, "grpc": GrpcServer}
PLAN = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
PICTURE = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)


@pytest.fixture(params=["http", "grpc"])
def kind(request):
    return request.param


@pytest.fixture
def serve(kind):
    """Starts servers of one protocol; their addresses."""
    servers = []

    def start(served, port=0):
        servers.append(SERVERS[kind](served, port))
        start.last = servers[-1]
        return start.last.address

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def served():
    return Served(lambda seen: {"actions": PLAN})


@pytest.mark.parametrize("takes_bytes", [True, False])
def test_the_server_sees_the_inputs_as_they_are_and_its_answer_is_the_output(serve, served, takes_bytes):
    inputs = {
        "picture": PICTURE,
        "state": STATE,
        "tokens": np.array([[2**40, 0, -7]], np.int64),
        "prompt": np.array(["räume auf"], object),
    }
    served.takes_bytes = takes_bytes
    served.answer = lambda seen: {"actions": PLAN, "doubt": np.array([[0.25]], np.float32), "more": STATE}
    with asking("kserve", serve(served), "doubt", "actions") as backend:
        backend.run(inputs)
        answer = backend.run(inputs)
    for seen in served.seen:
        assert set(seen) == set(inputs)
        for name, array in inputs.items():
            assert seen[name].dtype == array.dtype
            sent = [text.encode() for text in array] if array.dtype == object else array
            np.testing.assert_array_equal(seen[name], sent)
    assert set(answer) == {"actions", "doubt"}
    assert answer["actions"].dtype == np.float32
    np.testing.assert_array_equal(answer["actions"], PLAN)
    np.testing.assert_array_equal(answer["doubt"], [[0.25]])


def test_what_the_server_says_of_its_model_is_described(serve, served):
    served.inputs = {"picture": ("UINT8", [-1, 4, 4, 3]), "state": ("FP32", [1, 2]), "half": ("BF16", [1])}
    served.outputs = {"actions": ("FP32", [-1, -1, 2])}
    with asking("kserve", serve(served), "actions") as backend:
        said = backend.describe()
    assert said.inputs["picture"] == TensorSpec("uint8", (None, 4, 4, 3))
    assert said.inputs["state"] == TensorSpec("float32", (1, 2))
    assert said.inputs["half"].dtype == "BF16"
    assert said.outputs == {"actions": TensorSpec("float32", (None, None, 2))}
    assert said.device == serve.last.address.partition("://")[2]


def test_numbers_that_are_none_and_shapes_of_any_kind_are_handed_on_for_the_policy_to_judge(serve, served):
    for takes_bytes in (True, False):
        served.takes_bytes = takes_bytes
        with asking("kserve", serve(served), "actions") as backend:
            for plan in (np.full_like(PLAN, np.nan), np.full_like(PLAN, np.inf), PLAN[:, :3]):
                served.answer = lambda seen, plan=plan: {"actions": plan}
                np.testing.assert_array_equal(backend.run({"state": STATE})["actions"], plan)


def test_an_output_that_the_server_does_not_give_is_lost(serve, served):
    served.answer = lambda seen: {"arm": PLAN}
    with (
        asking("kserve", serve(served), "actions") as backend,
        pytest.raises(ServerLost, match="the server failed"),
    ):
        backend.run({"state": STATE})


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            "message: RuntimeError: CUDA error: no memory\n\nAt:\n  /models/pi/1/model.py(23): execute\n",
            "message: RuntimeError: CUDA error: no memory At: /models/pi/1/model.py(23): execute; see its",
        ),
        (
            "1 validation error for Plan\nid\n  Input should be a string\n    For more visit https://p.dev",
            "1 validation error for Plan id Input should be a string For more visit https://p.dev; see its",
        ),
        ("Traceback (most recent call last):\n  File x\nKeyError: 'camera'\n", "KeyError: 'camera'; see its"),
        ("x" * 5000, f"{'x' * 500}; see its"),
    ],
)
def test_why_a_server_failed_reaches_the_person_in_one_line(serve, served, told, said):
    def fail(_seen):
        raise RuntimeError(told)

    served.answer = fail
    with asking("kserve", serve(served), "actions") as backend, pytest.raises(ServerLost) as lost:
        backend.run({"state": STATE})
    assert said in str(lost.value)
    assert "\n" not in str(lost.value)


def test_an_answer_that_is_too_large_is_refused(serve, served):
    served.waste = LARGEST_ANSWER
    with (
        asking("kserve", serve(served), "actions") as backend,
        pytest.raises(ServerLost, match="larger than"),
    ):
        backend.run({"state": STATE})
    served.waste = 0
    with asking("kserve", serve(served), "actions") as backend:
        backend.run({"state": STATE})


def test_without_grpc_http_works_and_grpc_says_what_to_install(monkeypatch, served):
    monkeypatch.setitem(sys.modules, "grpc", None)
    monkeypatch.delitem(sys.modules, "vlad.policy.backends.kserve_grpc")
    server = HttpServer(served)
    with asking("kserve", server.address, "actions") as backend:
        backend.run({"state": STATE})
    server.close()
    with (
        pytest.raises(BackendError, match=r"needs the package grpc, .*pip install vlad\[kserve\]"),
        asking("kserve", "grpc://h:1", "actions"),
    ):
        pass


def test_an_address_of_the_sixth_version_is_written_in_brackets():
    assert Place("::1", 8000, "pi", "").authority == "[::1]:8000"


# bundle and server ----------------------------------------------------------------------------------------


FITS = {
    "inputs": {"image": ("FP32", [-1, 3, 6, 8]), "scan": ("FP32", [-1, 4])},
    "outputs": {"actions": ("FP32", [-1, 4, 2]), "collision": ("FP32", [-1, 1])},
}


@pytest.fixture
def policy_of(tmp_path):
    """Opens a bundle "tiny" with the server at this address."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    opened = []

    def start(address, **image):
        inputs = [image_input(**image), laser_input()]
        write_manifest(folder, manifest(backend="kserve", inputs=inputs) | {"model": None})
        server = ServerSettings(address=address, timeout_s=20.0)
        clock, settings = SystemClock(), PolicySettings(server=server)
        policy = open_policy(
            load_bundle(folder),
            SimpleNamespace(policy=settings, paths=PathSettings(state_dir=folder.parent)),
            clock,
        )
        opened.append(policy)
        return policy

    yield start
    for policy in opened:
        policy.close()


def tiny(**changes):
    answer = {"actions": PLAN, "collision": np.array([[0.5]], np.float32)}
    return Served(lambda seen: answer, name="tiny", **(FITS | changes))


def test_a_bundle_that_fits_the_server_s_model_is_run(serve, policy_of):
    served = tiny()
    policy = policy_of(serve(served))
    assert policy.lost == ""
    assert served.seen[0]["image"].shape == (1, 3, 6, 8)


def test_every_difference_between_the_server_s_model_and_the_manifest_is_a_reason(serve, policy_of):
    served = tiny(
        inputs={"image": ("UINT8", [1, 3, 6, 8]), "text": ("BYTES", [1])},
        outputs={"actions": ("FP16", [-1, 5, 2]), "collision": ("FP32", [1, 1])},
    )
    with pytest.raises(BundleRefused) as refused:
        policy_of(serve(served))
    said = "\n".join(refused.value.reasons)
    assert len(refused.value.reasons) == 5
    for part in (
        "takes an input 'text' that the manifest does not have",
        "input 'image': is uint8 in the model, the manifest's kind means float32",
        "input 'scan': the model has none of this name",
        "output 'actions': is float16 in the model",
        "output 'actions': has shape (any, 5, 2) in the model, (1, 4, 2) in the manifest",
    ):
        assert part in said


def test_a_server_that_comes_later_is_compared_with_the_bundle_before_it_is_relied_on(serve, policy_of, kind):
    port = free_port()
    policy = policy_of(f"{kind}://127.0.0.1:{port}")
    assert "see whether the policy server runs" in policy.lost
    with pytest.raises(ServerLost, match="see whether the policy server runs"):
        policy.try_out()
    other = tiny(outputs={"actions": ("FP32", [-1, 9, 2]), "collision": ("FP32", [1, 1])})
    serve(other, port)
    with pytest.raises(ServerLost, match=r"has shape \(any, 9, 2\) in the model"):
        policy.try_out()
    assert other.seen == []
    other.outputs = FITS["outputs"]
    policy.try_out()
    assert len(other.seen) == 1


# pictures as files ----------------------------------------------------------------------------------------

JPEG = {"dtype": "uint8", "shape": [1, 24, 32, 3], "encode": "jpeg", "quality": 95, "mean": [], "std": []}


@pytest.mark.parametrize(
    ("kind_there", "shape", "sent"),
    [
        ("BYTES", [1], (1,)),
        ("BYTES", [-1, 1], (1, 1)),
        ("UINT8", [-1], None),
        ("UINT8", [-1, -1], None),
        ("UINT8", [1, -1], None),
        ("FP32", [-1, 24, 32, 3], (1,)),
        ("UINT8", [1, -1, -1, 3], (1,)),
    ],
)
def test_a_picture_is_sent_as_a_jpeg_file_in_the_form_that_the_model_takes(
    serve, policy_of, kind_there, shape, sent
):
    served = tiny(inputs=FITS["inputs"] | {"image": (kind_there, shape)})
    policy = policy_of(serve(served), **JPEG)
    rgb = np.zeros((24, 32, 3), np.uint8)
    rgb[:, :16] = 250, 100, 20
    policy.infer(observations() | {"camera": sample("camera", Image("rgb8", rgb))})
    first, last = served.seen[0]["image"], served.seen[-1]["image"]
    if sent is None:
        assert (last.dtype, last.ndim) == (np.uint8, len(shape))
    else:
        assert last.shape == sent
    files = [array.tobytes() if sent is None else array.item() for array in (first, last)]
    black, seen = (cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR) for file in files)
    assert black.max() == 0
    assert np.abs(seen[:, :14, ::-1].astype(int) - rgb[:, :14]).max() < 8


@pytest.mark.parametrize(
    "there",
    [
        ("FP32", [-1]),
        ("UINT8", [2, -1]),
        ("UINT8", [-1, 99]),
        ("BYTES", [2]),
        ("BYTES", [1, 2, 2, 3]),
        ("FP32", [1, 24, 32]),
        ("FP32", [1, 3, 24, 32]),
    ],
)
def test_a_model_that_takes_no_picture_there_is_none_for_a_jpeg_file(serve, policy_of, there):
    with pytest.raises(BundleRefused, match=r"input 'image': (is|has)"):
        policy_of(serve(tiny(inputs=FITS["inputs"] | {"image": there})), **JPEG)


def test_a_server_that_takes_no_bytes_over_http_is_sent_no_jpeg_file(policy_of):
    served = tiny(inputs=FITS["inputs"] | {"image": ("BYTES", [1])})
    served.takes_bytes = False
    server = HttpServer(served)
    assert "lacks binary_tensor_data, without which it can be sent no JPEG" in (
        policy_of(server.address, **JPEG).lost
    )
    server.close()
