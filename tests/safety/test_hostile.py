"""Properties of the whole kernel: whatever comes in, nothing that goes out can surprise anybody."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.safety.rig import ROVER_SIGNALS, TICK_NS, Rig, arm, odometry, scan, settings
from vlad.messages import Battery, EStop, JointState, Kind, NearObject, Proximity
from vlad.safety.kernel import Verdict
from vlad.safety.reaction import Reaction

NUMBER = st.floats(width=32) | st.floats(-3, 3, width=32)
PAIR = st.tuples(NUMBER, NUMBER)
SANE_PAIR = st.tuples(st.floats(-2.5, 2.5, width=32), st.floats(-2.5, 2.5, width=32))
MOVING = ("active", "degraded")
ACTS = st.sampled_from([""] * 12 + ["arm"] * 6 + ["reset", "disarm", "stop", "estop"])


@dataclass
class Turn:
    """What happens at one turn of a hostile run."""

    dt_s: float
    act: str
    values: tuple[float, float] | None
    feedback: tuple[float, float] | None
    """None: as commanded."""
    silent: frozenset[str]
    changes: dict[str, Any] = field(default_factory=dict)
    collision: float | None = None
    remaining_ns: int = 10**9
    age_ns: int = 50_000_000
    missed: int = 0
    range_m: float = float("inf")
    charge: float = 1.0
    distance_m: float = 1.0
    pressed: bool = False
    task: str = ""


RARE_NUMBER = st.none() | st.none() | st.none() | NUMBER


@st.composite
def turns(draw) -> list[Turn]:
    """Long stretches in which all is well, and short ones in which nothing is."""
    out = [Turn(0.01, draw(st.sampled_from(["arm", "arm", "arm", "estop"])), None, None, frozenset())]
    for _ in range(draw(st.integers(1, 6))):
        quiet = Turn(0.01, draw(ACTS), draw(st.none() | SANE_PAIR | SANE_PAIR), None, frozenset())
        follows = Turn(0.01, "", quiet.values, None, frozenset())
        out += [quiet] + [follows] * draw(st.sampled_from([0, 5, 30, 90]))
        if draw(st.booleans()):
            continue
        out.append(
            Turn(
                dt_s=draw(st.sampled_from([0.0, 0.001, 0.01, 0.011, 0.05, 3.0])),
                act=draw(ACTS),
                values=draw(st.none() | PAIR),
                feedback=draw(st.none() | PAIR),
                silent=draw(st.frozensets(st.sampled_from(sorted(ROVER_SIGNALS)), max_size=2)),
                collision=draw(RARE_NUMBER),
                remaining_ns=draw(st.sampled_from([10**9, 0, -(10**12)])),
                age_ns=draw(st.sampled_from([0, 50_000_000, 10**10, -(10**10)])),
                missed=draw(st.sampled_from([0, 0, 1, 9])),
                range_m=draw(st.just(float("inf")) | NUMBER),
                charge=draw(st.just(1.0) | NUMBER),
                distance_m=draw(st.just(1.0) | NUMBER),
                pressed=draw(st.sampled_from([False, False, False, True])),
                task=draw(st.sampled_from(["", "go"])),
            )
        )
    return out


def play(rig: Rig, turn: Turn) -> tuple[Verdict, str]:
    """One turn; the verdict, and the act if it was done."""
    rig.now_ns += round(turn.dt_s * 1e9)
    if rig.robot.command is Kind.TWIST:
        rig.data["laser"] = scan(turn.range_m)
        rig.data["battery"] = Battery(turn.charge, 24.0, 0.0, 20.0)
        rig.data["bumper"] = Proximity((NearObject("x", turn.distance_m, 0.0),))
        rig.data["estop"] = EStop(turn.pressed)
    rig.silent = set(turn.silent)
    rig.wanted = None if turn.values is None else list(turn.values)
    rig.task, rig.inputs = turn.task, {"missed_ticks": turn.missed, "early": turn.dt_s < 0.01}
    inputs = rig.sense()
    if turn.feedback is not None:
        row = np.array(turn.feedback, dtype=np.float32)
        name = rig.robot.feedback
        data = odometry(*turn.feedback) if name == "odometry" else JointState(rig.names, row, row)
        inputs.samples[name] = rig.samples[name] = rig.sample(name, data)
    if inputs.step is not None:
        step = rig.make_step(list(turn.values), collision=turn.collision, remaining_ns=turn.remaining_ns,
                             stamp_ns=rig.now_ns - turn.age_ns)  # fmt: skip
        object.__setattr__(inputs, "step", step)
        rig.kernel.admit(rig.make_chunk(actions=np.tile(step.values, (3, 1))), rig.now_ns)
    done = turn.act
    match turn.act:
        case "arm":
            done = "arm" if rig.kernel.mode == "disarmed" and not rig.kernel.arm(inputs) else ""
        case "reset":
            done = "" if rig.kernel.reset(inputs) else "reset"
        case "disarm" | "stop" | "estop":
            getattr(rig.kernel, turn.act)("by test")
    verdict = rig.kernel.judge(inputs)
    rig._follow(verdict, max(turn.dt_s, 1e-3))
    return verdict, done


def check_modes(before: str, done: str, verdict: Verdict) -> None:
    after = verdict.mode
    worst = max((fault.fault.reaction for fault in verdict.faults), default=Reaction.REPORT)
    if before == "estop":
        assert after == "estop" or done == "reset"
    if before in ("boot", "disarmed"):
        assert after in ("disarmed", "estop") or done == "arm"
    if done == "reset" and before != "boot":
        assert after in ("disarmed", "estop")
        assert not verdict.values.any()
    if after in MOVING:
        assert worst < Reaction.STOP2
        assert verdict.estop_reason is None
    if verdict.command_mode == "run":
        assert after in MOVING
    assert (after == "estop") == (verdict.estop_reason is not None)
    if after == "estop":
        assert verdict.command_mode in ("stop1", "stop0")
        assert worst is Reaction.ESTOP


def hostile(rig: Rig, story: list[Turn], values_of) -> None:
    """Play the story; `values_of` checks what is commanded against what was before."""
    rig.tick(10)
    mode, last = "disarmed", None
    for turn in story:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            verdict, done = play(rig, turn)
        check_modes(mode, done, verdict)
        mode = verdict.mode
        assert verdict.values.dtype == np.float32
        assert verdict.values.size in (0, len(verdict.names))
        assert np.isfinite(verdict.values).all()
        last = values_of(verdict, last, min(turn.dt_s, 2 * TICK_NS / 1e9), done)


@given(turns())
def test_a_base_is_never_commanded_out_of_its_envelope(story):
    rig = Rig()
    top = np.array([axis.velocity for axis in rig.robot.axes.values()])
    rates = [(axis.deceleration or 0, axis.acceleration) for axis in rig.robot.axes.values()]
    steepest = np.array([max(rate) for rate in rates])

    def check(verdict, last, dt_s, done):
        if not verdict.values.size:
            return np.zeros(2)
        assert (np.abs(verdict.values) <= top + 1e-6).all()
        if last is not None and done not in ("arm", "reset"):
            assert (np.abs(verdict.values - last) <= steepest * dt_s + 1e-6).all()
        return verdict.values

    hostile(rig, story, check)


@given(turns())
def test_an_arm_is_never_commanded_out_of_its_envelope(story):
    rig = Rig(arm())
    speed = np.zeros(2)

    def check(verdict, last, dt_s, done):
        nonlocal speed
        if not verdict.values.size or last is None or done == "arm":
            speed = np.zeros(2)
        elif dt_s:
            before, speed = speed, (verdict.values.astype(np.float64) - last) / dt_s
            assert (np.abs(speed - before) <= 5.0 * dt_s + 3e-4).all()
        if not verdict.values.size:
            return None
        slack = 0.01 * 2.5 + 1e-6
        assert (verdict.values >= -1.0 - slack).all()
        assert (verdict.values <= 1.5 + slack).all()
        if last is not None and done != "arm":
            assert (np.abs(verdict.values - last) <= 1.0 * dt_s + 1e-6).all()
        return verdict.values

    hostile(rig, story, check)


@pytest.mark.parametrize("kind", [Kind.JOINT_DELTA, Kind.JOINT_VELOCITY])
@given(turns())
def test_other_arms_only_get_numbers_that_are_finite(kind, story):
    hostile(Rig(arm(kind)), story, lambda verdict, last, dt_s, done: None)


@given(turns())
def test_what_happened_once_happens_again(story):
    def run() -> list[bytes]:
        rig = Rig(set_up=settings(safety={"arm_ramp_s": 0.05}))
        out = []
        rig.tick(10)
        for turn in story:
            verdict, _ = play(rig, turn)
            told = [(fault.fault.id, fault.detail, fault.since_ns) for fault in verdict.faults]
            out.append(verdict.values.tobytes() + repr((verdict.mode, verdict.transitions, told)).encode())
        return out

    assert run() == run()
