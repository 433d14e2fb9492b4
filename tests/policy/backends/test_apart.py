"""Models in processes of their own: real processes, real models."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest

from tests.policy.bundles import write_model
from vlad.policy.backends import BackendError, Model, load_backend
from vlad.policy.backends.apart import Apart, Line
from vlad.server_settings import ServerSettings


@pytest.fixture
def model(tmp_path):
    write_model(tmp_path / "model.onnx")
    return Model(tmp_path / "model.onnx", "float32", ("actions", "collision"), threads=1)


@pytest.fixture
def opened(model):
    """The model in a process of its own."""
    with contextlib.closing(Apart("onnx", model)) as backend:
        yield backend


@pytest.fixture
def ends():
    """Both ends of a line."""
    pair = [Line(end) for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]
    yield pair
    for end in pair:
        end.close()


def inputs(value):
    return {
        "image": np.full((1, 3, 6, 8), value, np.float32),
        "scan": np.full((1, 4), value, np.float32),
        "tokens": np.full((1, 5), value, np.int64),
    }


def ended(pid):
    """Whether the process is gone, after a moment; a zombie is."""
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(timeout=10)
    return not psutil.pid_exists(pid)


def test_it_answers_as_the_same_model_in_this_process_does(opened, model):
    with contextlib.closing(load_backend("onnx", model)) as here:
        opened.warm_up(inputs(0))
        for value in (1, 2):
            given, expected = opened.run(inputs(value)), here.run(inputs(value))
            assert given.keys() == expected.keys() == {"actions", "collision"}
            for name in given:
                np.testing.assert_array_equal(given[name], expected[name], strict=True)
        described, own = opened.describe(), here.describe()
    assert (described.inputs, described.outputs) == (own.inputs, own.outputs)
    assert described.device == "cpu, in a process of its own"
    assert 10e6 < described.elsewhere < 1e9


def test_an_answer_stays_as_it_is_when_the_next_comes(opened):
    first = opened.run(inputs(1))["actions"]
    opened.run(inputs(2))
    np.testing.assert_array_equal(first, 1)


def test_a_model_that_cannot_be_loaded_is_refused_with_its_runtime_s_reason_and_no_process_stays(model):
    model.path.write_bytes(b"nothing of the kind")
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(BackendError, match=r"model\.onnx: ") as refused:
        Apart("onnx", model)
    with pytest.raises(BackendError) as here:
        load_backend("onnx", model)
    assert str(refused.value) == str(here.value)
    assert {child.pid for child in psutil.Process().children()} == before


def test_where_no_process_can_be_started_that_is_told_and_nothing_is_left_open(model, monkeypatch):
    def refuse(*_, **__):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BackendError, match=r"model\.onnx: no process can be started for it: Resource temp"):
        Apart("onnx", model)
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_settings_of_a_server_are_for_other_policies(model):
    """They may be there beside a model that is not on a server."""
    here = replace(model, server=ServerSettings(address="ws://10.0.0.1:8000"))
    with contextlib.closing(Apart("onnx", here)) as backend:
        np.testing.assert_array_equal(backend.run(inputs(1))["actions"], 1)


def test_what_the_model_does_not_take_is_an_error_and_the_next_run_is_well(opened):
    with pytest.raises(BackendError, match=r"model\.onnx"):
        opened.run(inputs(1) | {"image": np.ones((1, 3, 6, 9), np.float32)})
    np.testing.assert_array_equal(opened.run(inputs(1))["actions"], 1)


def test_a_process_that_ended_is_told_with_how_and_started_again_at_the_next_use(opened):
    opened.run(inputs(1))
    for use in (lambda: opened.run(inputs(2)), opened.describe, lambda: opened.warm_up(inputs(2))):
        first = opened.pid
        os.kill(first, signal.SIGKILL)
        with pytest.raises(BackendError, match=r"model\.onnx: the process that runs it ended by SIGKILL"):
            use()
        use()
        assert opened.pid not in (None, first)
    np.testing.assert_array_equal(opened.run(inputs(2))["actions"], 2)


def test_it_ends_when_it_is_closed(opened):
    pid = opened.pid
    opened.close()
    assert opened.pid is None
    assert ended(pid)


@pytest.mark.parametrize("signals", [(), (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)])
def test_it_ends_with_the_daemon_and_not_before(model, signals):
    """Signals that are meant for the whole service go to the daemon as well, which stops the robot first."""
    program = (
        "from pathlib import Path; import sys\n"
        "from vlad.policy.backends import Model\n"
        "from vlad.policy.backends.apart import Apart\n"
        "backend = Apart('onnx', Model(Path(sys.argv[1]), 'float32', ('actions',), 1))\n"
        "print(backend.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", program, str(model.path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as daemon:
        pid = int(daemon.stdout.readline())
        for number in signals:
            os.kill(pid, number)
        time.sleep(0.1)
        assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        daemon.kill()
    assert ended(pid)


def test_numbers_and_texts_of_any_shape_come_over_as_they_are(ends):
    here, there = ends
    for shape in ((2, 3), (2, 3), (4,), (0, 2)):
        arrays = {
            "numbers": np.random.default_rng(0).normal(size=shape),
            "bytes": np.arange(3, dtype=np.uint8),
            "task": np.array(["geh zum Bällchen"], object),
        }
        here.send({"do": "run"}, arrays)
        message, came = there.receive()
        assert message["do"] == "run"
        assert came.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(came[name], array, strict=True)


def test_the_same_form_lies_in_the_same_memory_and_the_layout_is_told_once(ends):
    here, there = ends
    here.send({}, {"numbers": np.zeros(3)})
    message, first = there.receive()
    assert "layout" in message
    here.send({}, {"numbers": np.ones(3)})
    message, second = there.receive()
    assert message == {}
    assert second["numbers"] is first["numbers"]
    np.testing.assert_array_equal(first["numbers"], 1)


def test_no_descriptor_is_left_open(model):
    open_before = len(os.listdir("/proc/self/fd"))
    backend = Apart("onnx", model)
    for rows in (1, 2):
        with contextlib.suppress(BackendError):
            backend.run(inputs(1) | {"scan": np.ones((rows, 4), np.float32)})
    backend.close()
    assert len(os.listdir("/proc/self/fd")) == open_before
