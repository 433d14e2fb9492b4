import io
import pickle
import threading
import zipfile
from types import SimpleNamespace

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import given

from tests.policy.backends.asking import STATE, VALUES, asking, spoilt
from tools.policy_servers.groot import GrootServer, pack_groot
from vlad.policy.backends import ServerLost
from vlad.policy.backends.remote import Refused

PLAN = np.arange(8, dtype=np.float32).reshape(1, 4, 2)


@pytest.fixture
def server():
    """A server whose answers the test makes; what it was asked is in `seen`."""
    made = SimpleNamespace(seen=[], answer=lambda observation: {"arm": PLAN})
    made.server = GrootServer(lambda seen: made.seen.append(seen) or made.answer(seen))
    made.address = made.server.address
    yield made
    made.server.close()


@pytest.fixture
def says():
    """A server that answers each question with these bytes."""
    servers = []

    def start(data):
        context = zmq.Context()
        socket = context.socket(zmq.REP)
        socket.linger = 0
        socket.bind("tcp://127.0.0.1:*")
        ending = threading.Event()

        def talk():
            while not ending.is_set():
                if socket.poll(20):
                    socket.recv()
                    socket.send(data)
            context.destroy(linger=0)

        thread = threading.Thread(target=talk)
        thread.start()
        servers.append((ending, thread))
        return socket.getsockopt_string(zmq.LAST_ENDPOINT)

    yield start
    for ending, thread in servers:
        ending.set()
        thread.join()


def test_the_server_sees_batch_and_time_and_what_it_says_is_the_output(server):
    image = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    past = np.stack([STATE, STATE + 1], axis=1)
    inputs = {
        "video.front": image,
        "video.past": np.stack([image, image], axis=1),
        "state.arm": STATE,
        "state.past": past,
        "language.task": np.array(["fold it"], object),
    }
    server.answer = lambda seen: {"arm": PLAN, "hand": np.asfortranarray(PLAN[..., :1])}
    with asking("groot", server.address, "arm", "hand") as backend:
        answer = backend.run(inputs)
    (seen,) = server.seen
    assert seen["video"]["front"].dtype == np.uint8
    np.testing.assert_array_equal(seen["video"]["front"], image[:, None])
    assert seen["video"]["past"].shape == (1, 2, 4, 4, 3)
    np.testing.assert_array_equal(seen["state"]["arm"], STATE[:, None])
    assert seen["state"]["arm"].dtype == np.float32
    np.testing.assert_array_equal(seen["state"]["past"], past)
    assert seen["language"] == {"task": [["fold it"]]}
    np.testing.assert_array_equal(answer["arm"], PLAN)
    np.testing.assert_array_equal(answer["hand"], PLAN[..., :1])


def test_a_server_of_n1_5_sees_flat_names_and_its_answer_is_the_actions_themselves():
    seen = []
    server = GrootServer(lambda saw: seen.append(saw) or {"action.arm": PLAN}, release="n1.5")
    inputs = {"video.front": np.zeros((1, 4, 4, 3), np.uint8), "state.arm": STATE}
    task = {"annotation.human.task_description": np.array(["fold it"], object)}
    with asking("groot-n1.5", server.address, "action.arm") as backend:
        answer = backend.run(inputs | task)
    server.close()
    assert list(seen[0]) == [*inputs, *task]
    assert seen[0]["video.front"].shape == (1, 1, 4, 4, 3)
    np.testing.assert_array_equal(seen[0]["state.arm"], STATE[:, None])
    assert seen[0]["annotation.human.task_description"] == ["fold it"]
    np.testing.assert_array_equal(answer["action.arm"], PLAN)


@pytest.mark.parametrize(
    ("backend", "release", "said"),
    [
        ("groot", "n1.5", "the server failed: 'state.arm'"),
        ("groot-n1.5", "n1.6", "get_action() got state.arm"),
    ],
)
def test_a_server_of_another_release_says_so(backend, release, said):
    server = GrootServer(lambda seen: {"arm": seen["state.arm"]}, release=release)
    with asking(backend, server.address, "arm") as asked, pytest.raises(ServerLost) as lost:
        asked.run({"state.arm": STATE})
    server.close()
    assert said in str(lost.value)


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was read",)


def zipped_pickle():
    """As torch.save writes it; it gives itself away if it is read."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    return file.getvalue()


@pytest.mark.parametrize("backend", ["groot", "groot-n1.5"])
@pytest.mark.parametrize("answer", [b"ERROR", zipped_pickle()], ids=["error", "pickle"])
def test_a_server_that_talks_in_pickles_is_refused_with_the_reason(says, backend, answer):
    with asking(backend, says(answer), "arm") as asked, pytest.raises(ServerLost) as lost:
        asked.run({"state.arm": STATE})
    assert "talks in pickles" in str(lost.value)
    assert "update Isaac-GR00T there" in str(lost.value)


def npy(array, *spoil):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    data = file.getvalue()
    for old, new in zip(spoil[::2], spoil[1::2], strict=True):
        assert old in data
        data = data.replace(old, new)
    return data


def array(data):
    return [{"arm": {"__ndarray_class__": True, "as_npy": data}}, {}]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (array(npy(np.array([[{"a": 1}]], object))), "only numbers"),
        (array(npy(PLAN.astype(np.complex64))), "only numbers"),
        (array(npy(np.zeros((1, 4), "V8"))), "only numbers"),
        (array(npy(np.zeros((1, 4), [("x", "<f4")]))), "no .npy file of numbers"),
        (array(npy(PLAN, b"(1, 4, 2)", b"(1, 4, 3)")), "another size"),
        (array(npy(PLAN, b"(1, 4, 2)", b"(2, 4, 1)")), "shape (2, 4, 1); one robot asked"),
        (array(npy(PLAN, b"(1, 4, 2)", b"print()#~")), "no .npy file of numbers"),
        (array(npy(np.float32(1))), "shape (); one robot asked"),
        (array(npy(PLAN)[:40]), "no .npy file"),
        (array(b"PK\x03\x04"), "no .npy file"),
        (array(b""), "no .npy file"),
        (array("text"), "where an array must be"),
        ([{"arm": [[0.0]]}, {}], "where an array must be"),
        ([{"leg": 1}, {}], "no 'arm' but leg"),
        ([], "is not [actions, info]"),
        ({"arm": 1}, "is not [actions, info]"),
        ([7, {}], "is no map but int"),
        ({"error": "Traceback\n  line\nValueError: no\n"}, "the server failed: ValueError: no; see its log"),
    ],
)
def test_an_answer_that_is_none_is_refused(says, answer, said):
    address = says(msgpack.packb(answer))
    with asking("groot", address, "arm") as backend, pytest.raises(ServerLost) as lost:
        backend.run({"state.arm": STATE})
    assert said in str(lost.value)
    assert str(lost.value).startswith(address)


def test_an_answer_that_is_no_map_of_actions_is_none_of_n1_5(says):
    address = says(msgpack.packb([{"action.arm": 1}, {}]))
    with (
        asking("groot-n1.5", address, "action.arm") as backend,
        pytest.raises(ServerLost, match=r"is no map of actions; is it a GR00T server of N1.5\?"),
    ):
        backend.run({"state.arm": STATE})


def test_an_answer_that_is_no_msgpack_is_refused(says):
    with asking("groot", says(b"\xc1"), "arm") as backend, pytest.raises(ServerLost, match="is not msgpack"):
        backend.run({"state.arm": STATE})


def test_an_answer_that_is_too_large_is_not_even_received(says):
    address = says(bytes(16 * 1024 * 1024 + 1))
    with (
        asking("groot", address, "arm", timeout_s=2.0) as backend,
        pytest.raises(ServerLost, match="no answer within"),
    ):
        backend.run({"state.arm": STATE})


def read(data):
    """What the backend makes of an answer: its outputs, or its words for what is wrong with it."""
    with asking("groot", "tcp://127.0.0.1:1", "arm") as backend:
        try:
            return backend._read(data)["arm"]
        except (ServerLost, Refused) as error:
            return str(error)


@given(VALUES)
def test_whatever_is_said_is_read_or_refused(value):
    wrapped = {"__ndarray_class__": True, "as_npy": value}
    for answer in (value, [value], [{"arm": value}], [{"arm": wrapped}]):
        result = read(msgpack.packb(answer))
        assert isinstance(result, str) or result.dtype == np.float32


@given(spoilt(pack_groot([{"arm": PLAN}, {}])))
def test_a_spoilt_answer_is_read_or_refused(data):
    result = read(data)
    assert isinstance(result, str) or result.dtype == np.float32
