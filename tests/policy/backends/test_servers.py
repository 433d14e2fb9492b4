"""What holds for a policy on a server, whichever protocol it speaks."""

import contextlib
import signal
import socket
import threading

import numpy as np
import pytest

from tests.policy.backends.asking import LARGE, PROTOCOLS, STATE, asking, free_port, process
from vlad.policy.backends import BackendError, Model, ServerLost, load_backend

PLAN = np.arange(8, dtype=np.float32).reshape(4, 2)
PICTURE = np.zeros((1, 4, 4, 3), np.uint8)


@pytest.fixture(params=PROTOCOLS, ids=lambda protocol: protocol.kind)
def protocol(request):
    return request.param


def test_what_the_server_is_asked_and_answers_are_the_same_numbers_at_both_ends(protocol, serve):
    seen = []
    server = serve(lambda state: seen.append(state) or PLAN)
    with protocol.asking(server.address) as backend:
        answer = backend.run({protocol.state: STATE})[protocol.output]
    assert seen[0].dtype == np.float32
    np.testing.assert_array_equal(seen, STATE)
    assert answer.dtype == np.float32
    np.testing.assert_array_equal(answer, PLAN[None])


def test_the_key_is_shown_to_the_server_and_a_wrong_one_is_refused(protocol, serve, tmp_path):
    file = tmp_path / "token"
    server = serve(lambda state: PLAN, token="secret")
    file.write_text(" secret\n")
    with protocol.asking(server.address, token_file=file) as backend:
        backend.run({protocol.state: STATE})
    file.write_text("guess")
    with protocol.asking(server.address, token_file=file) as backend:
        with pytest.raises(ServerLost, match=r"HTTP 401|Invalid API token|no such token") as lost:
            backend.run({protocol.state: STATE})
        assert "refuses the robot's key" in str(lost.value)
        assert "policy.server.token_file" in str(lost.value)
        assert "guess" not in str(lost.value)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read"), ("", "must hold"), ("a\nb", "one line")]
)
def test_a_file_that_holds_no_key_is_refused(protocol, tmp_path, content, said):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with (
        pytest.raises(BackendError, match=f"token: .*{said}"),
        protocol.asking(f"{protocol.schemes[0]}://h:1", token_file=file),
    ):
        pass


def test_an_error_of_the_server_is_told_and_the_next_question_is_answered(protocol, serve):
    def answer(state):
        if state[0] < 0:
            raise RuntimeError("CUDA error: out of memory")
        return PLAN

    with protocol.asking(serve(answer).address) as backend:
        with pytest.raises(ServerLost, match=r"the server failed: .*CUDA error: out of memory; see its log"):
            backend.run({protocol.state: -STATE})
        backend.run({protocol.state: STATE})


def test_a_late_answer_is_never_taken_for_that_to_a_newer_question(protocol, serve):
    late, ready = threading.Event(), threading.Event()

    def answer(state):
        ready.set()
        if state[0] == 0:
            late.wait(20)
        return PLAN + state[0]

    with protocol.asking(serve(answer).address, timeout_s=2.0) as backend:
        with pytest.raises(ServerLost, match=r"no answer within 2 s \(policy.server.timeout_s\)"):
            backend.run({protocol.state: np.zeros((1, 2), np.float32)})
        assert ready.is_set()
        late.set()
        newer = backend.run({protocol.state: np.ones((1, 2), np.float32)})[protocol.output]
    np.testing.assert_array_equal(newer, PLAN[None] + 1)


@pytest.mark.parametrize("inputs", ["small", "large"])
def test_a_frozen_server_holds_neither_a_question_nor_the_end_up(protocol, inputs):
    with process(protocol) as (server, address):
        held_up_by_nothing(protocol, address, server, PICTURE if inputs == "small" else LARGE)


def held_up_by_nothing(protocol, address, server, picture, **settings):
    with asking(protocol.backend, address, protocol.plan, timeout_s=1.0, **settings) as backend:
        answered(backend, {protocol.camera: PICTURE})
        server.send(signal.SIGSTOP)
        for _ in range(2):
            with pytest.raises(ServerLost, match="no answer within 1 s"):
                backend.run({protocol.camera: picture})
        server.send(signal.SIGCONT)
        answered(backend, {protocol.camera: PICTURE})


def answered(backend, inputs):
    """Ask until there is an answer: the machine may be busy."""
    for _ in range(20):
        with contextlib.suppress(ServerLost):
            return backend.run(inputs)
    return backend.run(inputs)


def test_a_server_that_was_started_anew_meanwhile_is_asked_again(protocol, serve):
    server = serve(lambda state: PLAN)
    port = int(server.address.rpartition(":")[2])
    with protocol.asking(server.address, timeout_s=2.0) as backend:
        backend.run({protocol.state: STATE})
        server.close()
        with contextlib.suppress(ServerLost):
            backend.run({protocol.state: STATE})
        serve(lambda state: PLAN + 1, port)
        np.testing.assert_array_equal(backend.run({protocol.state: STATE})[protocol.output], PLAN[None] + 1)


def test_where_nobody_listens_the_reason_is_told(protocol):
    address = f"{protocol.schemes[0]}://127.0.0.1:{free_port()}"
    said = "no answer within" if protocol.schemes == ("tcp",) else "connection refused.*server runs"
    with (
        protocol.asking(address, timeout_s=0.5) as backend,
        pytest.raises(ServerLost, match=f"(?i){address}.*{said}"),
    ):
        backend.run({protocol.state: STATE})


@pytest.mark.parametrize("kind", ["openpi", "kserve-http"])
def test_a_name_that_nobody_looks_up_in_time_holds_no_question_up(kind, monkeypatch):
    (protocol,) = (protocol for protocol in PROTOCOLS if protocol.kind == kind)
    ending = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ending.wait(20) and [])
    with (
        protocol.asking(f"{protocol.schemes[0]}://policy.example:1", timeout_s=0.2) as backend,
        pytest.raises(ServerLost, match=r"no answer within 0.2 s"),
    ):
        backend.run({protocol.state: STATE})
    ending.set()


@pytest.mark.parametrize("kind", ["openpi", "kserve-http"])
def test_a_server_is_found_at_any_address_of_its_name(kind, monkeypatch):
    (protocol,) = (protocol for protocol in PROTOCOLS if protocol.kind == kind)
    server, real = protocol.serve(lambda state: PLAN), socket.getaddrinfo

    def two(host, port, *options, **named):
        found = real("127.0.0.1" if host == "policy.example" else host, port, *options, **named)
        return [(*found[0][:4], ("127.0.0.9", port)), *found] if host == "policy.example" else found

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with protocol.asking(server.address.replace("127.0.0.1", "policy.example")) as backend:
        backend.run({protocol.state: STATE})
    server.close()


def test_the_settings_must_name_a_server_of_this_kind(protocol, tmp_path):
    example = f'{protocol.schemes[0].replace("grpc", "http")}://HOST:PORT"'
    with pytest.raises(BackendError, match=rf'write \[policy.server\] with address = "{example}'):
        load_backend(protocol.backend, Model(tmp_path, "float32", (protocol.output,), 1))
    other = "tcp" if protocol.backend == "openpi" else "ws"
    with (
        pytest.raises(BackendError, match=rf"'{other}://h:1'; write address = \"{example}"),
        protocol.asking(f"{other}://h:1"),
    ):
        pass
