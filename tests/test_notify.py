"""sd_notify towards a real datagram socket, as systemd would hold it."""

import os
import socket

import pytest

from vlad.notify import Notifier


@pytest.fixture
def systemd(tmp_path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    listener.bind(str(tmp_path / "notify"))
    yield listener
    listener.close()


def heard(listener):
    messages = []
    while True:
        try:
            messages.append(listener.recv(4096).decode())
        except BlockingIOError:
            return messages


def environment(listener, **more):
    return {"NOTIFY_SOCKET": listener.getsockname(), **more}


def test_ready_and_stopping_reach_systemd_with_a_status(systemd):
    notifier = Notifier(environment(systemd))
    notifier.ready("rover: disarmed")
    notifier.stopping("bringing the robot to rest")
    assert heard(systemd) == [
        "READY=1\nSTATUS=rover: disarmed",
        "STOPPING=1\nSTATUS=bringing the robot to rest",
    ]
    notifier.close()


def test_more_time_to_start_and_a_reload_are_told_as_systemd_wants_it(systemd):
    notifier = Notifier(environment(systemd))
    notifier.starting("loading the policy", 60.0)
    notifier.reloading(1_234_567_890)
    notifier.ready("rover: disarmed")
    assert heard(systemd) == [
        "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=loading the policy",
        "RELOADING=1\nMONOTONIC_USEC=1234567",
        "READY=1\nSTATUS=rover: disarmed",
    ]
    notifier.close()


def test_the_watchdog_is_fed_at_half_of_its_timeout_and_not_more_often(systemd):
    notifier = Notifier(environment(systemd, WATCHDOG_USEC="200000", WATCHDOG_PID=str(os.getpid())))
    for tick in range(1, 51):
        notifier.feed_watchdog(tick * 10_000_000)
    assert heard(systemd) == ["WATCHDOG=1"] * 5
    notifier.close()


def test_a_watchdog_meant_for_another_process_is_not_fed(systemd):
    notifier = Notifier(environment(systemd, WATCHDOG_USEC="200000", WATCHDOG_PID="1"))
    notifier.feed_watchdog(10_000_000_000)
    assert heard(systemd) == []
    notifier.close()


def test_without_systemd_nothing_happens():
    notifier = Notifier({})
    notifier.ready("fine")
    notifier.feed_watchdog(1)
    notifier.close()


def test_a_systemd_that_went_away_does_not_hurt(tmp_path):
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    notifier.status("still here")
    notifier.close()
