"""Kill, freeze and hold the daemon while the rover drives at full speed: how long until the motors stop.

Real processes: the simulator's drivers, the daemon, the guard. A receiver of the drivers' kit in this process
notes when it first hands out a stop, and who made it stop. After a freeze and a hold the daemon goes on; that
it sets the robot in motion again by itself must not happen.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from tools.benchmarks.report import Report, at_least, at_most, machine, percentiles
from tools.benchmarks.rig import ROOT, Rig, rig, write_policy
from tools.injection.host import send
from tools.sim.remote import Simulator
from tools.sim.world import make_world
from vlad.config import load_settings
from vlad.driver import CommandReceiver
from vlad.messages import CommandMode
from vlad.policy.toml import write_toml
from vlad.settings_files import read_toml

_LIMIT_MS = 100.0
_NS_PER_MS = 1e6
_PART_OF_FULL = 0.98
_WAY_M = 2.2
"""Enough to get to full speed and to stop again."""
_GIL_S, _FREEZE_S, _WATCH_S = 0.5, 0.3, 1.2
_PATIENCE_S = 60.0
_SEEDS = range(3_000_000, 3_000_400)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, count in (("kill", 34), ("freeze", 33), ("gil", 33)):
        parser.add_argument(
            f"--{name}", type=int, default=count, help="so many trials (default: %(default)s)"
        )


def run(arguments: argparse.Namespace) -> Report:
    results: dict[str, Any] = {}
    late: list[float] = []
    resumed = 0
    with rig({}) as bench:
        stage = Stage(bench)
        try:
            for name, fault in (("kill", stage.kill), ("freeze", stage.freeze), ("gil", stage.hold_gil)):
                trials = [stage.trial(fault) for _ in range(getattr(arguments, name))]
                if trials:
                    results[_NAMES[name]] = _row(trials)
                late += [trial.stop_ms for trial in trials]
                resumed += sum(trial.resumed for trial in trials)
        finally:
            stage.close()
    in_time = sum(value <= _LIMIT_MS for value in late)
    targets = [
        at_least(f"stopped within {_LIMIT_MS:g} ms, of {len(late)} trials", in_time, len(late)),
        at_most("set off again by itself", resumed, 0),
    ]
    return Report("kill", {**machine(), "full_speed_m_s": stage.full_m_s}, results, targets)


_NAMES = {"kill": "SIGKILL", "freeze": "SIGSTOP", "gil": "GIL held for 500 ms"}


class Trial:
    """What came of one fault: from it to the first stop, who made it stop, and whether it set off again."""

    def __init__(self, stop_ms: float, by: str, resumed: bool) -> None:
        self.stop_ms = stop_ms
        self.by = by
        self.resumed = resumed


def _row(trials: list[Trial]) -> dict[str, Any]:
    times = [trial.stop_ms for trial in trials]
    return {
        "trials": len(trials),
        "in_time": sum(value <= _LIMIT_MS for value in times),
        **percentiles(np.array(times), "ms"),
        "stopped_by": dict(Counter(trial.by for trial in trials)),
        "set_off_again": sum(trial.resumed for trial in trials),
    }


class Motors:
    """A receiver in a thread of its own: when it changed between run and stop, and why."""

    def __init__(self, endpoint: str) -> None:
        self.changes: list[tuple[int, bool, str]] = []
        self._endpoint = endpoint
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._receive, name="motors")
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    def runs(self) -> bool:
        return bool(self.changes) and self.changes[-1][1]

    def after(self, at_ns: int, *, running: bool) -> tuple[int, str] | None:
        """The first change to `running` after that time, and its reason."""
        found = (change for change in list(self.changes) if change[0] >= at_ns and change[1] is running)
        return next(((at, why) for at, _, why in found), None)

    def _receive(self) -> None:
        with CommandReceiver(self._endpoint) as receiver:
            while not self._ending.is_set():
                command = receiver.receive(timeout_s=0.02)
                running = command.mode is CommandMode.RUN
                if not self.changes or self.changes[-1][1] is not running:
                    self.changes.append((time.monotonic_ns(), running, receiver.reason or "vlad"))


class Stage:
    """The rover, its daemon and its guard, from trial to trial."""

    def __init__(self, bench: Rig) -> None:
        self._bench = bench
        self._host = bench.folder / "host.sock"
        self._settings = bench.folder / "kill.toml"
        self.full_m_s = self._write_settings()
        self._ways = [seed for seed in _SEEDS if _free_way_m(seed) > _WAY_M]
        self._start_daemon()
        bench.start("vlad.guard", "--config", self._settings)
        bench.start("tools.sim", "--run-dir", bench.run_dir)
        self._simulator = Simulator(bench.run_dir, timeout_s=30.0)
        self._motors = Motors(bench.commands)

    def close(self) -> None:
        self._motors.close()
        self._simulator.close()

    def trial(self, fault: Callable[[], None]) -> Trial:
        """Drive at full speed, let it happen, and watch."""
        self._drive()
        at_ns = time.monotonic_ns()
        fault()
        time.sleep(_WATCH_S)
        stop = self._motors.after(at_ns, running=False)
        if stop is None:
            return Trial(float("inf"), "nobody", resumed=False)
        stopped_ns, by = stop
        resumed = self._motors.after(stopped_ns, running=True) is not None
        if not self._bench.daemon.is_running() or self._bench.daemon.status() == "zombie":
            self._start_daemon()
        return Trial((stopped_ns - at_ns) / _NS_PER_MS, by, resumed)

    def kill(self) -> None:
        self._bench.daemon.send_signal(signal.SIGKILL)

    def freeze(self) -> None:
        """And let it go on after a while."""
        os.kill(self._bench.daemon.pid, signal.SIGSTOP)
        time.sleep(_FREEZE_S)
        os.kill(self._bench.daemon.pid, signal.SIGCONT)

    def hold_gil(self) -> None:
        send(self._host, "gil", _GIL_S)

    def _start_daemon(self) -> None:
        (self._bench.folder / "notify").unlink(missing_ok=True)
        self._bench.start_daemon("tools.injection.host", self._host, "--", "--config", self._settings)

    def _write_settings(self) -> float:
        """The demo's, with a policy that drives straight ahead as fast as the rover may [m/s]."""
        demo = ROOT / "etc" / "demo.toml"
        _, robot = load_settings(demo)
        full_m_s = robot.axes["linear_x"].velocity
        models = self._bench.folder / "models" / "bench"
        problems: list[str] = []
        values = read_toml(demo, problems)
        values["robot"]["limits"] = str(ROOT / "etc" / "robots" / "rover.toml")
        values["policy"]["bundle"] = str(write_policy(models, "camera", 32, 0, (full_m_s, 0.0)))
        values["paths"] = {
            "run_dir": str(self._bench.run_dir),
            "state_dir": str(self._bench.folder / "state"),
        }
        self._settings.write_text(write_toml(values))
        return full_m_s

    def _drive(self) -> None:
        """Put the rover at the beginning of a long way, arm it, and wait until it is at full speed."""
        end_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end_s:
            self._ways.append(self._ways.pop(0))
            self._bench.call("disarm")
            self._settle()
            self._simulator.reset(self._ways[-1])
            time.sleep(0.5)
            self._bench.call("reset")
            if self._bench.call("arm")["ok"] and self._is_fast():
                return
        raise SystemExit(f"the rover does not get to full speed: {self._bench.call('status')['faults']}")

    def _settle(self) -> None:
        end_s = time.monotonic() + 3.0
        while time.monotonic() < end_s and self._bench.call("status")["mode"] in ("stopping", "active"):
            time.sleep(0.05)

    def _is_fast(self) -> bool:
        end_s = time.monotonic() + 2.5
        while time.monotonic() < end_s:
            if self._simulator.state().twist[0] > _PART_OF_FULL * self.full_m_s and self._motors.runs():
                return True
            time.sleep(0.01)
        return False


def _free_way_m(seed: int) -> float:
    """How far a rover can drive straight ahead from the start of a world."""
    world = make_world(seed)
    x, y, yaw = world.start
    way = np.arange(0.0, 6.0, 0.05)
    gaps = world.gap(np.column_stack((x + way * np.cos(yaw), y + way * np.sin(yaw))))
    blocked = np.flatnonzero(gaps < 0.4)
    return float(way[blocked[0]]) if len(blocked) else float(way[-1])
