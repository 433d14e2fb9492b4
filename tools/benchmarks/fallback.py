"""Kill and freeze the policy server of a robot with a fallback: how soon does it drive, and without a stop?

Real processes, as in the benchmark `remote`. The server dies at any moment between two frames; it is measured
until the fault says so, until the motors are told what the fallback wants, and how many stops they were told
meanwhile. Then the server is back, and it is waited for until its policy drives again.
"""

from __future__ import annotations

import argparse
import random
import signal
import time
from dataclasses import dataclass
from typing import Any

from tools.benchmarks.remote import Listener
from tools.benchmarks.report import Report, Target, at_least, at_most, machine, percentiles
from tools.benchmarks.rig import rig, write_policy, write_remote_policy
from tools.policy_servers.process import ServerProcess
from vlad.messages import Command, CommandMode, Heartbeat
from vlad.policy_settings import PolicySettings

_FAULT_MS = 150.0
_CAMERA = "camera:image:30:640x480"
_SIZE = (480, 640)
_FASTER = (0.2, 0.0)
"""The fallback drives so fast; the policy on the server at 0.05 m/s."""
_FAILBACK_S = 0.5
_NS_PER_MS = 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, default=50, help="(default: %(default)s)")


def run(arguments: argparse.Namespace) -> Report:
    trials = _trials(arguments.trials)
    in_time = sum(trial.fault_ms <= _FAULT_MS for trial in trials)
    results: dict[str, Any] = {
        by: {
            key: percentiles([getattr(trial, f"{key}_ms") for trial in trials if trial.by == by], "ms")
            for key in ("fault", "drives")
        }
        for by in sorted({trial.by for trial in trials})
    }
    stops = sum(trial.stops for trial in trials)
    targets: list[Target] = [
        at_least(f"fault within {_FAULT_MS:g} ms, of {len(trials)} trials", in_time, len(trials)),
        at_most(
            "server lost to fallback driving, max [ms]",
            max(trial.drives_ms for trial in trials),
            _FAULT_MS + PolicySettings().deadline_s * 1e3,
        ),
        at_most("stops told to the motors", stops, 0),
    ]
    return Report("fallback", {**machine(), "camera": _CAMERA}, results | {"stops": stops}, targets)


@dataclass(frozen=True, slots=True)
class Trial:
    """From the end of the server to the fault, and to the first command that is the fallback's."""

    by: str
    fault_ms: float
    drives_ms: float
    stops: int


def _stands_in(said: Command | Heartbeat) -> bool:
    return isinstance(said, Heartbeat) and "policy_fallback" in said.faults


def _has_the_robot(said: Command | Heartbeat) -> bool:
    return isinstance(said, Heartbeat) and "policy_fallback" not in said.faults


def _runs(said: Command | Heartbeat) -> bool:
    return isinstance(said, Command) and said.mode is CommandMode.RUN


def _trials(count: int) -> list[Trial]:
    with rig({"camera": {"type": "image", "max_age_s": 0.5}}) as bench, ServerProcess("openpi") as server:
        calm = bench.folder / "state" / "models" / "calm" / "1"
        calm.parent.mkdir(parents=True)
        write_policy(calm, "camera", 224, rounds=0, twist=_FASTER)
        bench.policy |= {
            "bundle": str(write_remote_policy(bench.folder / "models" / "bench", "openpi", "camera", _SIZE)),
            "server": {"address": server.address},
            "fallback": "calm/1",
            "failback_s": _FAILBACK_S,
        }
        server.start()
        bench.start_daemon("vlad", "--config", bench.write_settings())
        bench.feed([_CAMERA])
        listener = Listener(bench.commands)
        bench.arm()
        trials = [_trial(("SIGKILL", "SIGSTOP")[number % 2], server, listener) for number in range(count)]
        listener.close()
    return trials


def _trial(by: str, server: ServerProcess, listener: Listener) -> Trial:
    """End the server of a robot that moves, and let it come back."""
    listener.drain()
    listener.until(_runs, _has_the_robot)
    time.sleep(random.uniform(0.5, 0.6))
    listener.drain()
    stops = 0

    def drives_faster(said: Command | Heartbeat) -> bool:
        nonlocal stops
        if not isinstance(said, Command):
            return False
        stops += said.mode is not CommandMode.RUN
        return said.mode is CommandMode.RUN and bool(said.values[0] > 0.06)

    ended_ns = time.monotonic_ns()
    server.send(signal.Signals[by])
    fault_ns, drives_ns = listener.until(_stands_in, drives_faster)
    if by == "SIGKILL":
        server.start()
    else:
        server.send(signal.SIGCONT)
    listener.drain()
    listener.until(_has_the_robot)
    return Trial(by, (fault_ns - ended_ns) / _NS_PER_MS, (drives_ns - ended_ns) / _NS_PER_MS, stops)
