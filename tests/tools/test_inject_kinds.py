"""PX4's eight kinds as what they are: frames in, frames out, at a time that the test sets."""

from argparse import ArgumentTypeError

import numpy as np
import pytest

from tools.injection.kinds import DELAY_NS, TURN_NS, Kind, Line, Spell
from tools.injection.plan import Planned, planned
from tools.injection.wrong import falsify
from vlad.clock import NS_PER_S
from vlad.messages import (
    DATA_TYPES,
    Battery,
    CenterOfMass,
    Command,
    CommandAck,
    CommandMode,
    CompressedImage,
    Deadman,
    Detection,
    Detections,
    EStop,
    Image,
    Imu,
    Instruction,
    JointState,
    LaserScan,
    NearObject,
    Odometry,
    PointCloud,
    Pose,
    Power,
    Proximity,
    TaskResult,
    Temperature,
    Twist,
    Wrench,
)
from vlad.messages import Kind as CommandKind
from vlad.wire import decode_command, decode_sample, encode_command, encode_sample
from vlad.wire.fields import BadMessage, Reason

START_NS = 1_000 * NS_PER_S
PERIOD_NS = NS_PER_S // 100
UPRIGHT = (0.0, 0.0, 0.0, 1.0)
V = (1.0, 2.0, 3.0)
ROW = np.array([0.1, 0.2], np.float32)

EVERY_TYPE = {
    "image": Image("rgb8", np.arange(24, dtype=np.uint8).reshape(2, 4, 3)),
    "compressed_image": None,
    "laser_scan": LaserScan(-3.0, 0.1, 0.05, 8.0, np.array([1.0, 4.0, np.inf, np.nan], np.float32)),
    "point_cloud": PointCloud(("x", "y"), np.ones((3, 2), np.float32)),
    "joint_state": JointState(("a", "b"), position=ROW, velocity=ROW, effort=ROW),
    "imu": Imu(UPRIGHT, V, V),
    "battery": Battery(0.9, 25.0, -1.0, float("nan")),
    "wrench": Wrench(V, V),
    "twist": Twist(V, V),
    "pose": Pose(V, UPRIGHT),
    "odometry": Odometry("base_link", V, UPRIGHT, V, V),
    "proximity": Proximity(()),
    "power": Power(30.0),
    "temperature": Temperature({"cpu": 40.0}),
    "center_of_mass": CenterOfMass(0.0, 0.0, 0.3),
    "detections": Detections((Detection("cat", 0.9, (1.0, 2.0, 3.0, 4.0)),)),
    "estop": EStop(False),
    "instruction": Instruction("go to the ball"),
    "task_result": TaskResult("go", True),
    "deadman": Deadman(True),
    "command_ack": CommandAck(3, 5, CommandMode.RUN),
}


def message(number, data=None, topic="imu"):
    stamp_ns = START_NS + number * PERIOD_NS
    data = data or Imu(UPRIGHT, (number * 0.001, 0.0, 0.0), V)
    return [bytes(frame) for frame in encode_sample(topic, number, stamp_ns, data)]


def command(number):
    values = np.array([0.5, 0.1 + number * 0.001], np.float32)
    sent = Command(number, START_NS + number * PERIOD_NS, 60, CommandMode.RUN, CommandKind.TWIST,
                   ("linear_x", "angular_z"), values, 1)  # fmt: skip
    return [bytes(frame) for frame in encode_command(sent)]


def decoded(frames):
    now_ns = START_NS + 2 * NS_PER_S
    return decode_sample([bytes(frame) for frame in frames], now_ns, now_ns)


class Run:
    """A line that got ten good messages, and then one every 10 ms while a kind holds."""

    def __init__(self, kind, topic="imu", make=message, for_s=None, data=None):
        self.line = Line(topic)
        make_one = make if make is command else lambda number: message(number, data, topic)
        for number in range(10):
            sent = make_one(number)
            assert self.line.take(sent, START_NS + number * PERIOD_NS) is sent
        self.from_ns = START_NS + 10 * PERIOD_NS
        until_ns = None if for_s is None else self.from_ns + round(for_s * NS_PER_S)
        self.line.spells = (Spell(kind, self.from_ns, until_ns),)
        self.make = make_one

    def out(self, count):
        """What comes out, each with its time since the kind began [ns] and what went in at that time."""
        came = []
        for number in range(10, 10 + count):
            now_ns = START_NS + number * PERIOD_NS
            since_ns = now_ns - self.from_ns
            came += [(since_ns, late, None) for late in self.line.due(now_ns)]
            sent = self.make(number)
            made = self.line.take(sent, now_ns)
            if made is not None:
                came.append((since_ns, made, sent))
        return came


def test_ok_hands_on_the_very_same_frames():
    assert all(made is sent for _, made, sent in Run(Kind.OK).out(20))


def test_off_lets_nothing_through():
    assert Run(Kind.OFF).out(100) == []


def test_stuck_repeats_the_content_under_fresh_sequences_and_stamps():
    run = Run(Kind.STUCK)
    good = decoded(message(9))
    came = run.out(20)
    assert len(came) == 20
    for _, made, sent in came:
        sample, fresh = decoded(made), decoded(sent)
        assert sample.data == good.data != fresh.data
        assert (sample.seq, sample.stamp_ns) == (fresh.seq, fresh.stamp_ns)


def test_stuck_keeps_the_payload_of_the_last_good_message():
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)
    ((_, made, _),) = Run(Kind.STUCK, "camera", data=Image("rgb8", pixels)).out(1)
    assert (decoded(made).data.pixels == pixels).all()


def test_stuck_before_anything_good_came_sends_nothing():
    line = Line("imu")
    line.spells = (Spell(Kind.STUCK, 0),)
    assert line.take(message(1), START_NS) is None


def test_garbage_has_the_same_sizes_and_is_the_same_at_every_run():
    scan = EVERY_TYPE["laser_scan"]
    first, again = (Run(Kind.GARBAGE, "laser", data=scan).out(50) for _ in range(2))
    assert [made for _, made, _ in first] == [made for _, made, _ in again]
    spoiled = [
        tuple(number for number in range(3) if made[number] != sent[number]) for _, made, sent in first
    ]
    assert set(spoiled) == {(1,), (2,)}, "the header or the payload, never the topic"
    assert all([len(a) for a in made] == [len(b) for b in sent] for _, made, sent in first)


def test_garbage_in_the_header_is_refused():
    for _, made, _ in Run(Kind.GARBAGE).out(50):
        with pytest.raises(BadMessage):
            decoded(made)


def test_slow_lets_a_fifth_through():
    assert len(Run(Kind.SLOW).out(100)) == 20


def test_delayed_comes_half_a_second_later_with_its_own_stamp():
    came = Run(Kind.DELAYED).out(100)
    assert len(came) == 50
    for since_ns, made, _ in came:
        sample = decoded(made)
        assert START_NS + 10 * PERIOD_NS + since_ns - sample.stamp_ns == DELAY_NS


def test_what_is_held_back_when_the_delay_ends_is_dropped():
    run = Run(Kind.DELAYED, for_s=0.2)
    came = run.out(100)
    assert [decoded(made).seq for _, made, _ in came] == list(range(30, 110))
    assert run.line.due_ns is None


def test_intermittent_is_off_and_ok_in_turn():
    came = Run(Kind.INTERMITTENT).out(120)
    assert {since_ns // TURN_NS for since_ns, _, _ in came} == {1, 3}
    assert all(made is sent for _, made, sent in came)


def test_a_spell_ends_by_itself_and_the_last_one_that_holds_wins():
    run = Run(Kind.OFF, for_s=0.1)
    assert [decoded(made).seq for _, made, _ in run.out(15)] == list(range(20, 25))
    line = Line("imu")
    line.spells = (Spell(Kind.OFF, 0), Spell(Kind.WRONG, START_NS, START_NS + 1))
    assert line.spell(START_NS - 1).kind is Kind.OFF
    assert line.spell(START_NS).kind is Kind.WRONG
    assert line.spell(START_NS + 1).kind is Kind.OFF


def test_there_is_a_sample_of_every_type():
    assert set(EVERY_TYPE) == set(DATA_TYPES)


@pytest.mark.parametrize("name", sorted(EVERY_TYPE))
def test_wrong_is_well_formed_and_false(name):
    data = EVERY_TYPE[name]
    if name == "compressed_image":
        import cv2

        pixels = np.tile(np.arange(48, dtype=np.uint8)[:, None, None], (1, 48, 3))
        data = CompressedImage("png", memoryview(cv2.imencode(".png", pixels)[1].tobytes()))
    ((_, made, sent),) = Run(Kind.WRONG, "some", data=data).out(1)
    false, true = decoded(made), decoded(sent)
    assert type(false.data) is type(true.data)
    assert str(false.data) != str(true.data) or bytes(made[-1]) != bytes(sent[-1])
    assert (false.seq, false.stamp_ns, false.topic) == (true.seq, true.stamp_ns, true.topic)


def test_wrong_is_false_in_the_dangerous_direction():
    assert falsify(EVERY_TYPE["laser_scan"]).ranges[:2].tolist() == [3.0, 8.0]
    assert falsify(EVERY_TYPE["odometry"]).linear == (3.0, 6.0, 9.0)
    touch = falsify(Proximity(()))
    assert touch.objects[0].distance == 0
    assert falsify(Proximity((NearObject("wall", 0.1, 0.0),))).objects == ()
    assert falsify(CommandAck(1, 2, CommandMode.HOLD)).mode is CommandMode.RUN


def test_wrong_rolls_the_body():
    x, y, z, w = falsify(Imu(UPRIGHT, V, V)).orientation
    assert 2 * np.arctan2(x, w) == pytest.approx(np.pi / 6)
    assert (y, z) == (0, 0)


def test_a_message_that_is_bad_already_is_handed_on():
    line = Line("imu")
    line.spells = (Spell(Kind.WRONG, 0),)
    bad = [b"imu", b"no header"]
    assert line.take(bad, START_NS) is bad
    line = Line("imu")
    line.take(bad, START_NS)
    line.spells = (Spell(Kind.STUCK, 0),)
    assert line.take(message(1), START_NS) == message(1)


@pytest.mark.parametrize("kind", [Kind.GARBAGE, Kind.WRONG])
def test_a_spoiled_command_never_passes_its_checksum(kind):
    came = Run(kind, "command", command).out(200)
    assert len(came) == 200
    for _, made, _ in came:
        with pytest.raises(BadMessage) as refused:
            decode_command(made)
        assert refused.value.reason is Reason.CRC


def test_a_stuck_command_is_the_last_one_to_the_byte():
    assert {tuple(made) for _, made, _ in Run(Kind.STUCK, "command", command).out(20)} == {tuple(command(9))}


def test_a_plan_is_read():
    assert planned("camera=stuck@5:2") == Planned("camera", Kind.STUCK, 5.0, 2.0)
    assert planned("command=off@0.5") == Planned("command", Kind.OFF, 0.5, None)
    assert planned("camera=stuck@5:2").spell(START_NS) == Spell(
        Kind.STUCK, START_NS + 5 * NS_PER_S, START_NS + 7 * NS_PER_S
    )


@pytest.mark.parametrize("text", ["camera", "camera=tired@5", "camera=stuck", "=stuck@1", "camera=stuck@-1"])
def test_a_plan_that_cannot_be_read_is_refused(text):
    with pytest.raises(ArgumentTypeError, match="TOPIC=KIND@START_S"):
        planned(text)
