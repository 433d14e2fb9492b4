"""What the guard's word does: silence, stop, e-stop; and that none of them sets the robot off again."""

import numpy as np
import pytest

from tests.safety.rig import Rig, S, arm, settings
from vlad.safety.view import GuardReport

MS = 1_000_000


class Guarded(Rig):
    """A robot whose guard says `state`, `age_s` ago."""

    def __init__(self, *given, **more):
        super().__init__(*given, **more)
        self.state, self.age_s, self.heard = "watching", 0.01, True

    def sense(self):
        stamp_ns = self.now_ns - round(self.age_s * S)
        self.inputs["guard"] = (
            GuardReport(stamp_ns, self.state, "no heartbeat for 51 ms") if self.heard else None
        )
        return super().sense()


def ids(refusals):
    return [refusal.fault.id for refusal in refusals]


def test_without_a_guard_the_robot_is_not_armed():
    rig = Guarded()
    rig.heard = False
    rig.tick(20)
    assert rig.kernel.mode == "disarmed"
    assert [(r.fault.id, r.detail) for r in rig.kernel.arm(rig.sense())] == [
        ("guard_silent", "was never heard")
    ]
    rig.heard = True
    rig.tick()
    assert rig.kernel.arm(rig.sense()) == ()


def test_settings_may_do_without_a_guard():
    rig = Guarded(set_up=settings(guard={"required": False}))
    rig.heard = False
    rig.driving()
    assert rig.tick(50).mode == "active"


@pytest.mark.parametrize(("age_s", "mode"), [(0.15, "active"), (0.151, "stopping"), (-0.01, "active")])
def test_a_guard_is_silent_after_150_ms(age_s, mode):
    rig = Guarded().driving()
    rig.age_s = age_s
    assert rig.tick().mode == mode
    if mode == "stopping":
        assert rig.causes == ["guard_silent: guard fell silent"]


@pytest.mark.parametrize("required", [True, False])
def test_a_stop_of_the_guard_stops_the_robot_until_a_reset(required):
    rig = Guarded(set_up=settings(guard={"required": required})).driving()
    rig.state = "stopping"
    verdict = rig.tick()
    assert (verdict.mode, verdict.command_mode) == ("stopping", "stop1")
    assert rig.causes == ["guard_stop: guard no heartbeat for 51 ms"]
    rig.tick(100)
    rig.state = "watching"
    assert rig.tick(100).mode == "stopped"
    assert rig.kernel.reset(rig.sense()) == ()
    assert rig.tick(10).mode == "disarmed"


def test_a_guard_that_still_stops_refuses_arming_and_reset_only_meanwhile():
    rig = Guarded()
    rig.state = "stopping"
    rig.tick(20)
    assert ids(rig.kernel.arm(rig.sense())) == ["guard_stop"]
    rig.state = "watching"
    rig.tick(40)
    assert rig.kernel.arm(rig.sense()) == ()


def test_what_a_silent_guard_said_last_counts_no_more():
    rig = Guarded(set_up=settings(guard={"required": False}))
    rig.state, rig.age_s = "stopping", 0.2
    rig.driving()
    assert rig.tick(20).mode == "active"


def test_the_guards_estop_latches_and_must_be_released_before_a_reset():
    rig = Guarded().driving()
    rig.state = "estop"
    assert rig.tick().mode == "estop"
    rig.tick(200)
    assert ids(rig.kernel.reset(rig.sense())) == ["guard_estop"]
    rig.state = "watching"
    rig.tick(100)
    assert rig.kernel.mode == "estop"
    assert rig.kernel.reset(rig.sense()) == ()
    assert rig.kernel.mode == "disarmed"


@pytest.mark.parametrize("state", ["stopping", "estop"])
def test_a_base_that_the_guard_stopped_is_not_set_off_again_by_the_rest_of_a_ramp(state):
    rig = Guarded().driving()
    rig.obeys, rig.state = False, state
    rig.velocity[:] = 0
    for _ in range(20):
        assert not rig.tick().values.any()
    rig.state = "watching"
    for _ in range(20):
        assert not rig.tick().values.any()


def test_an_arm_that_the_guard_stopped_stays_where_it_was_measured():
    rig = Guarded(
        arm(), settings(Rig(arm()).settings.model_dump()["signals"], safety={"start_distance": 10.0})
    )
    rig.driving(0.9, 0.9)
    rig.obeys, rig.state = False, "stopping"
    rig.velocity[:] = 0
    rig.position = np.array([0.1, 0.2])
    for _ in range(20):
        assert rig.tick().values.tolist() == pytest.approx([0.1, 0.2])


def test_a_robot_that_the_guard_stops_unseen_is_commanded_no_motion():
    rig = Guarded().driving()
    rig.obeys, rig.state = False, "stopping"
    rig.silent.add("odometry")
    rig.tick(20)
    assert {"guard_stop", "signal_stale"} <= rig.ids()
    assert rig.verdict.command_mode == "stop1"
    assert not rig.verdict.values.any()
