"""Whatever an arm's sensors say, the kernel stays whole and nothing unknown is taken for good."""

from __future__ import annotations

import warnings
from math import isfinite

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.safety.arm_rig import AXIS, ArmRig, limits
from vlad.messages import (
    CenterOfMass,
    Imu,
    Kind,
    NearObject,
    Pose,
    Power,
    Proximity,
    Temperature,
    Wrench,
)

NUMBER = st.floats()
SINGLE = st.floats(width=32)
THREE = st.tuples(NUMBER, NUMBER, NUMBER)
DATA = {
    "pose": st.builds(Pose, THREE, st.just((0, 0, 0, 1))),
    "people": st.builds(
        lambda objects: Proximity(tuple(NearObject("x", *pair) for pair in objects)),
        st.lists(st.tuples(NUMBER, NUMBER), max_size=3),
    ),
    "wrench": st.builds(Wrench, THREE, THREE),
    "imu": st.builds(Imu, st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), THREE, THREE),
    "balance": st.builds(CenterOfMass, NUMBER, NUMBER, NUMBER),
    "power": st.builds(Power, NUMBER),
    "heat": st.builds(lambda values: Temperature({str(k): v for k, v in enumerate(values)}),
                      st.lists(NUMBER, max_size=3)),
}  # fmt: skip
FIELDS = st.dictionaries(
    st.sampled_from(["position", "velocity", "effort", "current", "temperature"]), SINGLE, max_size=3
)
TURN = st.tuples(st.fixed_dictionaries({}, optional=DATA), FIELDS)


def unknown(data: object) -> bool:
    """Whether something that the limits are compared with is not finite."""
    match data:
        case Pose(position=numbers) | Imu(orientation=numbers):
            pass
        case Proximity(objects=objects):
            numbers = tuple(n for thing in objects for n in (thing.distance, thing.velocity))
        case Wrench(force=force, torque=torque):
            numbers = (*force, *torque)
        case CenterOfMass(x=x, y=y):
            numbers = (x, y)
        case Power(watts=watts):
            numbers = (watts,)
        case Temperature(celsius=celsius):
            numbers = tuple(celsius.values())
    return not all(map(isfinite, numbers))


@given(st.sampled_from(list(Kind)[1:]), st.booleans(), st.lists(TURN, min_size=1, max_size=4))
def test_nothing_unknown_is_taken_for_good(kind, spare, story):
    changes = {"critical": ("j0",)} if spare and kind is Kind.JOINT_POSITION else {}
    axes = {name: AXIS | {"safe_position": 0.0, "following_error": 1e9} for name in ("j0", "j1")}
    rig = ArmRig(limits(kind, axes=axes, **changes)).armed()
    rig.wanted = [0.05, 0.05]
    good = dict(rig.data)
    for data, fields in story:
        rig.data = good | data
        rig.lie(ticks=1, **fields)
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            verdict = rig.tick()
        assert np.isfinite(verdict.values).all()
        bad = any(unknown(value) for value in data.values())
        if bad or not all(map(isfinite, fields.values())):
            assert {"signal_invalid", "person_near"} & rig.ids()
            assert verdict.command_mode != "run"
