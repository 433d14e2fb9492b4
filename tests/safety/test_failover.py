"""Backups and estimates: in time, without a stop, back when the signal is well again, and then the fault."""

from dataclasses import replace
from math import atan2, cos, hypot, inf, nan, sin

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.safety.rig import ROVER_SIGNALS, Rig, S, arm, odometry, rover, scan, settings
from tests.safety.signal_rig import SignalRig
from vlad.messages import Deadman, EStop, Imu, JointState, LaserScan, Odometry, Sample
from vlad.safety.failover import Sources
from vlad.safety.rotation import rotate, turn
from vlad.safety.view import Inputs, Rules

LASER = {"laser": {"backups": ["laser_2"]}, "laser_2": {"type": "laser_scan", "max_age_s": 0.3}}
ODOMETRY = {
    "odometry": {"backups": ["odometry_2"], "frozen_s": 0.0},
    "odometry_2": {"type": "odometry", "max_age_s": 0.1},
}
IMUS = {
    "imu": {"type": "imu", "max_age_s": 0.1, "estimate_s": 1.0},
    "imu_b": {"type": "imu", "max_age_s": 0.1, "required": False},
}
LEVEL = Imu((0, 0, 0, 1), (0, 0, 0), (0, 0, 9.81))


def faults(rig):
    return [(fault.fault.id, fault.subject) for fault in rig.verdict.faults]


def test_a_silent_signal_is_replaced_in_time_without_a_stop():
    rig = SignalRig(LASER).driving()
    rig.silent.add("laser")
    modes, seen = set(), set()
    for _ in range(100):
        modes.add(rig.tick().mode)
        seen |= set(faults(rig))
    assert modes == {"active"}
    assert seen == {("signal_replaced", "laser")}
    assert rig.kernel.sources.topics == {"laser": "laser_2"}
    assert rig.verdict.faults[0].detail == "by laser_2: 1.000 s old, at most 0.300 s"


def test_a_signal_that_comes_back_is_not_told_for_its_rate_as_long_as_another_stands_in():
    rig = SignalRig(LASER).driving()
    rig.silent.add("laser")
    rig.tick(300)
    rig.silent.clear()
    seen = set()
    while rig.kernel.sources.topics:
        seen |= set(faults(rig))
        rig.tick()
    assert seen == {("signal_replaced", "laser")}


def test_a_backup_may_be_as_old_as_its_own_limit_allows():
    rig = SignalRig({**LASER, "laser_2": {"type": "laser_scan", "max_age_s": 1.0}}).driving()
    rig.silent |= {"laser", "laser_2"}
    rig.tick(90)
    assert (faults(rig), rig.verdict.mode) == ([("signal_replaced", "laser")], "active")
    rig.tick(20)
    assert ("signal_stale", "laser") in faults(rig)


def test_a_standstill_is_confirmed_by_a_backup_as_old_as_its_own_limit_allows():
    known = {**ODOMETRY, "odometry_2": {"type": "odometry", "max_age_s": 1.0}}
    rig = SignalRig(known).armed()
    rig.silent |= {"odometry", "odometry_2"}
    rig.tick(30)
    rig.kernel.disarm("by test")
    assert rig.tick(20).mode == "disarmed"


def test_the_samples_of_the_backup_are_judged():
    rig = SignalRig(LASER).driving()
    rig.silent.add("laser")
    rig.tick(50)
    rig.data["laser"] = rig.data["laser_2"] = scan(0.3)
    rig.tick(60)
    assert rig.velocity[0] < 0.05


def test_a_signal_that_never_came_is_replaced_from_the_start():
    rig = SignalRig(LASER)
    rig.silent.add("laser")
    rig.armed()
    assert faults(rig) == [("signal_replaced", "laser")]
    assert rig.verdict.faults[0].detail == "by laser_2: never came"


@pytest.mark.parametrize(("bad", "why"), [
    (EStop(False), "carries a EStop"), (LaserScan(nan, 0.1, 0, 8, np.ones(9, np.float32)), "makes no sense"),
    (LaserScan(-1, 0.1, 0, 8, np.ones(0, np.float32)), "makes no sense"),
])  # fmt: skip
def test_a_scan_without_sense_is_replaced(bad, why):
    rig = SignalRig(LASER).driving()
    make = rig.sample
    rig.sample = lambda topic, data, age_s=0.0: make(topic, bad if topic == "laser" else data, age_s)
    assert rig.tick(20).mode == "active"
    assert faults(rig) == [("signal_replaced", "laser")]
    assert rig.verdict.faults[0].detail == f"by laser_2: {why}"


@pytest.mark.parametrize("bad", [odometry(nan), odometry(0.0, inf), Deadman(True)])
def test_the_feedback_without_sense_is_replaced_and_the_motion_still_known(bad):
    rig = SignalRig(ODOMETRY).driving()
    make = rig.sample
    rig.sample = lambda topic, data, age_s=0.0: make(topic, bad if topic == "odometry" else data, age_s)
    assert rig.tick(20).mode == "active"
    assert faults(rig) == [("signal_replaced", "odometry")]
    rig.kernel.disarm("by test")
    assert rig.tick(200).mode == "disarmed"


def test_a_frozen_signal_is_replaced_and_used_again_once_it_lives():
    known = {"camera": {"frozen_s": 0.3, "backups": ["camera_2"]}, "camera_2": {"type": "image"}}
    rig = SignalRig(known).driving()
    rig.stuck.add("camera")
    assert rig.tick(50).mode == "active"
    assert faults(rig) == [("signal_replaced", "camera")]
    rig.stuck.clear()
    rig.tick(190)
    assert faults(rig) == [("signal_replaced", "camera")]
    assert rig.verdict.faults[0].detail == "by camera_2: not healthy for 2 s yet"
    rig.tick(50)
    assert faults(rig) == []
    assert rig.kernel.sources.topics == {}


def test_the_second_backup_follows_when_the_first_fails_and_none_left_means_the_fault():
    known = {**LASER, "laser_c": LASER["laser_2"]}
    known["laser"] = {"backups": ["laser_2", "laser_c"]}
    rig = SignalRig(known)
    rig.data["laser_c"] = scan()
    rig.driving()
    rig.silent |= {"laser"}
    rig.tick(50)
    rig.silent |= {"laser_2"}
    assert rig.tick(50).mode == "active"
    assert rig.kernel.sources.topics == {"laser": "laser_c"}
    rig.silent |= {"laser_c"}
    rig.tick(50)
    assert ("signal_stale", "laser") in faults(rig)
    assert rig.modes == ["stopping"] or rig.modes == ["stopping", "stopped"]


def test_a_backup_that_fails_gives_way_to_the_signal_itself_before_its_time():
    rig = SignalRig(LASER).driving()
    rig.silent.add("laser")
    rig.tick(50)
    rig.silent = {"laser_2"}
    rig.tick(80)
    assert (faults(rig), rig.verdict.mode) == ([], "active")


def test_a_signal_that_is_replaced_hides_no_other_trouble():
    rig = SignalRig(LASER).driving()
    rig.silent |= {"laser", "estop"}
    rig.data["estop"] = EStop(False)
    rig.tick(60)
    assert {("signal_replaced", "laser"), ("estop_silent", "estop")} <= set(faults(rig))


def test_a_backup_that_is_silent_stops_nothing_unless_it_is_written_that_it_must_be_there():
    rig = SignalRig(LASER).driving()
    rig.silent.add("laser_2")
    assert rig.tick(100).mode == "active"
    rig = SignalRig({**LASER, "laser_2": {**LASER["laser_2"], "required": True}}).driving()
    rig.silent.add("laser_2")
    assert rig.tick(50).mode == "stopping"


def test_an_emergency_stop_button_has_a_backup_too():
    rig = SignalRig({"estop": {"backups": ["button"]}, "button": {"type": "estop"}})
    rig.data["button"] = EStop(False)
    rig.driving()
    rig.silent.add("estop")
    assert rig.tick(100).mode == "active"
    rig.data["button"] = EStop(True)
    assert rig.tick().mode == "estop"


def test_joints_have_a_backup_whose_names_and_numbers_must_fit():
    known = {"type": "joint_state", "max_age_s": 0.1}
    signals = {"joints": {**known, "backups": ["joints_b", "joints_c"]}, "joints_b": known, "joints_c": known}
    rig = Rig(arm(), settings(signals, safety={"start_distance": 10.0}))
    rig.data["joints_b"] = JointState(("j0",), position=np.zeros(1, np.float32))
    rig.data["joints_c"] = JointState(("j1", "j0"), position=np.array([0, nan], np.float32))
    rig.armed()
    rig.silent.add("joints")
    rig.tick(30)
    assert "signal_stale" in rig.ids()
    rig = Rig(rig.robot, rig.settings)
    rig.data["joints_b"] = JointState(("j1", "j0"), position=np.zeros(3, np.float32))
    rig.data["joints_c"] = JointState(("j1", "j0"), np.zeros(2, np.float32), np.zeros(2, np.float32))
    rig.armed()
    rig.silent.add("joints")
    assert rig.tick(30).mode == "active"
    assert rig.kernel.sources.topics == {"joints": "joints_c"}


def test_arming_starts_from_what_stands_in():
    known = {"type": "joint_state", "max_age_s": 0.1}
    rig = Rig(
        arm(),
        settings(
            {"joints": {**known, "backups": ["joints_b"]}, "joints_b": known}, safety={"start_distance": 10.0}
        ),
    )
    rig.data["joints_b"] = JointState(
        ("j0", "j1"), np.array([0.25, 0.5], np.float32), np.zeros(2, np.float32)
    )
    rig.silent.add("joints")
    rig.armed()
    assert rig.verdict.values.tolist() == [0.25, 0.5]


def test_a_backup_that_measures_a_little_otherwise_is_no_sudden_motion():
    known = {"type": "joint_state", "max_age_s": 0.1}
    rig = Rig(arm(), settings({"joints": {**known, "backups": ["joints_b"]}, "joints_b": known}))
    sense = rig.sense

    def measure():
        at = rig.position.astype(np.float32)
        rig.data["joints_b"] = JointState(rig.names, at + np.float32(0.05))
        inputs = sense()
        only = replace(rig.samples["joints"], data=JointState(rig.names, at))
        samples = {**inputs.samples, "joints": only} if "joints" not in rig.silent else inputs.samples
        return replace(inputs, samples=samples)

    rig.sense = measure
    rig.armed()
    rig.silent.add("joints")
    for _ in range(30):
        assert rig.tick().mode == "active"
        assert rig.ids() <= {"signal_replaced"}


def estimating(estimate_s=1.0, **known):
    return SignalRig({"odometry": {"estimate_s": estimate_s}, **known})


def test_lost_odometry_is_reckoned_for_its_time_slowly_and_then_the_robot_stops():
    rig = estimating().driving()
    rig.silent.add("odometry")
    rig.tick(12)
    assert faults(rig) == [("signal_estimated", "odometry")]
    assert rig.verdict.faults[0].detail == "from the commands: 0.120 s old, at most 0.100 s"
    assert rig.verdict.mode == "degraded"
    severity = [rig.tick(1).faults[0].severity for _ in range(90)]
    assert severity == sorted(severity)
    assert severity[0] < 0.1
    assert 0.9 < severity[-1] <= 1
    assert rig.verdict.mode == "degraded"
    assert rig.verdict.values[0] == pytest.approx(0.4)
    rig.tick(15)
    assert ("signal_stale", "odometry") in faults(rig)
    assert rig.verdict.mode == "stopping"


def test_without_estimate_s_lost_odometry_stops_the_robot_at_once():
    rig = SignalRig().driving()
    rig.silent.add("odometry")
    rig.tick(12)
    assert rig.verdict.mode == "stopping"


def test_the_reckoned_pose_follows_the_commanded_arc_and_its_speed_is_never_too_low():
    rig = estimating().driving(0.5, 1.0)
    rig.silent.add("odometry")
    rig.tick(11)
    yaw, x, y = 0.0, 0.0, 0.0
    for _ in range(50):
        speed = rig.kernel._envelope.velocity
        rig.tick()
        made = rig.kernel.sources.estimates["odometry"].data
        assert made.linear[0] > speed[0]
        assert made.angular[2] > speed[1]
        x, y = x + speed[0] * 0.01 * cos(yaw), y + speed[0] * 0.01 * sin(yaw)
        yaw += speed[1] * 0.01
    moved = np.hypot(*made.position[:2])
    assert moved == pytest.approx(np.hypot(x, y), abs=0.06)
    assert 2 * np.arctan2(made.orientation[2], made.orientation[3]) == pytest.approx(yaw, abs=0.15)


def test_an_estimate_confirms_no_standstill():
    rig = estimating().driving()
    rig.silent.add("odometry")
    rig.tick(12)
    rig.kernel.disarm("by test")
    for _ in range(60):
        rig.tick()
        assert rig.verdict.mode == "stopping"


def test_a_signal_that_comes_and_goes_is_not_estimated_for_longer_than_its_time():
    rig = estimating().driving()
    for _ in range(12):
        rig.silent.add("odometry")
        rig.tick(16)
        rig.silent.clear()
        rig.tick(2)
    assert "stopping" in rig.modes


def test_after_a_while_of_health_there_is_a_new_estimate():
    rig = estimating().driving()
    for _ in range(3):
        rig.silent.add("odometry")
        rig.tick(60)
        assert faults(rig) == [("signal_estimated", "odometry")]
        rig.silent.clear()
        rig.tick(400)
        assert faults(rig) == []


def test_nothing_is_estimated_on_a_robot_that_is_not_armed():
    rig = estimating()
    rig.tick(20)
    rig.silent.add("odometry")
    rig.tick(20)
    assert [cause.fault.id for cause in rig.kernel.arm(rig.sense())] == ["signal_stale"]


def test_only_the_feedback_can_be_reckoned():
    other = {"type": "odometry", "estimate_s": 1.0, "max_age_s": 0.1}
    rig = SignalRig({"visual": other})
    rig.data["visual"] = odometry()
    rig.driving()
    rig.silent.add("visual")
    rig.tick(12)
    assert rig.verdict.mode == "stopping"


def turning_imus(rate, other_frame="base_link"):
    rig = SignalRig(IMUS)
    rig.data |= {"imu": LEVEL, "imu_b": replace(LEVEL, angular_velocity=(rate, 0, 0))}
    make = rig.sample
    rig.sample = lambda topic, data, age_s=0.0: replace(
        make(topic, data, age_s), frame_id=other_frame if topic == "imu_b" else "base_link"
    )
    return rig.driving()


@pytest.mark.parametrize("rate", [0.2, -0.2, 0.0])
def test_a_lost_orientation_is_turned_on_by_another_gyroscope_for_half_a_second_and_errs_to_the_steep(rate):
    rig = turning_imus(rate)
    rig.silent.add("imu")
    rig.tick(40)
    assert faults(rig) == [("signal_estimated", "imu")]
    made = rig.kernel.sources.estimates["imu"]
    rolled = 2 * np.arctan2(made.data.orientation[0], made.data.orientation[3])
    assert abs(rolled) == pytest.approx(0.4 * (abs(rate) + 0.05), abs=0.005)
    assert (made.topic, made.stamp_ns) == ("imu", rig.now_ns)
    rig.tick(25)
    assert ("signal_stale", "imu") in faults(rig)


@pytest.mark.parametrize("other", ["silent", "elsewhere", "senseless", "no imu"])
def test_a_gyroscope_that_is_not_fit_turns_nothing(other):
    rig = turning_imus(0.2, "head" if other == "elsewhere" else "base_link")
    if other == "silent":
        rig.silent.add("imu_b")
    if other == "senseless":
        rig.data["imu_b"] = replace(LEVEL, angular_velocity=(nan, 0, 0))
    if other == "no imu":
        rig.data["imu_b"] = EStop(False)
    rig.tick(15)
    rig.silent.add("imu")
    rig.tick(12)
    assert ("signal_stale", "imu") in faults(rig)


def test_the_same_inputs_give_the_same_estimates():
    def run():
        rig = estimating().driving(0.5, 1.0)
        rig.silent.add("odometry")
        return [rig.tick().values.tobytes() for _ in range(150)]

    assert run() == run()


_STATES = st.sampled_from(["well", "silent", "stuck", "no scan", "no number"])


@given(st.lists(st.tuples(_STATES, _STATES, st.integers(1, 60)), max_size=8), st.booleans())
def test_whatever_fails_nothing_unfit_is_used_without_a_fault(spells, estimate):
    odometry_known = {"estimate_s": 1.0} if estimate else {"backups": ["odometry_2"]}
    known = {"laser": {"backups": ["laser_2"], "frozen_s": 0.2}, "laser_2": LASER["laser_2"]}
    rig = SignalRig({**known, "odometry": odometry_known, "odometry_2": ODOMETRY["odometry_2"]}).driving()
    make = rig.sample
    spoilt = {}
    rig.sample = lambda topic, data, age_s=0.0: make(topic, spoilt.get(topic, data), age_s)
    for first, second, ticks in spells:
        for topic, state in (("laser", first), ("odometry", second)):
            rig.silent.discard(topic)
            rig.stuck.discard(topic)
            spoilt.pop(topic, None)
            if state == "silent":
                rig.silent.add(topic)
            elif state == "stuck":
                rig.stuck.add(topic)
            elif state != "well":
                spoilt[topic] = EStop(False) if state == "no scan" else _senseless(topic)
        for _ in range(ticks):
            rig.tick()
            told = {fault.subject for fault in rig.verdict.faults}
            for topic, limit_s in (("laser", 0.3), ("odometry", 0.1)):
                sample = rig.samples[topic]
                unfit = rig.now_ns - sample.stamp_ns > limit_s * 1e9 or topic in spoilt
                assert not unfit or topic in told, (topic, rig.verdict.faults)


def _senseless(topic):
    return odometry(nan) if topic == "odometry" else scan(1.0, angle_min=nan)


def test_an_odometry_that_is_none_is_not_reckoned_from():
    rig = estimating()
    rig.data["odometry"] = Odometry("b", (0, 0, 0), (0, 0, 0, 1), (0, 0, 0), (0, 0, 0))
    rig.silent.add("odometry")
    rig.tick(30)
    assert rig.kernel.sources.estimates == {}


# The sources alone


class Alone:
    """The sources of a rover's signals, fed by hand."""

    def __init__(self, signals, robot=None):
        self.sources = Sources(Rules(robot or rover(), settings({**ROVER_SIGNALS, **signals})))
        self.now_ns = 1000 * S
        self.samples = {}

    def give(self, topic, data, age_s=0.0, frame_id="base_link"):
        stamp_ns = self.now_ns - round(age_s * S)
        self.samples[topic] = Sample(topic, 1, stamp_ns, stamp_ns, frame_id, data)

    def choose(self, after_s=0.0, commanded=(0.0, 0.0), frozen=None):
        self.now_ns += round(after_s * S)
        inputs = Inputs(self.now_ns, dict(self.samples))
        self.sources.choose(inputs, frozen or {}, np.array(commanded), armed=True)
        return self.sources


ESTIMATED = {"odometry": {"type": "odometry", "max_age_s": 0.1, "estimate_s": 1.0}}
STUCK = {"imu": "the same content"}


def test_a_pose_is_reckoned_from_where_it_was_seen_last_along_the_arc():
    alone = Alone(ESTIMATED)
    pose = replace(odometry(), position=(5.0, -3.0, 0.5), orientation=(0, 0, sin(0.15), cos(0.15)))
    alone.give("odometry", pose)
    alone.choose()
    made = alone.choose(after_s=0.2, commanded=(0.8, 2.0)).estimates["odometry"]
    chord_m, ahead = 2 * 0.4 * sin(0.2), 0.3 + 0.2
    expected = (5 + chord_m * cos(ahead), -3 + chord_m * sin(ahead), 0.5)
    assert made.data.position == pytest.approx(expected, abs=0.002)
    assert made.data.orientation == pytest.approx((0, 0, sin(0.35), cos(0.35)))
    assert (made.topic, made.stamp_ns, made.received_ns) == ("odometry", alone.now_ns, alone.now_ns)


@pytest.mark.parametrize("way", [(0.5, 1.0), (-0.5, -1.0), (0.3, -2.0)])
def test_an_estimated_speed_is_uncertain_by_a_twentieth_of_the_limit_and_more_each_second(way):
    alone = Alone(ESTIMATED)
    alone.give("odometry", odometry())
    alone.choose()
    for after_s, part in ((0.2, 0.05), (0.4, 0.11)):
        made = alone.choose(after_s, way).estimates["odometry"].data
        linear = way[0] + np.sign(way[0]) * part * 0.8
        angular = way[1] + np.sign(way[1]) * part * 2.0
        assert made.linear == pytest.approx((linear, 0, 0))
        assert made.angular == pytest.approx((0, 0, angular))


def test_an_estimate_ends_when_its_time_is_over():
    alone = Alone(ESTIMATED)
    alone.give("odometry", odometry())
    alone.choose()
    assert alone.choose(after_s=0.2).estimates
    assert alone.choose(after_s=0.99).estimates
    assert alone.choose(after_s=0.01).estimates == {}


def test_what_never_came_is_not_estimated():
    alone = Alone({**ESTIMATED, **IMUS})
    alone.give("imu_b", LEVEL)
    assert alone.choose().estimates == {}


def test_a_signal_is_used_again_after_its_time_of_health_and_not_before():
    alone = Alone(
        {"laser": {**ROVER_SIGNALS["laser"], "backups": ["laser_2"]}, **{"laser_2": LASER["laser_2"]}}
    )
    alone.give("laser_2", scan())
    assert alone.choose().topics == {"laser": "laser_2"}
    for after_s, topics in ((0.0, {"laser": "laser_2"}), (1.99, {"laser": "laser_2"}), (0.01, {})):
        alone.now_ns += round(after_s * S)
        alone.give("laser", scan())
        alone.give("laser_2", scan())
        assert alone.choose().topics == topics


def test_other_joints_than_the_axes_need_not_have_their_names():
    joints = {"type": "joint_state", "max_age_s": 0.1}
    alone = Alone({"gripper": {**joints, "backups": ["gripper_2"]}, "gripper_2": joints})
    alone.give("gripper", JointState(("finger",), np.zeros(1, np.float32)))
    alone.give("gripper_2", JointState(("finger", *rover().axes), np.zeros(3, np.float32)))
    assert alone.choose().topics == {}


def test_axes_that_a_base_does_not_have_are_estimated_at_rest():
    robot = rover(obstacle=None, axes={"linear_y": rover().axes["linear_x"]})
    alone = Alone(ESTIMATED, robot)
    alone.give("odometry", odometry())
    alone.choose(commanded=(0.0,))
    made = alone.choose(after_s=0.2, commanded=(0.5,)).estimates["odometry"].data
    assert made.linear == pytest.approx((0, 0.5 + 0.05 * 0.8, 0))
    assert made.angular == (0, 0, 0)


def test_a_frozen_imu_is_not_turned_by_its_own_gyroscope():
    alone = Alone(IMUS)
    alone.give("imu", replace(LEVEL, angular_velocity=(1.0, 0, 0)))
    alone.choose()
    assert alone.choose(after_s=0.01, frozen=STUCK).estimates == {}


@pytest.mark.parametrize(("data", "frame_id"), [
    (LEVEL, "head"), (EStop(False), "base_link"),
    (replace(LEVEL, angular_velocity=(nan, 0, 0)), "base_link"),
], ids=["elsewhere", "no imu", "senseless"])  # fmt: skip
def test_the_first_gyroscope_that_is_fit_turns(data, frame_id):
    alone = Alone({**IMUS, "imu_c": IMUS["imu_b"]})
    alone.give("imu", LEVEL)
    alone.choose()
    alone.give("imu_b", data, frame_id=frame_id)
    alone.give("imu_c", LEVEL)
    assert alone.choose(after_s=0.01, frozen=STUCK).estimated["imu"].source == "imu_c"


def test_a_gyroscope_that_is_older_than_the_last_orientation_turns_nothing_back():
    alone = Alone(IMUS)
    alone.give("imu", LEVEL)
    alone.give("imu_b", replace(LEVEL, angular_velocity=(1.0, 0, 0)), age_s=0.05)
    alone.choose()
    made = alone.choose(after_s=0.01, frozen=STUCK).estimates["imu"]
    assert (made.stamp_ns, made.data.orientation) == (alone.samples["imu"].stamp_ns, LEVEL.orientation)


@given(st.tuples(*[st.floats(-1.5, 1.5)] * 3))
@example((0.0, 0.0, 0.0))
@example((0.0, 5e-324, 1.5))
def test_an_estimated_orientation_falls_straight_away_from_upright(angular):
    alone = Alone(IMUS)
    before = turn(LEVEL.orientation, angular, 1.0)
    alone.give("imu", replace(LEVEL, orientation=before))
    alone.choose()
    alone.now_ns += S // 5
    alone.give("imu_b", LEVEL)
    after = alone.choose().estimates["imu"].data.orientation
    assert _tilt(after) - _tilt(before) == pytest.approx(0.05 * 0.2, abs=1e-8)
    assert 2 * np.arccos(min(1.0, abs(np.dot(before, after)))) == pytest.approx(0.05 * 0.2, abs=1e-6)


def _tilt(orientation):
    x, y, z = rotate(orientation, (0, 0, 1))
    return atan2(hypot(x, y), z)
