"""The wire format: what is sent comes back, and each kind of bad input gets its own reason."""

import dataclasses
import zlib

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.messages import DATA, command, heartbeat
from vlad.messages import (
    DATA_TYPES,
    Battery,
    Command,
    CommandMode,
    EStop,
    Image,
    JointState,
    Kind,
    LaserScan,
    Odometry,
    PointCloud,
    Temperature,
    Twist,
)
from vlad.wire import (
    decode_command,
    decode_heartbeat,
    decode_sample,
    encode_command,
    encode_heartbeat,
    encode_sample,
)
from vlad.wire.fields import BadMessage, Reason
from vlad.wire.types import CODECS

NOW, WALL = 10**12, 17 * 10**17
JOINTS = JointState(("a", "b"), position=np.array([1, 2], np.float32), effort=np.array([3, 4], np.float32))
TWIST = Twist((1.0, 0.0, 0.0), (0.0, 0.0, 2.0))
RGB = Image("rgb8", np.arange(24, dtype=np.uint8).reshape(2, 4, 3))


def same(a, b):
    """Equal, NaN included, arrays too."""
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f), getattr(b, f)) for f in a.__slots__)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, float):
        return a == b or (a != a and b != b)
    return a == b


def changed(data, *, payload=None, **keys):
    """The frames of a message, some header keys replaced (None: left out), or the payload."""
    topic, header, *rest = encode_sample("topic", 5, NOW, data)
    fields = {**msgpack.unpackb(header), **keys}
    header = msgpack.packb({key: value for key, value in fields.items() if value is not None})
    return [topic, header, *([payload] if payload is not None else rest)]


def refused(frames, expected=None):
    with pytest.raises(BadMessage) as caught:
        decode_sample(frames, NOW, WALL, expected)
    return caught.value.reason


def test_every_type_has_a_codec():
    assert set(CODECS) == set(DATA_TYPES)


@given(DATA, st.integers(0, 2**62), st.text(min_size=1, max_size=30), st.text(max_size=20))
def test_every_sample_comes_back_as_it_was_sent(data, seq, topic, frame_id):
    sample = decode_sample(encode_sample(topic, seq, NOW - 7, data, frame_id), NOW, WALL)
    assert (sample.topic, sample.seq, sample.frame_id) == (topic, seq, frame_id)
    assert (sample.stamp_ns, sample.received_ns) == (NOW - 7, NOW)
    assert same(sample.data, data)


@given(command())
def test_every_command_comes_back_as_it_was_sent(sent):
    assert same(decode_command(encode_command(sent)), sent)


@given(heartbeat)
def test_every_heartbeat_comes_back_as_it_was_sent(sent):
    assert decode_heartbeat(encode_heartbeat(sent)) == sent


def test_a_realtime_stamp_is_translated_to_the_monotonic_clock():
    frames = encode_sample("t", 0, WALL - 5_000_000, EStop(False), clock="realtime")
    assert decode_sample(frames, NOW, WALL).stamp_ns == NOW - 5_000_000


def test_decoded_arrays_are_read_only_views_on_the_payload():
    cloud = PointCloud(("x", "y"), np.ones((3, 2), np.float32))
    scan = LaserScan(-1.0, 0.1, 0.0, 8.0, np.ones(5, np.float32))
    for data, array in ((RGB, "pixels"), (JOINTS, "position"), (cloud, "points"), (scan, "ranges")):
        topic, header, payload = encode_sample("t", 0, NOW, data)
        received = bytearray(payload)
        decoded = getattr(decode_sample([topic, header, memoryview(received)], NOW, WALL).data, array)
        assert not decoded.flags.writeable
        assert np.shares_memory(decoded, np.frombuffer(received, np.uint8))


def test_encoding_an_image_does_not_copy_it():
    payload = encode_sample("t", 0, NOW, RGB)[2]
    assert np.shares_memory(np.frombuffer(payload, np.uint8), RGB.pixels)


def test_an_image_with_padded_rows_is_read_without_the_padding():
    padded = np.zeros((2, 16), np.uint8)
    padded[:, :12] = RGB.pixels.reshape(2, 12)
    sample = decode_sample(changed(RGB, step=16, payload=padded.tobytes()), NOW, WALL)
    assert np.array_equal(sample.data.pixels, RGB.pixels)


def test_numpy_numbers_in_a_message_are_as_good_as_pythons():
    twist = Twist(np.array([1, 0, 0], np.float32), (np.float32(0), np.float64(0), np.int64(2)))
    assert decode_sample(encode_sample("t", 0, NOW, twist), NOW, WALL).data == TWIST


def test_a_scan_may_hold_infinity_and_nan():
    ranges = np.array([1, np.inf, -np.inf, np.nan], np.float32)
    frames = encode_sample("t", 0, NOW, LaserScan(0.0, 0.1, 0.0, 8.0, ranges))
    assert np.array_equal(decode_sample(frames, NOW, WALL).data.ranges, ranges, equal_nan=True)


NAN, INF = float("nan"), float("inf")
ODOMETRY = Odometry("base_link", (0.0,) * 3, (0.0, 0.0, 0.0, 1.0), (0.0,) * 3, (0.0,) * 3)
BATTERY = Battery(0.5, 24.0, -1.0, 30.0)


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([], "malformed"),
        ([b"t"], "malformed"),
        ([b"", encode_sample("t", 0, NOW, TWIST)[1]], "malformed"),
        ([b"\xff\xfe", encode_sample("t", 0, NOW, TWIST)[1]], "malformed"),
        ([b"t" * 129, encode_sample("t", 0, NOW, TWIST)[1]], "malformed"),
        ([b"t", b""], "malformed"),
        ([b"t", encode_sample("t", 0, NOW, TWIST)[1][:-1]], "malformed"),
        ([b"t", encode_sample("t", 0, NOW, TWIST)[1] + b"\x00"], "malformed"),
        ([b"t", msgpack.packb([1, 2])], "malformed"),
        ([b"t", b"\x00" * 70_000], "too_large"),
        (changed(TWIST, v=2), "version"),
        (changed(TWIST, v=True), "version"),
        (changed(TWIST, v=None), "version"),
        (changed(TWIST, type="twits"), "unknown_type"),
        (changed(TWIST, type=None), "unknown_type"),
        (changed(TWIST, seq=-1), "malformed"),
        (changed(TWIST, seq=True), "malformed"),
        (changed(TWIST, seq=1.0), "malformed"),
        (changed(TWIST, frame_id=3), "malformed"),
        (changed(TWIST, clock="sundial"), "malformed"),
        (changed(TWIST, stamp_ns=NOW + 60_000_000), "stamp_future"),
        (changed(TWIST, stamp_ns=NOW - 11 * 10**9), "stamp_old"),
        (changed(TWIST, stamp_ns=0, clock="realtime"), "stamp_old"),
        (changed(TWIST, payload=b"1234"), "malformed"),
        (changed(TWIST, linear=[1.0, NAN, 0.0]), "non_finite"),
        (changed(TWIST, linear=[1.0, 0.0]), "malformed"),
        (changed(TWIST, linear=[True, 0.0, 0.0]), "malformed"),
        (changed(TWIST, linear="abc"), "malformed"),
        (changed(ODOMETRY, orientation=[0.0] * 4), "range"),
        (changed(ODOMETRY, position=[0.0, INF, 0.0]), "non_finite"),
        (changed(BATTERY, percentage=NAN), "non_finite"),
        (changed(BATTERY, percentage=80), "range"),
        (changed(BATTERY, voltage=INF), "non_finite"),
        (changed(Temperature({"hip": 40.0}), celsius={"hip": 40.0, b"": 40.0}), "malformed"),
        (changed(EStop(True), pressed=1), "malformed"),
        (changed(EStop(True), pressed=None), "malformed"),
        (changed(JOINTS)[:2], "malformed"),
        (changed(JOINTS, names=["a", "a"]), "malformed"),
        (changed(JOINTS, names=["a"]), "size"),
        (changed(JOINTS, fields=["position", "colour"]), "malformed"),
        (changed(JOINTS, payload=np.array([1, 2, 3, NAN], np.float32).tobytes()), "non_finite"),
        (changed(JOINTS, payload=b"\x00" * 15), "size"),
        (changed(JOINTS, payload=b""), "size"),
        (changed(RGB, height=3), "size"),
        (changed(RGB, step=11), "size"),
        (changed(RGB, width=-4), "size"),
        (changed(RGB, height=2**40), "size"),
        (changed(RGB, height=2.0), "malformed"),
        (changed(RGB, encoding="yuv422"), "malformed"),
        (changed(RGB, payload=b"\x00" * 23), "size"),
    ],
)
def test_bad_input_is_refused_for_its_own_reason(frames, reason):
    assert refused(frames) == reason


def test_a_type_that_the_topic_does_not_have_is_refused():
    assert refused(encode_sample("t", 0, NOW, TWIST), "odometry") is Reason.WRONG_TYPE


def test_a_wall_clock_that_jumps_makes_realtime_stamps_refused_not_wrong():
    frames = encode_sample("t", 0, WALL, EStop(False), clock="realtime")
    with pytest.raises(BadMessage, match="stamp_future"):
        decode_sample(frames, NOW, WALL - 3600 * 10**9)
    with pytest.raises(BadMessage, match="stamp_old"):
        decode_sample(frames, NOW, WALL + 3600 * 10**9)


@pytest.mark.parametrize(
    "data",
    [
        Image("rgb8", np.zeros((2, 2), np.uint8)),
        Image("mono8", np.zeros((2, 2), np.uint16)),
        Image("rgba8", np.zeros((2, 2, 4), np.uint8)),
        JointState(("a", "b"), position=np.zeros(3, np.float32)),
        PointCloud(("x", "y", "z"), np.zeros((4, 2), np.float32)),
    ],
)
def test_a_driver_author_is_told_of_a_shape_that_does_not_fit(data):
    with pytest.raises(ValueError, match=r"need|fit|not one of"):
        encode_sample("t", 0, NOW, data)


# commands -------------------------------------------------------------------------------------------------

RUN = Command(
    3, NOW, 60, CommandMode.RUN, Kind.TWIST, ("linear_x", "angular_z"), np.array([0.5, -1], np.float32), NOW
)


VALUES = RUN.values.tobytes()


def signed(header, payload=VALUES):
    """A command's frames with a good checksum, whatever its header says."""
    packed = msgpack.packb({**header, "crc32": 2**32 - 1})
    crc = zlib.crc32(payload, zlib.crc32(packed[:-4]))
    return [b"command", packed[:-4] + crc.to_bytes(4, "big"), payload]


def header_of(command, **keys):
    header = msgpack.unpackb(encode_command(command)[1])
    del header["crc32"]
    return {**header, **keys}


def test_the_checksum_can_be_made_as_the_documentation_says():
    ours = encode_command(RUN)
    assert signed(header_of(RUN))[1] == ours[1]
    assert msgpack.unpackb(ours[1])["crc32"] == zlib.crc32(bytes(ours[1][:-4]) + bytes(ours[2]))


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (encode_command(RUN)[:2], "malformed"),
        ([b"commands", *encode_command(RUN)[1:]], "malformed"),
        ([*encode_command(RUN)[:2], np.array([0.5, -2], np.float32).tobytes()], "crc"),
        ([b"command", b"", b""], "crc"),
        (signed(header_of(RUN, v=2)), "version"),
        (signed(header_of(RUN, ttl_ms=101)), "range"),
        (signed(header_of(RUN, ttl_ms=0)), "range"),
        (signed(header_of(RUN, mode="fly")), "malformed"),
        (signed(header_of(RUN, mode=1)), "malformed"),
        (signed(header_of(RUN, kind="wish")), "malformed"),
        (signed(header_of(RUN, names=["linear_x"])), "size"),
        (signed(header_of(RUN, seq=-1)), "malformed"),
        (signed(header_of(RUN), b""), "size"),
        (signed(header_of(RUN), np.array([0.5, NAN], np.float32).tobytes()), "non_finite"),
        (signed(header_of(RUN), np.array([0.5, INF], np.float32).tobytes()), "non_finite"),
    ],
)
def test_bad_commands_are_refused_for_their_own_reason(frames, reason):
    with pytest.raises(BadMessage) as caught:
        decode_command(frames)
    assert caught.value.reason == reason


def test_a_stop_needs_no_values():
    stop = dataclasses.replace(RUN, mode=CommandMode.STOP1, values=np.empty(0, np.float32))
    assert same(decode_command(encode_command(stop)), stop)


@pytest.mark.parametrize("key", ["seq", "stamp_ns", "mode", "level", "faults"])
def test_a_heartbeat_without_one_of_its_keys_is_refused(key):
    header = {"v": 1, "seq": 1, "stamp_ns": 2, "mode": "active", "level": 0, "faults": []}
    decode_heartbeat([b"safety", msgpack.packb(header)])
    del header[key]
    with pytest.raises(BadMessage, match="malformed"):
        decode_heartbeat([b"safety", msgpack.packb(header)])
