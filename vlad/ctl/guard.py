"""The guard's own e-stop input, for when the daemon does not answer."""

from __future__ import annotations

import time
from pathlib import Path

import zmq

from vlad.clock import NS_PER_S, SystemClock
from vlad.driver import SensorPublisher
from vlad.guardlink import GuardLink
from vlad.messages import EStop

_TOPIC = "vladctl"
_PERIOD_S = 0.01
_RELEASES = 5


def press_guard(run_dir: Path, timeout_s: float = 1.0) -> bool:
    """Press a button of the guard until it says `estop`, then release it. False: no guard confirmed.

    The guard stays in its e-stop until a daemon is heard that does not move the robot.
    """
    if not (run_dir / "guard-estop.sock").is_socket():
        return False
    clock = SystemClock()
    began_ns = clock.now_ns()
    with zmq.Context() as context:
        link = GuardLink(context, run_dir, clock, lambda: None)
        try:
            endpoint = f"ipc://{run_dir}/guard-estop.sock"
            with SensorPublisher(endpoint, _TOPIC, "estop", clock=clock, context=context) as button:
                confirmed = False
                while not confirmed and clock.now_ns() - began_ns < timeout_s * NS_PER_S:
                    _publish(button, pressed=True)
                    report = link.newest()
                    confirmed = report is not None and report.state == "estop" and report.stamp_ns > began_ns
                for _ in range(_RELEASES):
                    _publish(button, pressed=False)
                return confirmed
        finally:
            link.close()


def _publish(button: SensorPublisher, *, pressed: bool) -> None:
    """Once, and leave it the time to arrive."""
    button.publish(EStop(pressed))
    time.sleep(_PERIOD_S)
