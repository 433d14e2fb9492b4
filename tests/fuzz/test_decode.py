"""Whatever the bytes are, decoding gives a good message or BadMessage, and nothing else."""

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.messages import DATA, command, heartbeat
from vlad.messages import JointState, Sample
from vlad.wire import (
    decode_command,
    decode_heartbeat,
    decode_sample,
    encode_command,
    encode_heartbeat,
    encode_sample,
)
from vlad.wire.fields import BadMessage
from vlad.wire.types import CODECS

NOW, WALL = 10**12, 17 * 10**17
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=6,
)
KEYS = (
    "v type seq stamp_ns clock frame_id encoding height width step format angle_min angle_increment "
    "range_min range_max fields names orientation angular_velocity linear_acceleration percentage "
    "voltage current temperature force torque linear angular position child_frame_id objects watts "
    "celsius x y z detections pressed text source confidence task success ttl_ms mode kind level faults"
)
KEY = st.sampled_from(KEYS.split())


def attempt(frames):
    """Decode as everything; each gives a message or BadMessage."""
    for decode in (lambda f: decode_sample(f, NOW, WALL), decode_command, decode_heartbeat):
        try:
            message = decode(frames)
        except BadMessage:
            continue
        if isinstance(message, Sample) and isinstance(message.data, JointState):
            rows = [message.data.position, message.data.velocity, message.data.effort]
            assert all(np.isfinite(row).all() for row in rows if row is not None)


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_any_bytes_in_any_frame(frames):
    attempt(frames)


@given(st.sampled_from(sorted(CODECS)), st.dictionaries(KEY, JUNK, max_size=30), st.binary(max_size=100))
def test_headers_full_of_junk(name, junk, payload):
    header = {"v": 1, "type": name, "seq": 1, "stamp_ns": NOW, "clock": "monotonic", "frame_id": "", **junk}
    packed = msgpack.packb(header)
    attempt([b"t", packed])
    attempt([b"t", packed, payload])


@given(DATA, KEY, JUNK)
def test_one_value_of_a_good_message_replaced(data, key, junk):
    topic, header, *payload = encode_sample("t", 1, NOW, data)
    attempt([topic, msgpack.packb({**msgpack.unpackb(header), key: junk}), *payload])


@given(
    DATA.map(lambda data: encode_sample("t", 1, NOW, data))
    | command().map(encode_command)
    | heartbeat.map(encode_heartbeat),
    st.data(),
)
def test_good_messages_with_bytes_flipped_cut_off_and_added(frames, data):
    frames = [bytearray(frame) for frame in frames]
    for _ in range(data.draw(st.integers(1, 4))):
        frame = data.draw(st.sampled_from(frames))
        at = data.draw(st.integers(0, max(0, len(frame) - 1)))
        match data.draw(st.sampled_from(["flip", "cut", "add"])):
            case "flip" if frame:
                frame[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del frame[at:]
            case "add":
                frame[at:at] = data.draw(st.binary(max_size=20))
    attempt([bytes(frame) for frame in frames])


@given(command(), st.data())
def test_no_changed_byte_of_a_command_gets_past_the_checksum(command, data):
    topic, *frames = [bytearray(frame) for frame in encode_command(command)]
    frame = data.draw(st.sampled_from([frame for frame in frames if frame]))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadMessage) as caught:
        decode_command([bytes(topic), *map(bytes, frames)])
    assert caught.value.reason == "crc"
