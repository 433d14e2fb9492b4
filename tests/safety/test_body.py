"""The body as a whole: balance, tilt, power, temperatures, battery."""

from __future__ import annotations

from math import cos, nan, pi, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.safety.arm_rig import ArmRig, limits
from tests.safety.rig import Rig
from vlad.messages import Battery, CenterOfMass, EStop, Imu, Power, Temperature
from vlad.safety.checks import body
from vlad.safety.reaction import Finding

ROBOT = limits(body={"power": 500.0})
NUMBER = st.floats()


def look(check, data, robot=ROBOT) -> list[tuple[str, str]]:
    return [(finding.fault, finding.subject) for finding in check("topic", data, robot)]


def turned(roll=0.0, pitch=0.0, yaw=0.0) -> Imu:
    """Roll, pitch and yaw of REP 103 as a quaternion."""
    cr, sr, cp, sp, cy, sy = (f(a / 2) for a in (roll, pitch, yaw) for f in (cos, sin))
    orientation = (
        sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy, cr * cp * cy + sr * sp * sy,
    )  # fmt: skip
    return Imu(orientation, (0, 0, 0), (0, 0, 9.8))


@pytest.mark.parametrize("yaw", [0.0, 1.0, pi, -2.5])
@pytest.mark.parametrize(("roll", "pitch", "tilts"), [
    (0.0, 0.0, False), (0.25, 0.25, False), (-0.25, -0.25, False), (0.27, 0.0, True), (-0.27, 0.0, True),
    (0.0, 0.27, True), (0.0, -0.27, True), (pi, 0.0, True), (0.0, pi / 2, True), (0.0, -pi / 2, True),
])  # fmt: skip
def test_roll_and_pitch_count_whatever_the_heading(yaw, roll, pitch, tilts):
    assert look(body.tilt, turned(roll, pitch, yaw)) == [("tilted", "topic")] * tilts


def test_a_quaternion_is_taken_by_its_direction_but_must_be_one():
    x, y, z, w = turned(0.26).orientation
    assert look(body.tilt, Imu((x * 1.05, y, z, w * 1.05), (0, 0, 0), (0, 0, 0))) == []
    leaning = turned(0.3, -0.2, 1.0)
    longer = Imu(tuple(1.09 * part for part in leaning.orientation), (0, 0, 0), (0, 0, 9.8))
    assert list(body.tilt("topic", longer, ROBOT)) == list(body.tilt("topic", leaning, ROBOT))
    for wrong in ((0, 0, 0, 0), (0, 0, 0, 2), (nan, 0, 0, 1), (0, 0, 0, -nan), (0, 0, 1e300, 1e300)):
        assert look(body.tilt, Imu(wrong, (0, 0, 0), (0, 0, 0))) == [("signal_invalid", "topic")]


@pytest.mark.parametrize(("x", "y", "faults"), [
    (0.2, 0.0, []), (0.15, 0.15, ["unbalanced"]), (-0.21, 0.0, ["unbalanced"]), (0.0, 0.21, ["unbalanced"]),
    (nan, 0.0, ["signal_invalid"]), (0.0, nan, ["signal_invalid"]), (float("inf"), 0.0, ["signal_invalid"]),
])  # fmt: skip
def test_the_centre_of_mass_stays_over_the_support(x, y, faults):
    assert [fault for fault, _ in look(body.balance, CenterOfMass(x, y, 1.0))] == faults


@pytest.mark.parametrize(("watts", "faults"), [
    (500.0, []), (501.0, ["power_limit"]), (nan, ["signal_invalid"]), (-float("inf"), ["signal_invalid"]),
])  # fmt: skip
def test_power_has_a_limit_where_one_is_set(watts, faults):
    assert [fault for fault, _ in look(body.power, Power(watts))] == faults
    assert look(body.power, Power(watts), limits(body={})) == []


def test_every_component_counts_and_one_unknown_hides_no_other():
    data = Temperature({"cold": -20.0, "warm": 70.1, "hot": 80.1, "unknown": nan, "good": 70.0, "edge": 80.0})
    assert look(body.heat, data) == [
        ("component_warm", "warm"), ("component_hot", "hot"), ("signal_invalid", "topic"),
        ("component_warm", "edge"),
    ]  # fmt: skip
    severity = [
        finding.severity for finding in body.heat("topic", Temperature({"a": 72.5, "b": 99.0}), ROBOT)
    ]
    assert severity == [0.25, 1.0]


@pytest.mark.parametrize(("charge", "faults"), [
    (0.2, []), (0.19, ["battery_low"]), (0.1, ["battery_low"]), (0.09, ["battery_critical"]),
    (nan, ["signal_invalid"]), (float("inf"), ["signal_invalid"]),
])  # fmt: skip
def test_a_battery_is_good_low_or_critical(charge, faults):
    assert [fault for fault, _ in look(body.battery, Battery(charge, 24, -1, 30))] == faults


@pytest.mark.parametrize(("check", "why"), [
    (body.battery, "its charge is not a number"), (body.power, "its power is not a number"),
    (body.balance, "is no centre of mass with finite numbers"), (body.heat, "carries no temperatures"),
    (body.tilt, "has no orientation: its quaternion is not of length 1"),
])  # fmt: skip
def test_data_of_another_type_is_invalid(check, why):
    assert list(check("topic", EStop(False), ROBOT)) == [Finding("signal_invalid", "topic", why)]


def test_a_temperature_that_is_no_number_is_told_with_its_part():
    (found,) = body.heat("topic", Temperature({"hip": nan}), ROBOT)
    assert found.detail == "the temperature of hip is not a number"


@given(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER))
def test_whatever_the_numbers_nothing_unknown_passes(numbers):
    x, y, z, _ = numbers
    known = [number == number and abs(number) != float("inf") for number in numbers]
    looks = {
        body.tilt: Imu(numbers, (0, 0, 0), (0, 0, 0)), body.balance: CenterOfMass(x, y, z),
        body.heat: Temperature({"a": x, "b": y}), body.power: Power(x), body.battery: Battery(x, 0, 0, 0),
    }  # fmt: skip
    needed = {body.tilt: known, body.balance: known[:2], body.heat: known[:2]}
    for check, data in looks.items():
        found = look(check, data)
        if not all(needed.get(check, known[:1])):
            assert ("signal_invalid", "topic") in found


def test_every_signal_of_a_type_is_looked_at_and_old_ones_are_not():
    rig = ArmRig().driving(0.1, 0.0)
    rig.data["heat"] = Temperature({"hip": 90.0})
    rig.tick()
    rig.silent.add("heat")
    rig.tick(90)
    assert "component_hot" not in rig.ids()
    rig.tick(30)
    rig.silent.clear()
    rig.tick(120)
    assert "component_hot" in rig.ids()


def test_a_signal_that_never_came_says_nothing_of_the_body():
    rig = ArmRig()
    for topic in ("heat", "imu", "power", "balance"):
        del rig.data[topic]
    assert rig.armed().ids() == set()


def test_a_sample_is_looked_at_once():
    rig = Rig().driving()
    rig.tick()
    view = rig.kernel._view(rig.sense())
    first = list(body.body(view))
    view.inputs.samples["battery"] = rig.sample("battery", Battery(0.05, 24, -1, 30))
    assert first == []
    second, third = list(body.body(view)), list(body.body(view))
    assert second[0] is third[0]
