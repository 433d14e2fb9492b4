"""One cell of the injection matrix: a rover that drives, a fault in one signal, and what came of it."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tools.injection.expected import BUSY, INCIDENTAL, Expected
from tools.injection.kinds import COMMANDS, Kind
from tools.injection.remote import Injector
from tools.injection.witness import Notes, Witness
from tools.sim.remote import Simulator
from tools.sim.world import make_world
from tools.training.instructions import wordings
from vlad.clock import NS_PER_S, Clock
from vlad.ctl.client import Client
from vlad.driver import SensorPublisher
from vlad.messages import CommandMode, Instruction
from vlad.robot import Robot

DRIVING_M_S = 0.25
"""The rover is moving when it is commanded to drive this fast for a while."""
_DRIVING_S = 0.4
_FIRST_SEED = 3_000_000
_WORLDS = 300
_PATIENCE_S = 30.0
_NO_DRIVE_S = 6.0
_CALM_S = 15.0
"""A second, or ten periods of a slow signal, and what the fault needs to clear."""
_BEFORE_S = 0.05
_AFTER_STOP_S = 0.3
_TRIES = 3
_OVERRUN = ("overrun", "overrun_stop")
_STEP_S = 0.01
_INSTRUCTION_S = 0.5


class TrialError(Exception):
    """A trial could not be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one trial; `stop_s` is the time from the injection to the first stop at the motors."""

    ok: bool
    verdict: str
    """What was otherwise than expected; empty: nothing."""
    faults: tuple[str, ...]
    modes: tuple[str, ...]
    stop_s: float | None
    stopped_by: str
    outside: tuple[str, ...]
    spoiled: bool
    """The computer was too busy for its own part in this: it tells nothing about the fault."""


def worlds() -> list[tuple[int, str]]:
    """Seeds and what the rover is sent to there: the longest ways first."""
    ways = []
    for seed in range(_FIRST_SEED, _FIRST_SEED + _WORLDS):
        world = make_world(seed)
        x, y, yaw = world.start
        for thing in world.targets:
            ahead = math.cos(math.atan2(thing.y - y, thing.x - x) - yaw)
            ways.append((math.hypot(thing.x - x, thing.y - y) * ahead, seed, thing.name))
    return [(seed, name) for _, seed, name in sorted(ways, reverse=True)[: _WORLDS // 3]]


class Stage:
    """What stays from trial to trial: daemon in `run_dir`, proxy in `listen`, simulator in `sim_dir`."""

    def __init__(self, run_dir: Path, listen: Path, sim_dir: Path, robot: Robot, clock: Clock) -> None:
        self._clock = clock
        self._client = Client(run_dir)
        self._simulator = Simulator(sim_dir)
        self._injector = Injector(listen)
        self._witness = Witness(listen, robot, clock)
        self._worlds = worlds()
        self._speaker = SensorPublisher(f"ipc://{listen}/sensors.sock", "instruction", "instruction")
        self._text = ""
        self._ended = threading.Event()
        self._speaking = threading.Thread(target=self._speak, name="speaker")
        self._speaking.start()

    def close(self) -> None:
        self._ended.set()
        self._speaking.join()
        self._witness.close()
        for owned in (self._speaker, self._simulator, self._injector):
            owned.close()

    def try_one(self, signal: str, kind: Kind, expected: Expected) -> Outcome:
        """Drive, inject, watch, clear; again where the computer spoiled it. TrialError: it does not drive.

        What left the envelope in a spoiled trial did so all the same, and is told.
        """
        outside: tuple[str, ...] = ()
        for _ in range(_TRIES):
            outcome = self._try_once(signal, kind, expected)
            outside += outcome.outside
            if not outcome.spoiled:
                break
        return replace(outcome, outside=outside)

    def _try_once(self, signal: str, kind: Kind, expected: Expected) -> Outcome:
        self.drive()
        self._witness.begin()
        time.sleep(_BEFORE_S)
        at_ns = self._injector.set(signal, kind)["now_ns"]
        notes = self._watch(at_ns, expected)
        self._injector.clear()
        self._client.call("disarm")
        return judge(notes, at_ns, expected, signal)

    def _watch(self, at_ns: int, expected: Expected) -> Notes:
        end_ns = at_ns + round(expected.watch_s * NS_PER_S)
        while (now_ns := self._clock.now_ns()) < end_ns:
            time.sleep(_STEP_S)
            notes = self._witness.notes()
            stopped = notes.stopped_ns is not None and now_ns - notes.stopped_ns > _AFTER_STOP_S * NS_PER_S
            if expected.reaction == "stop" and stopped and not expected.faults.isdisjoint(notes.faults):
                break
        return notes

    def drive(self) -> None:
        """Put the rover where it has a long way to go, arm it, and wait until it is on its way."""
        end_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end_s:
            seed, name = self._worlds[0]
            self._worlds.append(self._worlds.pop(0))
            self._text = ""
            self._injector.clear()
            self._simulator.release()
            self._simulator.reset(seed)
            self._calm_down()
            self._arm(end_s)
            self._text = f"go to the {wordings(name)[0]}"
            if self._is_driving() and self._is_calm():
                return
            self._client.call("disarm")
        raise TrialError(f"the rover does not drive: {self._against()}")

    def _calm_down(self) -> None:
        """Wait until the trial before shows no more, and the rover has heard that there is nothing to do."""
        end_s = time.monotonic() + _CALM_S
        time.sleep(_INSTRUCTION_S)
        while time.monotonic() < end_s:
            self._client.call("reset")
            if self._is_calm():
                return
            time.sleep(10 * _STEP_S)

    def _is_calm(self) -> bool:
        """Whether no fault acts that could be taken for what the next injection does: some come late."""
        return {row["id"] for row in self._client.call("status")["faults"]} <= INCIDENTAL | BUSY

    def _arm(self, end_s: float) -> None:
        while time.monotonic() < end_s:
            if self._client.call("reset")["ok"] and self._client.call("arm")["ok"]:
                return
            time.sleep(5 * _STEP_S)
        raise TrialError(f"the rover cannot be armed: {self._against()}")

    def _is_driving(self) -> bool:
        """Once it drives steadily; False where it does not within a few seconds."""
        end_s = time.monotonic() + _NO_DRIVE_S
        since_s = math.inf
        while (now_s := time.monotonic()) < end_s:
            command = self._witness.newest
            fast = (
                command is not None
                and command.mode is CommandMode.RUN
                and bool(len(command.values))
                and float(command.values[0]) > DRIVING_M_S
            )
            since_s = min(since_s, now_s) if fast else math.inf
            if now_s - since_s > _DRIVING_S:
                return True
            time.sleep(_STEP_S)
        return False

    def _against(self) -> str:
        status: dict[str, Any] = self._client.call("status")
        rows = status["refusals"] + status["faults"]
        return f"{status['mode']}; " + "; ".join(
            f"{row['id']} {row['subject']} {row['detail']}" for row in rows
        )

    def _speak(self) -> None:
        """Say the instruction again and again, as a speech recognizer that hears it would."""
        while not self._ended.wait(_INSTRUCTION_S):
            self._speaker.publish(Instruction(self._text, "speech"))


def judge(notes: Notes, at_ns: int, expected: Expected, signal: str) -> Outcome:
    """What was seen against what was expected."""
    shown = {fault for fault, seen_ns in notes.faults.items() if seen_ns >= at_ns}
    stop_s = None if notes.stopped_ns is None else max(0, notes.stopped_ns - at_ns) / NS_PER_S
    verdict = _objection(shown, stop_s, notes, expected)
    return Outcome(
        ok=not verdict,
        verdict=verdict,
        faults=tuple(sorted(shown)),
        modes=tuple(notes.modes),
        stop_s=None if stop_s is None else round(stop_s, 4),
        stopped_by=notes.stopped_by,
        outside=tuple(notes.outside),
        spoiled=not shown.isdisjoint(_OVERRUN) or _is_spoiled(notes.stopped_by, signal),
    )


def _is_spoiled(stopped_by: str, signal: str) -> bool:
    """None of the faults tried holds up the daemon, and only those of the commands hold up the commands."""
    return "guard" in stopped_by or ("silence" in stopped_by and signal not in COMMANDS)


def _objection(shown: set[str], stop_s: float | None, notes: Notes, expected: Expected) -> str:
    if expected.reaction == "none":
        unexpected = shown - INCIDENTAL - BUSY - {"signal_rate", "signal_gaps"}
        return f"not expected: {', '.join(sorted(unexpected))}" if unexpected else ""
    if expected.faults and expected.faults.isdisjoint(shown):
        return f"none of {', '.join(sorted(expected.faults))} showed"
    if expected.reaction == "stop" and stop_s is None:
        return "no stop reached the motors"
    if expected.reaction == "slow" and "degraded" not in notes.modes and stop_s is None:
        return "it was not slowed down"
    return ""
