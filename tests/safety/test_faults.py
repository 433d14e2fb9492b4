"""The table as a whole, and a way to reach each of its rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import nan

import numpy as np
import pytest

from tests.safety.rig import TICK_NS, Rig, S, arm, points, scan, settings
from vlad.messages import Battery, Chunk, EStop, Kind, NearObject, Proximity, Step
from vlad.safety.faults import FAULTS
from vlad.safety.reaction import Clears, Reaction


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_a_row_says_all_that_an_operator_needs(fault):
    assert fault.meaning.endswith(".")
    assert fault.hint.endswith(".")
    assert FAULTS[fault.id] is fault
    assert (fault.factor < 1) == (fault.reaction is Reaction.SLOW)
    assert fault.hold_s >= 0
    assert fault.clear_s > 0


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_what_cuts_the_power_never_clears_by_itself(fault):
    if fault.reaction >= Reaction.STOP1:
        assert fault.clears in (Clears.RESET, Clears.NEVER)
    if fault.reaction <= Reaction.SLOW and fault.id != "joint_parked":
        assert fault.clears is Clears.ITSELF


def estop(rig: Rig) -> None:
    rig.kernel.estop("by test")


def estop_pressed(rig: Rig) -> None:
    rig.data["estop"] = EStop(True)


def estop_silent(rig: Rig) -> None:
    rig.silent.add("estop")


def signal_missing(rig: Rig) -> None:
    rig.silent.add("camera")
    del rig.samples["camera"]


def signal_stale(rig: Rig) -> None:
    rig.silent.add("laser")


def signal_invalid(rig: Rig) -> None:
    rig.data["battery"] = Battery(nan, 24.0, -1.0, 30.0)


def battery_low(rig: Rig) -> None:
    rig.data["battery"] = Battery(0.15, 24.0, -1.0, 30.0)


def battery_critical(rig: Rig) -> None:
    rig.data["battery"] = Battery(0.05, 24.0, -1.0, 30.0)


def silence(rig: Rig) -> None:
    rig.task, rig.chunks = "go to the red ball", False


def _step(rig: Rig, change: Callable[[Step], Step]) -> None:
    make = rig.make_step
    rig.make_step = lambda values: change(make(values))


def _chunk(rig: Rig, **changes: object) -> None:
    make = rig.make_chunk
    rig.make_chunk = lambda: make(**changes)


def chunk_used_up(rig: Rig) -> None:
    _step(rig, lambda step: replace(step, remaining_ns=0))


def chunk_old(rig: Rig) -> None:
    _step(rig, lambda step: replace(step, stamp_ns=step.stamp_ns - S))


def chunk_not_finite(rig: Rig) -> None:
    _chunk(rig, actions=np.full((5, 2), nan, dtype=np.float32))


def chunk_shape(rig: Rig) -> None:
    _chunk(rig, actions=np.zeros((5, 3), dtype=np.float32))


def chunk_bounds(rig: Rig) -> None:
    _chunk(rig, actions=np.full((5, 2), 9.0, dtype=np.float32))


def chunk_order(rig: Rig) -> None:
    _chunk(rig, stamp_ns=rig.now_ns - 300_000_000)


def chunk_jump(rig: Rig) -> None:
    _chunk(rig, actions=np.full((5, 2), -0.8, dtype=np.float32))


def chunk_envelope(rig: Rig) -> None:
    _chunk(rig, actions=np.full((5, 2), 1.0, dtype=np.float32))


def uncertain(rig: Rig) -> None:
    _step(rig, lambda step: replace(step, uncertainty=0.95))


def step_invalid(rig: Rig) -> None:
    _step(rig, lambda step: replace(step, values=np.array([nan, 0], dtype=np.float32)))


def collision_predicted(rig: Rig) -> None:
    _step(rig, lambda step: replace(step, collision=0.95))


def inference_late(rig: Rig) -> None:
    rig.inputs["inference_since_ns"] = rig.now_ns - S


def overrun(rig: Rig) -> None:
    """Every second tick is punctual."""
    sense = rig.sense
    rig.sense = lambda: replace(sense(), missed_ticks=2 if rig.now_ns // TICK_NS % 2 else 0)


def overrun_stop(rig: Rig) -> None:
    rig.inputs["missed_ticks"] = 5


def part_failed(rig: Rig) -> None:
    rig.inputs["failed_parts"] = ("ingest",)


def obstacle(rig: Rig) -> None:
    rig.data["laser"] = points((0.25, 0.0))


def obstacle_ahead(rig: Rig) -> None:
    rig.velocity[:] = 0
    rig.data["laser"] = points((0.2, 0.0))


def contact(rig: Rig) -> None:
    rig.data["bumper"] = Proximity((NearObject("front", 0.0, 0.0),))


def velocity_limit(rig: Rig) -> None:
    rig.obeys = False
    rig.velocity[1] = -2.5


def stop_late(rig: Rig) -> None:
    rig.obeys = False
    rig.kernel.disarm("by test")


def stop_failed(rig: Rig) -> None:
    stop_late(rig)


REACHED = [
    estop, estop_pressed, estop_silent, signal_missing, signal_stale, signal_invalid, battery_low,
    battery_critical, silence, chunk_used_up, chunk_old, chunk_not_finite, chunk_shape, chunk_bounds,
    chunk_order, chunk_jump, chunk_envelope, uncertain, step_invalid, collision_predicted,
    inference_late, overrun, part_failed, overrun_stop, obstacle, obstacle_ahead, contact, velocity_limit,
    stop_late, stop_failed,
]  # fmt: skip
SPEED = {Reaction.REPORT: 0.8, Reaction.SLOW: 0.4}


@pytest.mark.parametrize("cause", REACHED, ids=lambda cause: cause.__name__)
def test_a_fault_is_reported_and_gets_the_reaction_of_its_row(cause):
    rig = Rig().driving()
    fault = FAULTS[cause.__name__]
    cause(rig)
    seen = set()
    for _ in range(200):
        rig.tick()
        seen |= rig.ids()
    verdict = rig.verdict
    assert fault.id in seen
    match fault.reaction:
        case Reaction.REPORT:
            assert verdict.mode == "active"
        case Reaction.SLOW:
            assert (verdict.mode, verdict.command_mode) == ("degraded", "run")
            assert verdict.values[0] == pytest.approx(0.8 * fault.factor)
        case Reaction.ESTOP:
            assert (verdict.mode, verdict.command_mode) == ("estop", "stop0")
        case _:
            assert {"stopping", "stopped", "estop"} & set(rig.modes)
            expected = {Reaction.STOP2: "hold", Reaction.STOP1: "stop1", Reaction.STOP0: "stop0"}
            if fault.id not in ("velocity_limit", "stop_late", "obstacle"):
                assert verdict.command_mode == expected[fault.reaction]
                assert not verdict.values.any()


def test_a_joint_beyond_its_limit_is_a_fault():
    rig = Rig(arm()).armed()
    rig.obeys = False
    rig.position[1] = 1.6
    verdict = rig.tick()
    assert [(fault.fault.id, fault.subject) for fault in verdict.faults] == [("position_limit", "j1")]
    assert verdict.mode == "stopping"


def test_reactions_read_well():
    assert [str(reaction) for reaction in Reaction] == ["report", "slow", "stop2", "stop1", "stop0", "estop"]


def test_every_row_is_reached_by_a_test():
    reached = {cause.__name__ for cause in REACHED}
    assert set(FAULTS) - reached == {"position_limit", "not_disarmed", "moving"}


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": Kind.JOINT_POSITION},
        {"names": ("angular_z", "linear_x")},
        {"actions": np.zeros((5, 3), dtype=np.float32)},
        {"actions": np.zeros((0, 2), dtype=np.float32)},
        {"actions": np.zeros(2, dtype=np.float32)},
        {"actions": np.zeros((5, 2), dtype=np.int64)},
        {"actions": np.full((5, 2), np.inf, dtype=np.float32)},
        {"actions": np.full((5, 2), 3.0, dtype=np.float32)},
        {"actions": np.full((5, 2), -3.0, dtype=np.float32)},
        {"collision": nan},
        {"collision": 1.5},
        {"step_ns": 0},
        {"stamp_ns": 0},
        {"stamp_ns": 10**18},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_chunk_that_cannot_be_meant_for_this_robot_is_refused(changes):
    rig = Rig().armed()
    assert not rig.kernel.admit(rig.make_chunk(**changes), rig.now_ns)
    rig.chunks = False
    verdict = rig.tick()
    (found,) = verdict.faults
    assert found.fault.id in ("chunk_shape", "chunk_not_finite", "chunk_bounds", "chunk_order")
    assert verdict.faults[0].detail
    assert verdict.mode == "degraded"
    assert rig.tick(60).mode == "active"


@pytest.mark.parametrize(("kind", "good", "bad"), [
    (Kind.JOINT_POSITION, 2.0, 4.1), (Kind.JOINT_DELTA, -0.29, -0.31), (Kind.JOINT_VELOCITY, 2.9, 3.1),
])  # fmt: skip
def test_an_exaggeration_is_bounded_and_nonsense_is_refused(kind, good, bad):
    joints = {"joints": {"type": "joint_state"}}
    rig = Rig(arm(kind), settings(joints))

    def chunk(value: float) -> Chunk:
        return rig.make_chunk(actions=np.full((5, 2), value, dtype=np.float32))

    assert rig.kernel.admit(chunk(good), rig.now_ns)
    assert not rig.kernel.admit(chunk(bad), rig.now_ns)


def test_a_first_chunk_far_from_the_measured_pose_is_refused_with_the_distance():
    rig = Rig(arm(), settings({"joints": {"type": "joint_state"}})).armed()
    rig.chunks = False
    far = rig.make_chunk(actions=np.full((5, 2), [0.1, -0.5], dtype=np.float32))
    assert not rig.kernel.admit(far, rig.now_ns)
    (found,) = rig.tick().faults
    assert (found.fault.id, found.detail) == (
        "chunk_jump", "j1 begins 0.5 from the measured pose; at most 0.3",
    )  # fmt: skip
    assert rig.kernel.admit(rig.make_chunk(actions=np.full((5, 2), 0.2, dtype=np.float32)), rig.now_ns)


@pytest.mark.parametrize(("kind", "good", "bad"), [
    (Kind.JOINT_POSITION, 0.019, 0.022), (Kind.JOINT_DELTA, 0.01, 0.022), (Kind.JOINT_VELOCITY, 1.0, 1.06),
])  # fmt: skip
def test_steps_beyond_the_limits_anywhere_in_a_chunk_are_told(kind, good, bad):
    rig = Rig(arm(kind)).armed()
    rig.chunks = False
    for value, told in ((good, set()), (bad, {"chunk_envelope"})):
        actions = np.zeros((5, 2), dtype=np.float32)
        actions[3:, 1] = value
        assert rig.kernel.admit(rig.make_chunk(actions=actions, step_ns=20_000_000), rig.now_ns)
        rig.tick()
        assert rig.ids() == told


def test_the_limit_of_the_collision_head_can_be_switched_off():
    rig = Rig(set_up=settings(safety={"collision_threshold": 1.0})).driving()
    _step(rig, lambda step: replace(step, collision=1.0))
    assert rig.tick(50).mode == "active"
    _step(rig, lambda step: replace(step, collision=nan))
    assert rig.tick().mode == "stopping"


def test_steps_for_another_robot_are_not_followed():
    rig = Rig().driving()
    _step(rig, lambda step: replace(step, names=("linear_x", "angular_x")))
    rig.tick()
    assert rig.ids() == {"step_invalid"}


def test_a_gentle_drive_raises_nothing():
    rig = Rig().armed()
    rig.task, rig.wanted = "go", [0.5, 0.3]
    rig.data["laser"] = scan(4.0)
    for _ in range(300):
        assert rig.tick().faults == ()
    assert rig.modes == []
