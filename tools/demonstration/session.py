"""One run of the demo: start simulator and daemon, arm, play the referee, and end everything in order."""

from __future__ import annotations

import contextlib
import sys
import threading
from pathlib import Path
from typing import Any

import tools
from tools.demonstration.camera import CameraView
from tools.demonstration.daemon import Daemon
from tools.demonstration.output import Output
from tools.demonstration.processes import Process, ProcessDiedError
from tools.demonstration.referee import FIRST_SEED, Act, Judge, NewWorld, Tell, Truth
from tools.demonstration.summary import Measured, stop_reason
from tools.demonstration.view import View
from tools.sim.remote import Simulator, SimulatorError
from tools.sim.world import make_world
from vlad.clock import NS_PER_S, Clock
from vlad.ctl.client import ControlError
from vlad.ctl.output import clean
from vlad.driver import SensorPublisher
from vlad.messages import TaskResult

ROOT = Path(tools.__file__).parent.parent
SETTINGS = ROOT / "etc" / "demo.toml"

_STEP_S, _QUICK_STEP_S = 0.1, 0.03
_START_TIMEOUT_S = 60.0
_ARM_TIMEOUT_S = 60.0
_REST_TIMEOUT_S = 5.0
_SETTLE_S = 0.3  # after a jump to another world, until every sensor has seen it
_PATIENCE_S = 1.5


class DemoError(Exception):
    """The demo cannot go on; the text says what happened, and what to do."""


class _InterruptedError(Exception):
    """A person wants to end it, or its time is over."""


class Session:
    """`run` once. `view` is kept up to date and `output` told to show it."""

    def __init__(
        self, folder: Path, view: View, output: Output, clock: Clock, stopping: threading.Event
    ) -> None:
        self.measured = Measured()
        self._folder = folder
        self._view = view
        self._referee = view.referee
        self._output = output
        self._clock = clock
        self._stopping = stopping
        self._seconds: float | None = None
        self._began_ns = clock.now_ns()
        self._daemon: Daemon | None = None
        self._simulator: Simulator | None = None
        self._page = ""

    def run(self, seconds: float | None) -> None:
        """For so long after the first arming, or until `stopping` is set. DemoError if it goes wrong."""
        self._seconds = seconds
        try:
            with contextlib.ExitStack() as closing, contextlib.suppress(_InterruptedError):
                self._start(closing)
                self._drive()
        except (ProcessDiedError, SimulatorError) as error:
            raise DemoError(str(error)) from None
        except ControlError as error:
            raise DemoError(f"{error.message}; {error.hint}\n{self._last_words()}") from None

    # start and end ----------------------------------------------------------------------------------------

    def _start(self, closing: contextlib.ExitStack) -> None:
        run_dir = self._folder
        self._camera = CameraView(run_dir)
        closing.callback(self._camera.close)
        self._sim = self._spawn(closing, "sim", "tools.sim", "--seed", str(FIRST_SEED))
        settings = "--config", str(SETTINGS), "--state-dir", str(run_dir / "state")
        self._guard = self._spawn(closing, "guard", "vlad.guard", "--config", str(SETTINGS))
        self._vlad = self._spawn(closing, "vlad", "vlad", *settings)
        self._results = SensorPublisher(f"ipc://{run_dir}/sensors.sock", "task_result", "task_result")
        closing.callback(self._results.close)
        self._view.waiting = "starting vlad and the simulated robot"
        while self._daemon is None or not (run_dir / "sim.sock").exists():
            self._connect()
            self._step(_QUICK_STEP_S)
            if self._elapsed_s() > _START_TIMEOUT_S:
                raise DemoError(f"nothing is ready after {_START_TIMEOUT_S:g} s\n{self._last_words()}")
        self._simulator = Simulator(run_dir)
        closing.callback(self._simulator.close)
        closing.callback(self._take_leave)

    def _spawn(self, closing: contextlib.ExitStack, name: str, module: str, *arguments: str) -> Process:
        command = [sys.executable, "-m", module, "--run-dir", str(self._folder), *arguments]
        process = Process(name, command, ROOT, self._folder / f"{name}.log")
        closing.callback(self._stop, process)
        return process

    def _stop(self, process: Process) -> None:
        if not process.stop():
            self.measured.trouble.append(f"{process.name} did not end in order:\n{process.tail()}")

    def _connect(self) -> None:
        if self._daemon is None:
            with contextlib.suppress(ControlError):
                self._daemon = Daemon(self._folder)
                self.measured.ready_s = self._elapsed_s()

    def _take_leave(self) -> None:
        """No task, disarmed, at rest; then the last numbers. What fails here is dead, and said elsewhere."""
        daemon, measured = self._connected(), self.measured
        if measured.armed_s is not None:
            measured.seconds = self._elapsed_s() - measured.armed_s
        cpu_s, measured.memory_bytes = self._vlad.usage()
        measured.cpu_s += cpu_s
        with contextlib.suppress(ControlError):
            daemon.tell("")
            daemon.disarm()
            measured.status = self._until_at_rest(daemon)
            measured.inferences += measured.status["policy"]["inferences"]
            daemon.catch_up()
        self._take_events(daemon)

    def _until_at_rest(self, daemon: Daemon) -> dict[str, Any]:
        deadline_s = self._elapsed_s() + _REST_TIMEOUT_S
        while (status := daemon.refresh())["mode"] not in ("disarmed", "estop"):
            if self._elapsed_s() > deadline_s:
                break
            threading.Event().wait(_QUICK_STEP_S)
        return status

    # the run ----------------------------------------------------------------------------------------------

    def _drive(self) -> None:
        view = self._view
        while True:
            self._step(_STEP_S)
            if view.truth is not None:
                act = self._referee.turn(self._elapsed_s(), view.truth, str(view.look("mode")))
                if act is not None:
                    self._do(act)

    def _do(self, act: Act) -> None:
        match act:
            case NewWorld(seed):
                self._place(seed)
            case Tell(text):
                self._connected().tell(text)
            case Judge(task, success, outcome, took_s):
                self._results.publish(TaskResult(task, success))
                self._note("SAFE" if success else "CAUTION", f'"{task}": {outcome} after {took_s:.1f} s')

    def _place(self, seed: int) -> None:
        """Put the robot into another world and arm it there."""
        daemon = self._connected()
        self._view.waiting = "the next world"
        daemon.tell("")
        daemon.disarm()
        self._until_at_rest(daemon)
        assert self._simulator is not None
        self._simulator.reset(seed)
        self._referee.placed(make_world(seed), self._elapsed_s())
        began_s = self._elapsed_s()
        while not self._armed(daemon, self._elapsed_s() - began_s):
            self._step(_STEP_S)
        self._view.waiting = ""
        self._view.status = daemon.refresh()
        if self.measured.armed_s is None:
            self.measured.armed_s = self._elapsed_s()
            self.measured.inferences = -self._view.status["policy"]["inferences"]
            self.measured.cpu_s = -self._vlad.usage()[0]

    def _armed(self, daemon: Daemon, waited_s: float) -> bool:
        """Try to arm; after a while say what is in the way, and try a reset."""
        if waited_s < _SETTLE_S:
            return False
        status = daemon.refresh()
        refusals = status["refusals"] or daemon.arm()
        if not refusals:
            return True
        if waited_s > _ARM_TIMEOUT_S:
            raise DemoError(f"vlad cannot be armed:\n{_explained(refusals)}\n{self._last_words()}")
        if waited_s > 2 * _SETTLE_S:
            daemon.reset()
        if waited_s > _PATIENCE_S:
            named = ", ".join(f"{row['id']} {row['subject']}".rstrip() for row in refusals)
            if self._view.waiting != (waiting := f"cannot be armed yet: {named}"):
                self._view.waiting = waiting
                self._note("CAUTION", f"cannot be armed yet: {_explained(refusals)}")
        return False

    # every step -------------------------------------------------------------------------------------------

    def _step(self, period_s: float) -> None:
        """Look at everything, show it, and wait for the rest of the period."""
        began_s = self._elapsed_s()
        for process in (self._sim, self._guard, self._vlad):
            process.check()
        view = self._view
        view.elapsed_s = began_s
        if self._daemon is not None:
            view.status = self._daemon.status
            self._take_events(self._daemon)
            self._tell_page(view.look("page", "address") or "")
        if self._simulator is not None:
            state = self._simulator.state()
            view.truth = Truth(state.pose, state.twist, state.collided)
            view.camera = self._camera.newest()
        self._output.refresh()
        if self._stopping.wait(max(0.0, began_s + period_s - self._elapsed_s())):
            raise _InterruptedError
        armed_s = self.measured.armed_s
        if self._seconds is not None and armed_s is not None and self._elapsed_s() - armed_s >= self._seconds:
            raise _InterruptedError

    def _take_events(self, daemon: Daemon) -> None:
        for event in daemon.take_events():
            if reason := stop_reason(event):
                self.measured.stops.append(reason)
            if text := _told(event):
                self._note(event["level"], clean(text))

    def _tell_page(self, address: str) -> None:
        """Where a browser sees all of this, once; it is there a moment after the daemon."""
        if address and address != self._page:
            self._page = address
            self._note("SAFE", f"the robot's page: {address}")

    def _note(self, level: str, text: str) -> None:
        self._output.happened(self._view.note(level, text))

    def _last_words(self) -> str:
        return f"vlad's last words:\n{self._vlad.tail()}"

    def _connected(self) -> Daemon:
        assert self._daemon is not None
        return self._daemon

    def _elapsed_s(self) -> float:
        return (self._clock.now_ns() - self._began_ns) / NS_PER_S


def _told(event: dict[str, Any]) -> str:
    """An event of the daemon in words; empty for what the demo itself did, and tells in other words."""
    match event["kind"]:
        case "act":
            return ""
        case "task":
            task = event["data"]["task"]
            return f'told "{task}"' if task else ""
        case "mode" | "start" | "stop":
            return str(event["text"])
        case kind:
            return f"{kind}: {event['text']}"


def _explained(refusals: list[dict[str, Any]]) -> str:
    """Each with its hint; on one line, as an event is."""
    texts = [f"{row['id']} {row['subject']} {row['detail']}: {row['hint']}" for row in refusals]
    return clean(" ".join(" ".join(texts).split()))
