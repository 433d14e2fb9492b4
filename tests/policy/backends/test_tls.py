"""TLS to policy servers: real connections, and an authority whose certificates are thrown away."""

import re
import socket

import numpy as np
import pytest

from tests.policy.backends.asking import LARGE, PROTOCOLS, STATE, process
from tests.policy.backends.certificates import DAY, Authority
from tests.policy.backends.test_servers import PLAN, held_up_by_nothing
from tools.policy_servers.identity import Identity
from vlad.policy.backends import BackendError, ServerLost


@pytest.fixture(
    params=[protocol for protocol in PROTOCOLS if len(protocol.schemes) > 1], ids=lambda it: it.kind
)
def protocol(request):
    return request.param


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def said_by(protocol, address, **settings):
    """Why nothing came of a question."""
    with protocol.asking(address, **settings) as backend, pytest.raises(ServerLost) as lost:
        backend.run({protocol.state: STATE})
    assert str(lost.value).startswith(f"{address}: ")
    return str(lost.value).removeprefix(f"{address}: ")


def test_a_server_whose_certificate_is_good_is_asked_and_shown_the_key(protocol, serve, authority, tmp_path):
    server = serve(lambda state: PLAN + state[0], tls=Identity(*authority.issue("server")), token="secret")
    (tmp_path / "token").write_text("secret")
    assert server.address.startswith(f"{protocol.schemes[1]}://")
    with protocol.asking(server.address, ca_file=authority.file, token_file=tmp_path / "token") as backend:
        for value in range(3):
            state = np.full((1, 2), value, np.float32)
            answer = backend.run({protocol.state: state})[protocol.output]
            np.testing.assert_array_equal(answer, PLAN[None] + value)
        backend.run({protocol.state: STATE, "large": LARGE})


@pytest.mark.parametrize(
    ("host", "valid", "signer", "said"),
    [
        ("127.0.0.1", (-2 * DAY, -DAY), "ca", "its certificate has expired; renew it there"),
        ("127.0.0.1", (DAY, 2 * DAY), "ca", "its certificate is not valid yet; set this computer's clock"),
        ("10.0.0.5", (-DAY, DAY), "ca", "its certificate is for another host than 127.0.0.1; write the name"),
        ("robot.example", (-DAY, DAY), "ca", "its certificate is for another host than 127.0.0.1"),
        ("127.0.0.1", (-DAY, DAY), "other", "its certificate is not signed by {ca}; policy.server.ca_file"),
    ],
)
def test_a_server_whose_certificate_is_bad_is_not_asked(
    protocol, serve, authority, tmp_path, host, valid, signer, said
):
    seen = []
    authorities = {"ca": authority, "other": Authority(tmp_path, "other")}
    identity = Identity(*authorities[signer].issue("server", host, valid))
    server = serve(lambda state: seen.append(state) or PLAN, tls=identity)
    assert said.format(ca=authority.file) in said_by(protocol, server.address, ca_file=authority.file)
    assert not seen


def test_without_a_file_those_are_trusted_whom_this_computer_trusts(
    protocol, serve, authority, tmp_path, monkeypatch
):
    server = serve(lambda state: PLAN, tls=Identity(*authority.issue("server")))
    said = said_by(protocol, server.address)
    assert "its certificate is not signed by anybody whom this computer trusts" in said
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with protocol.asking(server.address) as backend:
        backend.run({protocol.state: STATE})


def test_where_one_end_has_tls_and_the_other_has_not_nothing_is_sent(protocol, serve, authority):
    seen = []
    plain = serve(lambda state: seen.append(state) or PLAN).address
    secure = serve(lambda state: seen.append(state) or PLAN, tls=Identity(*authority.issue("server"))).address
    with_tls = plain.replace(*(f"{scheme}://" for scheme in protocol.schemes))
    told = f"(does not speak TLS; write {protocol.schemes[0]}:// into|the policy server runs, has TLS)"
    assert re.search(told, said_by(protocol, with_tls))
    said_by(protocol, secure.replace(*(f"{scheme}://" for scheme in reversed(protocol.schemes))))
    assert not seen


def test_a_server_that_wants_to_see_a_certificate_is_shown_the_robot_s(protocol, serve, authority, tmp_path):
    identity = Identity(*authority.issue("server"), clients=authority.file)
    server = serve(lambda state: PLAN, tls=identity)

    def shown(*files):
        return dict(zip(("ca_file", "certificate_file", "key_file"), (authority.file, *files), strict=False))

    with protocol.asking(server.address, **shown(*authority.issue("robot"))) as backend:
        backend.run({protocol.state: STATE})
    refused = [
        ({}, "(wants to see a certificate of this robot's|accepts a robot without a certificate)"),
        (Authority(tmp_path, "other").issue("stranger"), "(does not trust|accepts) .*stranger.pem"),
        (authority.issue("old", valid=(-2 * DAY, -DAY)), "(own certificate, .*|accepts .*)old.pem"),
    ]
    for files, words in refused:
        assert re.search(words, said_by(protocol, server.address, **shown(*files)))


def test_a_frozen_server_holds_a_question_over_tls_no_longer_than_one_without(protocol, authority):
    identity = Identity(*authority.issue("server"))
    with process(protocol, identity) as (server, address):
        held_up_by_nothing(protocol, address, server, LARGE, ca_file=authority.file)


def test_a_server_that_accepts_and_says_nothing_holds_no_handshake_up(protocol, authority):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"{protocol.schemes[1]}://127.0.0.1:{silent.getsockname()[1]}"
        said = said_by(protocol, address, ca_file=authority.file, timeout_s=0.5)
    assert "no answer within 0.5 s" in said


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            "ca: none",
            "none: cannot be read (No such file or directory); put the file there, or",
        ),
        ("ca: text", "text: holds no certificates"),
        ("ca: empty", "empty: holds no certificates"),
        ("ca: robot.key", "robot.key: holds no certificates"),
        ("certificate: none, key: robot.key", "none: cannot be read"),
        ("certificate: robot.pem, key: none", "correct policy.server.key_file"),
        ("certificate: robot.pem, key: other.key", "are no certificate and its key (key values mismatch)"),
        ("certificate: text, key: robot.key", "are no certificate and its key"),
        ("certificate: robot.key, key: robot.pem", "are no certificate and its key"),
        ("certificate: locked.pem, key: locked.key", "locked.key: is locked with a password"),
    ],
)
def test_files_of_no_use_are_told_when_the_bundle_is_loaded(protocol, authority, tmp_path, files, said):
    for name, password in (("robot", b""), ("other", b""), ("locked", b"secret")):
        authority.issue(name, password=password)
    (tmp_path / "text").write_text("nothing")
    (tmp_path / "empty").write_text("")
    pairs = [pair.split(": ") for pair in files.split(", ")]
    named = {f"{key}_file": tmp_path / name for key, name in pairs}
    with pytest.raises(BackendError) as refused, protocol.asking(f"{protocol.schemes[1]}://h:1", **named):
        pass
    assert said in str(refused.value)
