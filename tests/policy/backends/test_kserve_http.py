"""The Open Inference Protocol over HTTP: what may come instead of an answer."""

import contextlib
import json
import socket
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.backends.asking import STATE, asking, spoilt
from tools.policy_servers.kserve import Served
from tools.policy_servers.kserve_http import HttpServer
from vlad.policy.backends import ServerLost, kserve_http
from vlad.policy.backends.deadline import Deadline
from vlad.policy.backends.remote import Refused

PLAN = np.arange(8, dtype=np.float32).reshape(1, 4, 2)


@pytest.fixture
def served():
    """What a server, which is there at `served.address`, does."""
    made = Served(lambda seen: {"actions": PLAN})
    server = HttpServer(made)
    made.address = server.address
    yield made
    server.close()


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
        (http(output(data=[None] * 8, datatype="INT32")), "something else than numbers"),
        (http(output(data=["1"] + [None] * 7)), "something else than numbers"),
        (http(output(data=[1, [2]])), "is no array"),
        (http(output(data=[10**400] * 8)), "is no array"),
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
        (
            http({"detail": [{"loc": ["body", 66], "msg": "no JSON"}]}, status="422 Unprocessable Entity"),
            'failed: [{"loc": ["body", 66], "msg": "no JSON"}]; see its log',
        ),
    ],
)
def test_an_answer_over_http_that_is_none_is_refused(served, answer, said):
    served.raw = answer
    with asking("kserve", served.address, "actions") as backend:
        with pytest.raises(ServerLost) as lost:
            backend.run({"state": STATE})
        served.raw = None
        backend.run({"state": STATE})
    assert said in str(lost.value)
    assert str(lost.value).startswith(served.address)


def test_an_answer_without_a_length_and_one_in_chunks_are_read(served):
    body = json.dumps(output()).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n\r\n"
    with asking("kserve", served.address, "actions") as backend:
        for raw in (
            b"HTTP/1.0 200 OK\r\n\r\n" + body,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
            b"HTTP/1.1 100 Continue\r\n\r\n" + http(output()),
        ):
            served.raw = raw
            np.testing.assert_array_equal(backend.run({"state": STATE})["actions"], PLAN)


def test_null_among_the_numbers_is_nan_which_json_has_no_word_for(served):
    with asking("kserve", served.address, "actions") as backend:
        for data in ([None, *PLAN.ravel()[1:].tolist()], [[[None, 1.0], *PLAN[0, 1:].tolist()]]):
            served.raw = http(output(data=data))
            plan = backend.run({"state": STATE})["actions"]
            assert plan.dtype == np.float32
            assert np.isnan(plan[0, 0, 0])
            np.testing.assert_array_equal(plan[0, 1:], PLAN[0, 1:])


@pytest.mark.parametrize(("server", "texts"), [("OpenVINO Model Server", 0), ("kserve", 1)])
def test_a_server_that_is_known_to_take_bytes_without_saying_so_is_sent_bytes(served, server, texts):
    served.server, served.lists_bytes = server, False
    with asking("kserve", served.address, "actions") as backend:
        np.testing.assert_array_equal(backend.run({"state": STATE})["actions"], PLAN)
    np.testing.assert_array_equal(served.seen[0]["state"], STATE)
    assert served.texts == texts


@pytest.mark.parametrize("takes_bytes", [True, False])
def test_a_server_that_hands_on_the_question_s_id_finds_one(served, takes_bytes):
    served.takes_bytes, served.wants_id = takes_bytes, True
    with asking("kserve", served.address, "actions") as backend:
        backend.run({"state": STATE})


def test_a_server_that_hangs_up_after_each_answer_is_asked_all_the_same(served):
    served.keeps = False
    with asking("kserve", served.address, "actions") as backend:
        backend.describe()
        for _ in range(3):
            backend.run({"state": STATE})


def test_a_server_that_hangs_up_without_a_word_is_asked_once_more_on_a_new_connection(served):
    served.keeps = None
    with asking("kserve", served.address, "actions") as backend:
        for _ in range(20):
            backend.run({"state": STATE})


def test_one_connection_is_kept_and_given_up_when_the_server_says_more_than_it_was_asked(talks):
    extra = http({"extensions": []}), http(output()), http(output(data=(PLAN + 1).tolist()))
    address = talks(*extra)
    with asking("kserve", address, "actions", timeout_s=2.0) as backend:
        backend._link._binary = False
        backend._link._connected(Deadline(5))
        backend._link._socket.sendall(b"GET /v2 HTTP/1.1\r\n\r\n")
        assert backend._link._socket.recv(1, socket.MSG_PEEK)
        before = backend._link._socket
        assert backend._link._connected(Deadline(5)) is not before


def test_a_server_that_sends_a_byte_now_and_then_is_given_up_in_time(talks):
    address = talks(*(bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000), pause_s=0.05)
    with (
        asking("kserve", address, "actions", timeout_s=0.5) as backend,
        pytest.raises(ServerLost, match=r"no answer within 0.5 s"),
    ):
        backend.run({"state": STATE})


def test_a_server_without_the_page_that_says_what_it_can_is_asked_in_json(served, talks):
    address = talks(http({"error": "no such page"}, "Connection: close\r\n", "404 Not Found"))
    with asking("kserve", address, "actions") as backend:
        assert backend._link._takes_bytes(Deadline(20)) is False


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
