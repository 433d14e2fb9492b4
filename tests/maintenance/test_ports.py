"""Open ports in the security scan: real ones of this process, and made-up ones of others."""

import os
import socket

import psutil
import pytest

from vlad.maintenance.security.ports import Listener, family, judge, listeners

OWN = {7001: "wire.sensors_tcp"}


def told(*found, ours=(10,), expected=(22,)):
    return [(one.state, one.what) for one in judge(found, ours, OWN, expected) if one.state != "ok"]


def test_what_the_settings_name_and_what_is_expected_is_well():
    assert not told(
        Listener("192.168.7.1", 7001, 10, "vlad"),
        Listener("0.0.0.0", 22, None),
        Listener("::1", 631, 99, "cupsd"),
    )


@pytest.mark.parametrize(
    ("listener", "state", "words"),
    [
        (Listener("127.0.0.1", 9999, 10, "python"), "problem", "no setting says so"),
        (Listener("0.0.0.0", 7001, 10, "vlad"), "warning", "every network"),
        (Listener("::", 7001, 10, "vlad"), "warning", "every network"),
        (Listener("0.0.0.0", 8080, None), "warning", "can be reached from outside"),
        (Listener("192.168.1.2", 8080, 77, "nginx"), "warning", "nginx"),
    ],
)
def test_what_listens_unasked_is_told_with_whose_it_is(listener, state, words):
    ((found, what),) = told(listener)
    assert found == state
    assert words in what


def test_a_real_listening_socket_is_found_as_ours():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = [one for one in listeners() if one.port == port]
        assert [(one.address, one.pid, one.name) for one in found] == [
            ("127.0.0.1", os.getpid(), psutil.Process().name())
        ]
        ours = family(os.getpid())
        states = [one.state for one in judge(found, ours, {}, ())]
        assert states == ["problem", "ok"]
    assert not [one for one in listeners() if one.port == port]


def test_the_family_of_a_process_that_is_gone_is_itself():
    assert family(2**22 + 1) == {2**22 + 1}
