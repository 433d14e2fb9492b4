import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.backends.asking import LARGE, free_port, spoilt
from tests.policy.backends.kserve_server import SERVERS, Served, message, varints
from tests.policy.bundles import image_input, laser_input, manifest
from tools.benchmarks.rig import ROOT
from vlad.clock import SystemClock
from vlad.config import PathSettings, PolicySettings, ServerSettings
from vlad.policy.backends import (
    BackendError,
    Model,
    ServerLost,
    TensorSpec,
    kserve_grpc,
    kserve_http,
    load_backend,
)
from vlad.policy.backends.kserve_tensors import Place
from vlad.policy.backends.remote import LARGEST_ANSWER, Refused
from vlad.policy.bundle import BundleRefused, load_bundle, write_manifest
from vlad.policy.opening import open_policy

PLAN = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
STATE = np.array([[0.5, -1.0]], np.float32)
PICTURE = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)


@contextlib.contextmanager
def asking(address, *outputs, timeout_s=20.0, **settings):
    """A backend that asks the server there, of a bundle that is called "pi"."""
    server = ServerSettings(address=address, timeout_s=timeout_s, **settings)
    backend = load_backend(
        "kserve", Model(Path("models/pi/1"), "float32", outputs, 1, server=server, name="pi")
    )
    try:
        yield backend
    finally:
        backend.close()


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


@pytest.fixture
def process(kind):
    """A server in a process of its own; its address and process id."""
    port = free_port()
    words = [sys.executable, "-m", "tests.policy.backends.kserve_server", kind, str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT) as server:
        try:
            assert server.stdout.readline() == b"listening\n"
            yield f"{kind}://127.0.0.1:{port}/v2/models/bench", server.pid
        finally:
            os.kill(server.pid, signal.SIGCONT)
            server.kill()


@pytest.fixture
def talks():
    """A server of nothing but bytes: says `data` to each who connects and asks, piece by piece."""
    ending = threading.Event()
    threads, sockets = [], []

    def start(*pieces, pause_s=0.0):
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0.05)
        sockets.append(listener)

        def talk():
            while not ending.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(5)
                        connection.recv(65536)
                        for piece in pieces:
                            connection.sendall(piece)
                            ending.wait(pause_s)

        threads.append(threading.Thread(target=talk))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    ending.set()
    for thread in threads:
        thread.join()
    for listener in sockets:
        listener.close()


# questions and answers ----------------------------------------------------------------------------------


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
    with asking(serve(served), "doubt", "actions") as backend:
        backend.run(inputs)
        answer = backend.run(inputs)
    for seen in served.seen:
        assert set(seen) == set(inputs)
        for name, array in inputs.items():
            assert seen[name].dtype == array.dtype
            np.testing.assert_array_equal(seen[name], array)
    assert set(answer) == {"actions", "doubt"}
    assert answer["actions"].dtype == np.float32
    np.testing.assert_array_equal(answer["actions"], PLAN)
    np.testing.assert_array_equal(answer["doubt"], [[0.25]])


def test_what_the_server_says_of_its_model_is_described(serve, served):
    served.inputs = {"picture": ("UINT8", [-1, 4, 4, 3]), "state": ("FP32", [1, 2]), "half": ("BF16", [1])}
    served.outputs = {"actions": ("FP32", [-1, -1, 2])}
    with asking(serve(served), "actions") as backend:
        said = backend.describe()
    assert said.inputs["picture"] == TensorSpec("uint8", (None, 4, 4, 3))
    assert said.inputs["state"] == TensorSpec("float32", (1, 2))
    assert said.inputs["half"].dtype == "BF16"
    assert said.outputs == {"actions": TensorSpec("float32", (None, None, 2))}
    assert said.device == serve.last.address.partition("://")[2]


@pytest.mark.parametrize(
    ("shape", "sent"), [([1], (1,)), ([-1], (1,)), ([-1, 1], (1, 1)), ([1, -1, 1], (1, 1, 1))]
)
def test_a_text_has_as_many_axes_as_the_model_wants(serve, served, shape, sent):
    served.inputs = {"prompt": ("BYTES", shape)}
    with asking(serve(served), "actions") as backend:
        assert backend.describe().inputs == {"prompt": TensorSpec("object", (1,))}
        backend.run({"prompt": np.array(["go"], object)})
    assert served.seen[0]["prompt"].shape == sent


def test_a_model_that_wants_several_texts_is_described_as_such(serve, served):
    served.inputs = {"prompt": ("BYTES", [1, 3])}
    with asking(serve(served), "actions") as backend:
        assert backend.describe().inputs == {"prompt": TensorSpec("object", (1, 3))}


@pytest.mark.parametrize(
    ("path", "name", "version"),
    [
        ("", "pi", ""),
        ("/", "pi", ""),
        ("/v2/models/fold", "fold", ""),
        ("/v2/models/fold/", "fold", ""),
        ("/v2/models/fold%20it/versions/2", "fold it", "2"),
    ],
)
def test_the_model_is_that_of_the_bundle_s_name_or_that_of_the_address(serve, served, path, name, version):
    served.name = name.replace(" ", "%20") if serve_is_http(serve, served) else name
    with asking(serve(served) + path, "actions") as backend:
        backend.describe()
        backend.run({"state": STATE})
    assert served.asked_for == [version]


def serve_is_http(serve, served):
    return serve(served).startswith("http")


def test_a_model_that_the_server_does_not_have_is_told(serve, served):
    address = serve(served) + "/v2/models/gone/versions/9"
    with asking(address, "actions") as backend:
        for ask in (backend.describe, lambda: backend.run({"state": STATE})):
            with pytest.raises(ServerLost, match=r"the server failed.*unknown model: 'gone' version '9'"):
                ask()


@pytest.mark.parametrize(
    "path", ["/v1/models/pi", "/v2/models", "/v2/models/a/b", "/v2/models/a/versions/", "//"]
)
def test_a_path_that_names_no_model_is_refused(path):
    with (
        pytest.raises(BackendError, match=r"names no model; write http://HOST:PORT/v2/models/NAME or"),
        asking(f"http://h:1{path}", "actions"),
    ):
        pass


def test_the_token_is_shown_to_the_server_and_a_wrong_one_is_refused(serve, served, tmp_path):
    file = tmp_path / "token"
    served.token = "secret"
    address = serve(served)
    file.write_text("secret\n")
    with asking(address, "actions", token_file=file) as backend:
        backend.describe()
        backend.run({"state": STATE})
    file.write_text("guess")
    with asking(address, "actions", token_file=file) as backend:
        for ask in (backend.describe, lambda: backend.run({"state": STATE})):
            with pytest.raises(ServerLost, match=r"the server failed: .*no such token; see its log"):
                ask()


# bad days -----------------------------------------------------------------------------------------------


def test_an_error_of_the_server_is_told_and_the_next_question_is_answered(serve, served):
    def fails(seen):
        raise RuntimeError("CUDA error: out of memory")

    good, served.answer = served.answer, fails
    with asking(serve(served), "actions") as backend:
        with pytest.raises(ServerLost, match=r"the server failed: .*CUDA error: out of memory; see its log"):
            backend.run({"state": STATE})
        served.answer = good
        np.testing.assert_array_equal(backend.run({"state": STATE})["actions"], PLAN)


def test_a_late_answer_is_never_taken_for_that_to_a_newer_question(serve, served):
    late, ready = threading.Event(), threading.Event()

    def answer(seen):
        if seen["state"][0, 0] == 0:
            ready.set()
            late.wait(20)
        return {"actions": PLAN + seen["state"][0, 0]}

    served.answer = answer
    with asking(serve(served), "actions", timeout_s=2.0) as backend:
        with pytest.raises(ServerLost, match=r"no answer within 2 s \(policy.server.timeout_s\)"):
            backend.run({"state": np.zeros((1, 2), np.float32)})
        assert ready.is_set()
        late.set()
        answer_to_one = backend.run({"state": np.ones((1, 2), np.float32)})["actions"]
    np.testing.assert_array_equal(answer_to_one, PLAN + 1)


def test_numbers_that_are_none_and_shapes_of_any_kind_are_handed_on_for_the_policy_to_judge(serve, served):
    for takes_bytes in (True, False):
        served.takes_bytes = takes_bytes
        with asking(serve(served), "actions") as backend:
            for plan in (np.full_like(PLAN, np.nan), np.full_like(PLAN, np.inf), PLAN[:, :3]):
                served.answer = lambda seen, plan=plan: {"actions": plan}
                np.testing.assert_array_equal(backend.run({"state": STATE})["actions"], plan)


def test_an_output_that_the_server_does_not_give_is_lost(serve, served):
    served.answer = lambda seen: {"arm": PLAN}
    with asking(serve(served), "actions") as backend, pytest.raises(ServerLost, match="the server failed"):
        backend.run({"state": STATE})


def test_an_answer_that_is_too_large_is_refused(serve, served):
    served.waste = LARGEST_ANSWER
    with asking(serve(served), "actions") as backend, pytest.raises(ServerLost, match="larger than"):
        backend.run({"state": STATE})
    served.waste = 0
    with asking(serve(served), "actions") as backend:
        backend.run({"state": STATE})


@pytest.mark.parametrize("inputs", [{"camera": PICTURE}, {"camera": LARGE}])
def test_a_frozen_server_holds_neither_a_question_nor_the_end_up(process, inputs):
    address, pid = process
    with asking(address, "actions", timeout_s=2.0) as backend:
        backend.run({"camera": PICTURE})
        os.kill(pid, signal.SIGSTOP)
        for ask in (lambda: backend.run(inputs), lambda: backend.run(inputs), backend.describe):
            with pytest.raises(ServerLost, match="no answer within 2 s"):
                ask()
        os.kill(pid, signal.SIGCONT)
        backend.run({"camera": PICTURE})


def test_a_server_that_comes_back_is_asked_again(serve, served):
    address = serve(served)
    with asking(address, "actions") as backend:
        backend.run({"state": STATE})
        serve.last.close()
        with contextlib.suppress(ServerLost):
            backend.run({"state": STATE})
        serve(served, int(address.rpartition(":")[2]))
        backend.run({"state": STATE})


def test_where_nobody_listens_the_reason_is_told(kind):
    address = f"{kind}://127.0.0.1:{free_port()}"
    with asking(address, "actions") as backend:
        for ask in (backend.describe, lambda: backend.run({"state": STATE})):
            with pytest.raises(
                ServerLost, match=r"(?i)connection refused.*; see whether the policy server runs"
            ):
                ask()


def test_the_settings_must_name_a_server_of_this_kind():
    with (
        pytest.raises(BackendError, match=r"'ws://h:1'; write address = \"http://HOST:PORT\""),
        asking("ws://h:1", "actions"),
    ):
        pass


def test_without_grpc_http_works_and_grpc_says_what_to_install(monkeypatch, served):
    monkeypatch.setitem(sys.modules, "grpc", None)
    monkeypatch.delitem(sys.modules, "vlad.policy.backends.kserve_grpc")
    server = SERVERS["http"](served)
    with asking(server.address, "actions") as backend:
        backend.run({"state": STATE})
    server.close()
    with (
        pytest.raises(BackendError, match=r"needs the package grpc, .*pip install vlad\[kserve\]"),
        asking("grpc://h:1", "actions"),
    ):
        pass


# HTTP ---------------------------------------------------------------------------------------------------


def http(body, head="", status="200 OK"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n{head}\r\n".encode() + data


def output(**changes):
    row = {"name": "actions", "datatype": "FP32", "shape": [1, 4, 2], "data": PLAN.tolist()}
    return {"outputs": [row | changes]}


SIZED = {"parameters": {"binary_data_size": 32}, "data": None}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "its answer is not HTTP (BadStatusLine)"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 70_000, "its answer is not HTTP (LineTooLong)"),
        (b"", "hung up; see whether the policy server runs"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", "hung up"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}", "is not HTTP (IncompleteRead)"),
        (http(b"what?"), "is not JSON"),
        (http(b"[" * 100_000), "is not JSON (RecursionError)"),
        (http(b"9" * 10_000), "is not JSON"),
        (http(b"\xff\xfe"), "is not JSON"),
        (http([]), "is no map but list"),
        (http({}), "has no list of tensors as 'outputs'"),
        (http({"outputs": [7]}), "has no list of tensors"),
        (http({"outputs": [{"name": 7}]}), "has no list of tensors"),
        (http(output(name="arm")), "has no 'actions' but arm"),
        (http(output(datatype="BYTES")), "datatype 'BYTES'; only numbers"),
        (http(output(datatype=["FP32"])), "only numbers"),
        (http(output(shape=[1, 4, 3])), "another size"),
        (http(output(shape=[-1, -4, 2])), "array of shape"),
        (http(output(shape=[1, 4, 2.0])), "array of shape"),
        (http(output(shape=8)), "without a shape"),
        (http(output(data="text")), "something else than numbers"),
        (http(output(data=[["1", "2"]])), "something else than numbers"),
        (http(output(data=[None] * 8)), "something else than numbers"),
        (http(output(data=[1, [2]])), "is no array"),
        (http(output(data=[10**400] * 8)), "something else than numbers"),
        (http(output(**SIZED), "Inference-Header-Content-Length: 10\r\n"), "is not JSON"),
        (http(output(**SIZED), "Inference-Header-Content-Length: -1\r\n"), "of '-1'"),
        (http(output(**SIZED), "Inference-Header-Content-Length: 9999\r\n"), "array of 0 bytes"),
        (http(output(parameters={"binary_data_size": -32}, data=None)), "something else than numbers"),
        (
            http({"error": "Traceback\n  line\nno room"}, status="400 Bad Request"),
            "failed: no room; see its log",
        ),
        (http(b"<html>", status="502 Bad Gateway"), "failed: 502 Bad Gateway; see its log"),
        (http({"error": 7}, status="503 Busy"), "failed: 503 Busy; see its log"),
    ],
)
def test_an_answer_over_http_that_is_none_is_refused(served, answer, said):
    served.raw = answer
    server = SERVERS["http"](served)
    with asking(server.address, "actions") as backend:
        with pytest.raises(ServerLost) as lost:
            backend.run({"state": STATE})
        served.raw = None
        backend.run({"state": STATE})
    server.close()
    assert said in str(lost.value)
    assert str(lost.value).startswith(server.address)


def test_an_answer_without_a_length_and_one_in_chunks_are_read(served):
    server = SERVERS["http"](served)
    body = json.dumps(output()).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n\r\n"
    with asking(server.address, "actions") as backend:
        for raw in (
            b"HTTP/1.0 200 OK\r\n\r\n" + body,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
            b"HTTP/1.1 100 Continue\r\n\r\n" + http(output()),
        ):
            served.raw = raw
            np.testing.assert_array_equal(backend.run({"state": STATE})["actions"], PLAN)
    server.close()


def test_a_server_that_hangs_up_after_each_answer_is_asked_all_the_same(served):
    served.keeps = False
    server = SERVERS["http"](served)
    with asking(server.address, "actions") as backend:
        backend.describe()
        for _ in range(3):
            backend.run({"state": STATE})
    server.close()


def test_a_server_that_hangs_up_without_a_word_is_asked_once_more_on_a_new_connection(served):
    served.keeps = None
    server = SERVERS["http"](served)
    with asking(server.address, "actions") as backend:
        for _ in range(20):
            backend.run({"state": STATE})
    server.close()


def test_one_connection_is_kept_and_given_up_when_the_server_says_more_than_it_was_asked(talks):
    extra = http({"extensions": []}), http(output()), http(output(data=(PLAN + 1).tolist()))
    address = talks(*extra)
    with asking(address, "actions", timeout_s=2.0) as backend:
        backend._link._binary = False
        backend._link._connected(kserve_http.Deadline(5))
        backend._link._socket.sendall(b"GET /v2 HTTP/1.1\r\n\r\n")
        assert backend._link._socket.recv(1, socket.MSG_PEEK)
        before = backend._link._socket
        assert backend._link._connected(kserve_http.Deadline(5)) is not before


def test_a_server_that_sends_a_byte_now_and_then_is_given_up_in_time(talks):
    address = talks(*(bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000), pause_s=0.05)
    with (
        asking(address, "actions", timeout_s=0.5) as backend,
        pytest.raises(ServerLost, match=r"no answer within 0.5 s"),
    ):
        backend.run({"state": STATE})


def test_a_server_without_the_page_that_says_what_it_can_is_asked_in_json(served, talks):
    address = talks(http({"error": "no such page"}, "Connection: close\r\n", "404 Not Found"))
    with asking(address, "actions") as backend:
        assert backend._link._takes_bytes(kserve_http.Deadline(20)) is False


# gRPC ---------------------------------------------------------------------------------------------------


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
def test_an_answer_over_grpc_that_is_none_is_refused(served, answer, said):
    served.raw = answer
    server = SERVERS["grpc"](served)
    with asking(server.address, "actions") as backend:
        with pytest.raises(ServerLost) as lost:
            backend.run({"state": STATE})
        served.raw = None
        backend.run({"state": STATE})
    server.close()
    assert said in str(lost.value)
    assert str(lost.value).startswith(server.address)


# whatever is said ---------------------------------------------------------------------------------------


def read(ask):
    """What came of an answer: an array, or the words for what is wrong with it."""
    try:
        return ask()["actions"]
    except Refused as error:
        return str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(JSON, JSON, JSON, JSON)
def test_whatever_is_said_in_json_is_read_or_refused(data, kind, shape, options):
    for answer in (
        data,
        {"outputs": data},
        output(data=data),
        output(datatype=kind),
        output(shape=shape),
        output(parameters=options),
        output(data=data, shape=shape),
    ):
        result = read(lambda body=answer: kserve_http.read(None, json.dumps(body).encode(), ("actions",)))
        assert isinstance(result, str | np.ndarray)


HEAD = json.dumps(output(**SIZED)).encode()


@given(spoilt(HEAD + PLAN.tobytes()), st.none() | st.just(str(len(HEAD))) | st.text(max_size=12))
def test_a_spoilt_answer_over_http_is_read_or_refused(data, length):
    result = read(lambda: kserve_http.read(length, data, ("actions",)))
    assert isinstance(result, str | np.ndarray)


@given(spoilt(message((1, "pi"), row(), BYTES)) | spoilt(message(row(contents=message(BYTES)))))
def test_a_spoilt_answer_over_grpc_is_read_or_refused(data):
    result = read(lambda: kserve_grpc.read(kserve_grpc.parsed("ModelInferResponse", data), ("actions",)))
    assert isinstance(result, str | np.ndarray)


# bundle and server --------------------------------------------------------------------------------------


FITS = {
    "inputs": {"image": ("FP32", [-1, 3, 6, 8]), "scan": ("FP32", [-1, 4])},
    "outputs": {"actions": ("FP32", [-1, 4, 2]), "collision": ("FP32", [-1, 1])},
}


@pytest.fixture
def policy_of(tmp_path):
    """Opens a bundle "tiny" with the server at this address."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    values = manifest(backend="kserve", inputs=[image_input(), laser_input()]) | {"model": None}
    write_manifest(folder, values)
    opened = []

    def start(address):
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


# the public client --------------------------------------------------------------------------------------


@pytest.mark.parametrize("takes_bytes", [True, False])
def test_the_server_of_these_tests_speaks_what_the_public_client_speaks(serve, kind, served, takes_bytes):
    client_of = pytest.importorskip(
        f"tritonclient.{kind}",
        reason="needs tritonclient[http,grpc], which wants an older protobuf and gevent",
    )
    served.takes_bytes = takes_bytes
    served.inputs = {"picture": ("UINT8", [-1, 4, 4, 3]), "prompt": ("BYTES", [-1])}
    served.outputs = {"actions": ("FP32", [-1, 4, 2])}
    client = client_of.InferenceServerClient(serve(served).partition("://")[2])
    options = {"as_json": True} if kind == "grpc" else {}
    said = client.get_model_metadata("pi", **options)
    assert said["name"] == "pi"
    assert [(row["name"], row["datatype"]) for row in said["inputs"]] == [
        ("picture", "UINT8"),
        ("prompt", "BYTES"),
    ]
    assert [int(size) for size in said["outputs"][0]["shape"]] == [-1, 4, 2]
    picture, prompt = (client_of.InferInput("picture", PICTURE.shape, "UINT8"),
                       client_of.InferInput("prompt", [1], "BYTES"))  # fmt: skip
    binary = {} if kind == "grpc" else {"binary_data": takes_bytes}
    picture.set_data_from_numpy(PICTURE, **binary)
    prompt.set_data_from_numpy(np.array(["räume auf".encode()], object), **binary)
    outputs = [client_of.InferRequestedOutput("actions", **binary)]
    if kind == "grpc" and not takes_bytes:
        pytest.skip("the public client asks for bytes only")
    answer = client.infer("pi", [picture, prompt], outputs=outputs, request_id="7")
    np.testing.assert_array_equal(answer.as_numpy("actions"), PLAN)
    np.testing.assert_array_equal(served.seen[0]["picture"], PICTURE)
    assert served.seen[0]["prompt"].tolist() == ["räume auf"]
    with pytest.raises(client_of.InferenceServerException, match="unknown model"):
        client.get_model_metadata("gone")
    client.close()


def test_an_address_of_the_sixth_version_is_written_in_brackets():
    assert Place("::1", 8000, "pi", "").authority == "[::1]:8000"
