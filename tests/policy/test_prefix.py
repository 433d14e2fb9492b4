"""What will be done until a policy has answered: from the follower through the reader into a real model."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.policy.bundles import (
    HORIZON,
    ROBOT,
    SIGNALS,
    image_input,
    make_bundle,
    manifest,
    observations,
    output,
)
from vlad.clock import SystemClock
from vlad.messages import Chunk, Kind
from vlad.policy.bundle import BundleRefused, load_bundle, write_manifest
from vlad.policy.follower import Follower
from vlad.policy.policy import Policy
from vlad.policy.prefix import Prefix, without_effect
from vlad.policy_settings import PolicySettings

MS = 1_000_000
ROWS = HORIZON - 1
IMAGE = [1, 3, 6, 8]


def prefix_input(**changes):
    return {"name": "prefix", "kind": "prefix", "shape": [1, ROWS, 2], "length": "committed"} | changes


def write_model(path):
    """actions = the prefix with a row of 0 behind it, and to all of it the number of committed rows added."""
    nodes = [
        helper.make_node("ReduceMin", ["image"], ["dark"], keepdims=0),
        helper.make_node("Sub", ["dark", "dark"], ["zero"]),
        helper.make_node("Cast", ["committed"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Pad", ["prefix", "pads"], ["padded"]),
        helper.make_node("Sum", ["padded", "count", "zero"], ["actions"]),
    ]
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE),
        helper.make_tensor_value_info("prefix", TensorProto.FLOAT, [1, ROWS, 2]),
        helper.make_tensor_value_info("committed", TensorProto.INT64, [1]),
    ]
    actions = helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, HORIZON, 2])
    pads = helper.make_tensor("pads", TensorProto.INT64, [6], [0, 0, 0, 0, 1, 0])
    graph = helper.make_graph(nodes, "prefixed", inputs, [actions], [pads])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def make_prefixed(folder, *inputs, **changes):
    folder.mkdir(parents=True)
    write_model(folder / "model.onnx")
    tables = [image_input(), *(inputs or [prefix_input()])]
    write_manifest(folder, manifest(inputs=tables, output=output(collision=None), **changes))
    return folder


@pytest.fixture
def policy(tmp_path):
    made = Policy(load_bundle(make_prefixed(tmp_path / "b"), ROBOT, SIGNALS), SystemClock())
    made.warm_up()
    yield made
    made.close()


def chunk(rows, stamp_ns, seq):
    actions = np.array(rows, np.float32).repeat(2).reshape(-1, 2)
    return Chunk(seq, stamp_ns, stamp_ns, 100 * MS, Kind.TWIST, ("linear_x", "angular_z"), actions, "", 0)


def test_the_model_is_given_what_will_be_done_in_its_own_normalisation(policy):
    rows = np.array([[1, 2], [3, 4]], np.float32)
    actions = policy.infer(observations(), Prefix(rows, committed=0)).actions
    np.testing.assert_allclose(actions[:2], rows, atol=1e-6)
    np.testing.assert_allclose(
        actions[2:], [[1, 2]] * 2, atol=1e-6
    )  # the mean of the output: nothing is known


def test_the_model_is_told_how_many_rows_are_committed(policy):
    actions = policy.infer(observations(), Prefix(np.ones((ROWS, 2), np.float32), committed=2)).actions
    np.testing.assert_allclose(actions[0], [1 + 2 * 0.5, 1 + 2 * 4.0], atol=1e-6)


def test_a_prefix_is_forgotten_by_the_next_inference(policy):
    policy.infer(observations(), Prefix(np.full((ROWS, 2), 7, np.float32), committed=3))
    np.testing.assert_allclose(policy.infer(observations()).actions, [[1, 2]] * HORIZON)


def test_the_policy_asks_for_what_will_be_done_from_its_frame_on(policy):
    follower = Follower(PolicySettings(follow="rtc"))
    assert policy.prefix(observations(stamp_ns=0), follower.ahead) is None
    follower.put(chunk(range(8), stamp_ns=0, seq=1), 50 * MS)
    prefix = policy.prefix(observations(stamp_ns=200 * MS), follower.ahead)
    np.testing.assert_allclose(prefix.rows, [[2, 2], [3, 3], [4, 4]])
    assert prefix.committed == 1


def test_a_policy_without_such_an_input_asks_for_nothing(tmp_path):
    policy = Policy(load_bundle(make_bundle(tmp_path / "b")), SystemClock())
    assert policy.prefix(observations(), lambda *_: pytest.fail("asked")) is None
    policy.close()


def test_a_join_after_a_kept_prefix_goes_on_as_planned(policy):
    """The model repeats its prefix: what is said stays on the first plan as long as rows are committed."""
    follower, planned = Follower(PolicySettings(follow="rtc")), Follower(PolicySettings(follow="rtc"))
    for one in (follower, planned):
        one.put(chunk(range(8), stamp_ns=0, seq=1), 0)
    prefix = policy.prefix(observations(stamp_ns=100 * MS), follower.ahead)
    assert follower.put(policy.infer(observations(stamp_ns=100 * MS), prefix), 200 * MS)
    for at_ms in range(200, 400, 10):
        wanted = planned.step(at_ms * MS).values
        np.testing.assert_allclose(follower.step(at_ms * MS).values, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([prefix_input(shape=[1, HORIZON + 1, 2])], "at most the 4 rows of the output, 2 numbers each"),
        ([prefix_input(shape=[1, ROWS, 3])], "has 3 rows of 3 numbers"),
        ([prefix_input(), prefix_input(name="other", length=None)], "more than one prefix"),
        ([prefix_input(length="image")], "image more than once"),
        ([prefix_input(signal="camera")], "unknown key"),
    ],
)
def test_a_prefix_that_does_not_fit_is_refused(tmp_path, inputs, reason):
    with pytest.raises(BundleRefused, match=reason):
        make_prefixed(tmp_path / "b", *inputs)


def test_a_prefix_alone_is_no_policy(tmp_path):
    (tmp_path / "b").mkdir()
    write_model(tmp_path / "b" / "model.onnx")
    with pytest.raises(BundleRefused, match="must read a signal"):
        write_manifest(tmp_path / "b", manifest(inputs=[prefix_input()]))


def test_real_time_chunking_with_a_policy_that_cannot_is_told(tmp_path):
    able, plain = load_bundle(make_prefixed(tmp_path / "a")), load_bundle(make_bundle(tmp_path / "b"))
    assert without_effect("rtc", able) == without_effect("blend", plain) == ""
    assert 'no input of the kind prefix, so its chunks are joined as with "blend"' in without_effect(
        "rtc", plain
    )
