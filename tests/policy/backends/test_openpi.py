import socket
import threading
from types import SimpleNamespace

import msgpack
import numpy as np
import pytest
from hypothesis import given
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from tests.policy.backends.asking import STATE, VALUES, asking, spoilt
from tools.policy_servers.openpi import OpenpiServer, pack_openpi, unpack_openpi
from vlad.policy.backends import ServerLost
from vlad.policy.backends.openpi import pack
from vlad.policy.backends.remote import Refused

PLAN = np.arange(8, dtype=np.float64).reshape(4, 2)


@pytest.fixture
def server():
    """A server whose answers the test makes; what it was asked is in `seen`."""
    made = SimpleNamespace(seen=[], answer=lambda observation: {"actions": PLAN})
    made.server = OpenpiServer(lambda seen: made.seen.append(seen) or made.answer(seen))
    made.address = made.server.address
    yield made
    made.server.close()


@pytest.fixture
def sends():
    """A server that sends these messages: one when it is connected to, then those of one list a question."""
    servers = []

    def start(greeting, *answers):
        def talk(connection):
            try:
                connection.send(greeting)
                for answer in answers:
                    connection.recv()
                    for part in answer:
                        part(connection) if callable(part) else connection.send(part)
                    start.said.release()
                connection.recv()
            except ConnectionClosed:
                pass

        made = serve(talk, "127.0.0.1", 0, compression=None, max_size=None)
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        servers.append((made, thread))
        return f"ws://127.0.0.1:{made.socket.getsockname()[1]}"

    start.said = threading.Semaphore(0)
    yield start
    for made, thread in servers:
        made.shutdown()
        thread.join()


def test_the_server_sees_the_inputs_without_a_batch_axis_and_its_answer_gets_one(server):
    image = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    inputs = {
        "observation/image": image,
        "observation/state": STATE,
        "prompt": np.array(["fold it"], object),
    }
    with asking("openpi", server.address, "actions") as backend:
        answer = backend.run(inputs)["actions"]
    (seen,) = server.seen
    assert set(seen) == set(inputs)
    np.testing.assert_array_equal(seen["observation/image"], image[0])
    np.testing.assert_array_equal(seen["observation/state"], STATE[0])
    assert seen["observation/image"].dtype == np.uint8
    assert seen["prompt"] == "fold it"
    assert answer.dtype == np.float32
    np.testing.assert_array_equal(answer, PLAN[None])


@pytest.mark.parametrize("head", [0.25, np.float32(0.25), np.array([0.25]), np.array(0.25, np.float16)])
def test_a_single_number_is_a_head(server, head):
    server.answer = lambda seen: {"actions": PLAN, "collision": head}
    with asking("openpi", server.address, "actions", "collision") as backend:
        assert backend.run({"s": STATE})["collision"].tolist() == [[0.25]]


def test_no_other_server_is_asked_where_this_one_leads_to_another(server):
    here = OpenpiServer(lambda seen: {"actions": PLAN}, process_request=redirected_to(server.address))
    with asking("openpi", here.address, "actions") as backend, pytest.raises(ServerLost, match="HTTP 302"):
        backend.run({"s": STATE})
    assert server.seen == []
    here.close()


def redirected_to(address):
    def answer(connection, request):
        response = connection.respond(302, "elsewhere\n")
        response.headers["Location"] = address
        return response

    return answer


def test_a_traceback_of_the_server_is_told_by_its_last_line_and_the_next_question_is_answered(server):
    server.answer = lambda seen: {"actions": seen["camera"]}
    with asking("openpi", server.address, "actions") as backend:
        with pytest.raises(ServerLost, match="the server failed: KeyError: 'camera'; see its log"):
            backend.run({"s": STATE})
        server.answer = lambda seen: {"actions": PLAN}
        backend.run({"s": STATE})


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one(sends):
    old, new = (pack_openpi({"actions": PLAN + offset}) for offset in (7, 8))
    address = sends(pack_openpi({}), [old, new], [new])
    with asking("openpi", address, "actions") as backend:
        for _ in range(3):
            assert backend.run({"s": STATE})["actions"][0, 0, 0] == 7
            assert sends.said.acquire(timeout=20)


def test_a_server_that_hangs_up_with_each_answer_is_asked_on_a_new_connection(sends):
    def last_words(connection):
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # both in one piece
        connection.send(pack_openpi({"actions": PLAN}))
        connection.close()

    address = sends(pack_openpi({}), [last_words])
    with asking("openpi", address, "actions") as backend:
        for _ in range(3):
            np.testing.assert_array_equal(backend.run({"s": STATE})["actions"], PLAN[None])


def test_pings_of_the_server_are_answered():
    server = OpenpiServer(lambda seen: {"actions": PLAN}, ping_interval=0.02, ping_timeout=10)
    with asking("openpi", server.address, "actions") as backend:
        for _ in range(3):
            backend.run({"s": STATE})
            threading.Event().wait(0.1)
    server.close()


def array(data=b"\0" * 8, dtype="<f4", shape=(1, 2)):
    return {"actions": {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (array(dtype="|O"), "type '|O'; only numbers"),
        (array(dtype="<c8"), "only numbers"),
        (array(dtype="|V8"), "only numbers"),
        (array(dtype="<f3"), "only numbers"),
        (array(dtype=["<f4"]), "only numbers"),
        (array(shape=(1, 3)), "another size"),
        (array(shape=(2**40, 2**40)), "another size"),
        (array(shape=(-1, -2)), "shape"),
        (array(shape=("2",)), "shape"),
        (array(shape=(1,) * 9), "shape"),
        (array(shape=None), "without a shape"),
        (array(data="text"), "without data"),
        ({"actions": [[0.0, 0.0]]}, "where an array must be"),
        ({"action": 1.0, "more": 2}, "no 'actions' but action, more"),
        ({}, "no 'actions' but nothing"),
        ([1], "is no map but list"),
    ],
)
def test_an_answer_that_is_none_is_refused(sends, answer, said):
    address = sends(pack_openpi({}), [msgpack.packb(answer)])
    with asking("openpi", address, "actions") as backend, pytest.raises(ServerLost) as lost:
        backend.run({"s": STATE})
    assert said in str(lost.value)
    assert str(lost.value).startswith(address)


@pytest.mark.parametrize("greeting", ["hello", b"\xc1", b"", msgpack.packb(1)])
def test_another_server_than_openpi_s_is_noticed_when_it_is_connected_to(sends, greeting):
    address = sends(greeting)
    with asking("openpi", address, "actions") as backend, pytest.raises(ServerLost, match="its answer"):
        backend.run({"s": STATE})


def test_an_answer_that_is_too_large_is_refused(sends):
    address = sends(pack_openpi({}), [bytes(16 * 1024 * 1024 + 1)])
    with asking("openpi", address, "actions") as backend, pytest.raises(ServerLost, match="limit"):
        backend.run({"s": STATE})


def test_an_answer_in_pieces_is_put_together(sends):
    whole = pack_openpi({"actions": PLAN})
    address = sends(pack_openpi({}), [[whole[:20], whole[20:50], whole[50:]]])
    with asking("openpi", address, "actions") as backend:
        np.testing.assert_array_equal(backend.run({"s": STATE})["actions"], PLAN[None])


GOOD = pack_openpi({"actions": PLAN, "server_timing": {"infer_ms": 1.0}})


def read(data):
    """What the backend makes of an answer: its outputs, or its words for what is wrong with it."""
    with asking("openpi", "ws://127.0.0.1:1", "actions") as backend:
        try:
            return backend._read(data)["actions"]
        except (ServerLost, Refused) as error:
            return str(error)


@given(VALUES)
def test_whatever_is_said_is_read_or_refused(value):
    for answer in (value, {"actions": value}):
        data = msgpack.packb(answer)
        result = read(data)
        assert isinstance(result, str) or result.dtype == np.float32


@given(spoilt(GOOD))
def test_a_spoilt_answer_is_read_or_refused(data):
    result = read(data)
    assert isinstance(result, str) or result.dtype == np.float32


def test_both_ends_write_the_same_bytes():
    inputs = {"observation/state": STATE, "prompt": np.array(["fold it"], object)}
    assert pack(inputs) == pack_openpi({"observation/state": STATE[0], "prompt": "fold it"})
    assert set(unpack_openpi(pack(inputs))) == set(inputs)
