"""Hypothesis strategies for good messages of every type."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vlad import messages as m

finite = st.floats(-1e6, 1e6)
fraction = st.floats(0, 1)
text = st.text(max_size=20)
names = st.lists(text, min_size=1, max_size=6, unique=True).map(tuple)
float32 = st.floats(-1e6, 1e6, width=32)


def vector(size):
    return st.tuples(*[finite] * size)


@st.composite
def quaternion(draw):
    q = np.array(draw(st.tuples(*[st.floats(-1, 1)] * 4)))
    length = np.linalg.norm(q)
    return tuple((q / length).tolist()) if length > 1e-3 else (0.0, 0.0, 0.0, 1.0)


def floats(size, elements=float32):
    return npst.arrays(np.float32, size, elements=elements)


@st.composite
def image(draw):
    encoding = draw(st.sampled_from(["rgb8", "bgr8", "mono8", "16UC1", "32FC1"]))
    size = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    dtype = {"16UC1": np.uint16, "32FC1": np.float32}.get(encoding, np.uint8)
    shape = (*size, 3) if encoding in ("rgb8", "bgr8") else size
    return m.Image(encoding, draw(npst.arrays(dtype, shape)))


@st.composite
def joint_state(draw):
    joints = draw(names)
    kinds = ["position", "velocity", "effort", "temperature", "current"]
    present = draw(st.lists(st.sampled_from(kinds), min_size=1, unique=True))
    return m.JointState(joints, **{kind: draw(floats(len(joints))) for kind in present})


@st.composite
def point_cloud(draw):
    fields = draw(names)
    rows = draw(st.integers(0, 5))
    return m.PointCloud(fields, draw(floats((rows, len(fields)), st.floats(width=32))))


compressed = st.one_of(
    st.builds(lambda rest: m.CompressedImage("jpeg", memoryview(b"\xff\xd8\xff" + rest)), st.binary()),
    st.builds(lambda rest: m.CompressedImage("png", memoryview(b"\x89PNG" + rest)), st.binary()),
)
laser_scan = st.builds(
    m.LaserScan, finite, st.floats(0.001, 1), st.floats(0, 1), st.floats(2, 100),
    floats(st.integers(1, 20), st.floats(width=32)),
)  # fmt: skip
near = st.builds(m.NearObject, text, st.floats(0, 100), finite)
detection = st.builds(m.Detection, text, fraction, vector(4))
measured = finite | st.just(float("nan"))

DATA = st.one_of(
    image(),
    compressed,
    laser_scan,
    point_cloud(),
    joint_state(),
    st.builds(m.Imu, quaternion(), vector(3), vector(3)),
    st.builds(m.Battery, fraction, measured, measured, measured),
    st.builds(m.Wrench, vector(3), vector(3)),
    st.builds(m.Twist, vector(3), vector(3)),
    st.builds(m.Pose, vector(3), quaternion()),
    st.builds(m.Odometry, text, vector(3), quaternion(), vector(3), vector(3)),
    st.builds(m.Proximity, st.lists(near, max_size=4).map(tuple)),
    st.builds(m.Power, finite),
    st.builds(m.Temperature, st.dictionaries(text, finite, max_size=4)),
    st.builds(m.CenterOfMass, finite, finite, finite),
    st.builds(m.Detections, st.lists(detection, max_size=4).map(tuple)),
    st.builds(m.EStop, st.booleans()),
    st.builds(m.Instruction, text, text, fraction),
    st.builds(m.TaskResult, text, st.booleans()),
)


@st.composite
def command(draw):
    joints = draw(names)
    mode = draw(st.sampled_from(m.CommandMode))
    if mode is m.CommandMode.RUN or draw(st.booleans()):
        values = draw(floats(len(joints)))
    else:
        joints, values = draw(st.sampled_from([joints, ()])), np.empty(0, np.float32)
    return m.Command(
        seq=draw(st.integers(0, 2**62)),
        stamp_ns=draw(st.integers(0, 2**62)),
        ttl_ms=draw(st.integers(1, 100)),
        mode=mode,
        kind=draw(st.sampled_from(m.Kind)),
        names=joints,
        values=values,
        source_stamp_ns=draw(st.integers(0, 2**62)),
    )


heartbeat = st.builds(
    m.Heartbeat, st.integers(0, 2**62), st.integers(0, 2**62), st.sampled_from(m.Mode),
    st.sampled_from(m.Level), st.lists(text, max_size=5).map(tuple),
)  # fmt: skip
