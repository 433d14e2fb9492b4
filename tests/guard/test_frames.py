"""The guard's own msgpack agrees with the wire's, and takes nothing else."""

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vlad.guard import frames
from vlad.guard.frames import BadFrame
from vlad.messages import CommandMode, EStop, Heartbeat, Level, Mode, Request
from vlad.wire import decode_command, encode_heartbeat, encode_sample

heartbeats = st.builds(
    Heartbeat,
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.sampled_from(Mode),
    st.sampled_from(Level),
    st.lists(st.text(max_size=300), max_size=40).map(tuple),
    st.lists(st.sampled_from(Request), max_size=4).map(tuple),
)


@given(heartbeats)
def test_it_reads_every_heartbeat_of_the_daemon(heartbeat):
    read = frames.read_heartbeat([bytes(frame) for frame in encode_heartbeat(heartbeat)])
    assert read == (heartbeat.seq, heartbeat.stamp_ns, heartbeat.mode, heartbeat.level, heartbeat.faults)


@given(heartbeats, st.data())
def test_a_heartbeat_that_is_cut_off_is_bad(heartbeat, data):
    topic, header = encode_heartbeat(heartbeat)
    cut = data.draw(st.integers(0, len(header) - 1))
    with pytest.raises(BadFrame):
        frames.read_heartbeat([bytes(topic), bytes(header[:cut])])


@given(st.binary(max_size=200))
@example(b"\xde\xff\xff")
@example(b"\x91" * 100)
@example(b"\xdc\xff\xff" * 60)
def test_whatever_the_bytes_are_they_are_read_or_bad(data):
    for read, topic in ((frames.read_heartbeat, b"safety"), (frames.read_button, b"estop")):
        with pytest.raises(BadFrame):
            read([topic, data])


GOOD = {"v": 1, "seq": 1, "stamp_ns": 2, "mode": "active", "level": 0, "faults": [], "requests": []}


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2}, {"v": True}, {"seq": -1}, {"seq": 2**63}, {"seq": 1.0}, {"seq": True}, {"seq": None},
        {"stamp_ns": "now"}, {"mode": 3}, {"mode": b"active"}, {"level": "SAFE"}, {"level": 1.5},
        {"faults": "estop"}, {"faults": [1]}, {"faults": {"a": 1}}, {"requests": [[["deep"]]]}, {1: 2},
    ],
)  # fmt: skip
def test_a_heartbeat_with_a_wrong_value_is_bad(change):
    with pytest.raises(BadFrame):
        frames.read_heartbeat([b"safety", msgpack.packb(GOOD | change)])


@pytest.mark.parametrize("missing", ["v", "seq", "stamp_ns", "mode", "level", "faults"])
def test_a_heartbeat_without_a_key_is_bad(missing):
    with pytest.raises(BadFrame):
        frames.read_heartbeat([b"safety", msgpack.packb({k: v for k, v in GOOD.items() if k != missing})])


@pytest.mark.parametrize(
    "message",
    [
        [b"safety"],
        [b"safety", msgpack.packb(GOOD), b""],
        [b"safety2", msgpack.packb(GOOD)],
        [b"safety", msgpack.packb(GOOD) + b"\x00"],
        [b"safety", msgpack.packb([1])],
        [b"safety", b"\x82\xa1v\x01\xa1v\x01"],
        [b"safety", b"\x81\xa1\xff\x01"],
        [b"safety", msgpack.packb(GOOD | {"faults": ["x" * 70_000]})],
    ],
)
def test_a_message_of_another_form_is_bad(message):
    with pytest.raises(BadFrame):
        frames.read_heartbeat(message)


@pytest.mark.parametrize("pressed", [True, False])
def test_it_reads_the_estop_messages_of_the_drivers_kit(pressed):
    message = [bytes(frame) for frame in encode_sample("left", 7, 5, EStop(pressed), "base")]
    assert frames.read_button(message) == ("left", 5, pressed)


BUTTON = {"v": 1, "type": "estop", "seq": 1, "stamp_ns": 2, "clock": "monotonic", "pressed": True}


@pytest.mark.parametrize(
    "change", [{"type": "imu"}, {"clock": "realtime"}, {"pressed": 1}, {"pressed": "no"}, {"stamp_ns": -1}]
)
def test_a_button_with_a_wrong_value_is_bad(change):
    with pytest.raises(BadFrame):
        frames.read_button([b"left", msgpack.packb(BUTTON | change)])


@pytest.mark.parametrize("topic", [b"", b"x" * 129])
def test_a_button_needs_a_topic(topic):
    with pytest.raises(BadFrame):
        frames.read_button([topic, msgpack.packb(BUTTON)])


@pytest.mark.parametrize("mode", ["stop1", "hold"])
def test_the_wire_accepts_its_stop(mode):
    command = decode_command(frames.stop_command(2**40, 2**62, mode))
    assert (command.seq, command.stamp_ns, command.ttl_ms) == (2**40, 2**62, 100)
    assert command.mode is CommandMode(mode)
    assert not len(command.values)
    assert command.names == ()


@given(st.integers(0, 2**64 - 1), st.text(max_size=300))
def test_its_report_is_plain_msgpack(number, reason):
    topic, header = frames.report(number, number, "stopping", reason)
    assert topic == b"guard"
    assert msgpack.unpackb(header) == {
        "v": 1, "seq": number, "stamp_ns": number, "state": "stopping", "reason": reason,
    }  # fmt: skip
