"""How sure a policy is: what the measures say of chunks whose answers can be worked out by hand."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.policy.bundles import HORIZON, image_input, make_bundle, manifest, observations, output
from vlad.clock import SystemClock
from vlad.policy.bundle import BundleRefused, load_bundle, write_manifest
from vlad.policy.calibration import Calibration
from vlad.policy.confidence import Confidence, choose
from vlad.policy.policy import Policy

MS = 1_000_000
STEP_NS = 100 * MS


def calibration(**limits):
    return Calibration(
        bundle="tiny/1", manifest_sha256="", episodes=99, rate_hz=30, alpha_slow=0.1, alpha_stop=0.01,
        measures=limits,
    )  # fmt: skip


def rows(*values):
    """A chunk with the same two numbers a row."""
    return np.repeat(np.array(values, np.float32)[:, None], 2, axis=1)


def disagreements(*chunks, step_ns=STEP_NS):
    """Of each (time in ms, actions, instruction...) with those before it; None: nothing to compare."""
    confidence = Confidence(step_ns, None)
    said = []
    for stamp_ms, actions, *instruction in chunks:
        found = confidence.judge(round(stamp_ms * MS), "".join(instruction), actions, None, None)
        said.append(next((doubt.value for doubt in found), None))
    return said


def test_the_first_chunk_has_nothing_to_disagree_with():
    assert disagreements((0, rows(1, 2, 3))) == [None]


def test_chunks_that_tell_the_same_story_agree():
    """The second is the first, from its second row on, and one row more."""
    assert disagreements((0, rows(1, 5, 2, 8)), (100, rows(5, 2, 8, 9))) == [None, 0.0]


def test_between_rows_the_older_chunk_says_what_lies_between():
    assert disagreements((0, rows(0, 1, 2, 3)), (50, rows(0.5, 1.5, 2.5, 99)))[1] == pytest.approx(
        0, abs=1e-6
    )
    assert disagreements((0, rows(0, 1, 2, 3)), (25, rows(0.25, 1.25, 2.25, 9)))[1] == pytest.approx(
        0, abs=1e-6
    )


def test_disagreement_is_the_root_mean_square_over_the_common_steps_and_the_axes():
    first = np.array([[9, 9], [0, 0], [0, 0]], np.float32)
    second = np.array([[3, 0], [0, 4], [7, 7]], np.float32)
    assert disagreements((0, first), (100, second))[1] == pytest.approx(np.sqrt(25 / 4))


def test_chunks_without_a_common_moment_are_not_compared():
    assert disagreements((0, rows(0, 0)), (200, rows(9, 9))) == [None, None]
    assert disagreements((0, rows(0, 0)), (150, rows(9, 9))) == [None, None]
    assert disagreements((0, rows(0, 0)), (100, rows(9, 9)))[1] == 9.0


def test_another_instruction_is_no_disagreement():
    told = disagreements((0, rows(0, 0), "left"), (10, rows(9, 9), "right"), (20, rows(0, 0), "left"))
    assert told == [None, None, None]


def test_a_chunk_that_is_not_finite_is_not_compared_and_nothing_with_it():
    assert disagreements((0, rows(1, 1)), (10, rows(1, np.nan)), (20, rows(1, 1))) == [None, None, 0.0]


def test_frames_of_another_time_are_not_compared():
    """As when a recording begins anew."""
    assert disagreements((500, rows(1, 1)), (0, rows(9, 9)), (10, rows(9, 9))) == [None, None, 0.0]


@given(st.integers(5, 100), st.integers(1, 5))
def test_a_policy_of_two_minds_is_found_out_at_any_rate_and_rhythm(period_ms, rhythm):
    """It says 0 `rhythm` times, then 1 as many times, and so on."""
    chunks = [(period_ms * k, rows(*[k // rhythm % 2] * 30)) for k in range(60)]
    said = disagreements(*chunks)
    assert max(said[1:]) == 1.0
    if rhythm * period_ms <= 50:
        assert min(said[2 * rhythm :]) == 1.0


@given(st.integers(10, 110), st.integers(0, 9))
def test_a_slow_policy_is_compared_with_its_chunk_before_however_old(period_ms, more):
    chunks = [(0, rows(*[0] * 30)), (period_ms + 100 * more, rows(*[2] * 30))]
    assert disagreements(*chunks) == [None, 2.0]


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=4, max_size=4), st.integers(1, 250))
def test_a_chunk_agrees_with_itself_and_no_distance_is_negative_or_unknown(values, lag_ms):
    assert disagreements((0, rows(*values)), (0, rows(*values)))[1] == 0.0
    assert disagreements((0, rows(*values)), (lag_ms, rows(*reversed(values))))[1] >= 0.0


def test_a_model_may_use_its_buffer_again():
    buffer = rows(0, 0, 0)
    confidence = Confidence(STEP_NS, None)
    confidence.judge(0, "", buffer, None, None)
    buffer[:] = 5
    (doubt,) = confidence.judge(10 * MS, "", buffer, None, None)
    assert doubt.value == 5.0


def test_limits_are_those_of_the_calibration_and_infinite_without():
    confidence = Confidence(STEP_NS, calibration(spread={"slow": 0.5, "stop": 0.7}))
    first, second = confidence.judge(0, "", rows(0, 0), 0.6, 0.25)
    assert (first.measure, first.value, first.slow, first.stop) == ("uncertainty", 0.25, np.inf, np.inf)
    assert (second.measure, second.value, second.slow, second.stop) == ("spread", 0.6, 0.5, 0.7)


# Samples


def test_a_single_sample_is_followed_and_has_no_spread():
    chosen, spread = choose(rows(1, 2)[None])
    np.testing.assert_array_equal(chosen, rows(1, 2))
    assert spread is None


def test_of_two_ways_around_one_is_followed_never_the_middle():
    left, right = rows(1, 1), rows(-1, -1)
    chosen, spread = choose(np.stack([left, right, left * 1.1, right * 1.1, left * 0.9]))
    np.testing.assert_array_equal(chosen, left * np.float32(0.9))
    assert spread == pytest.approx((0.1 + 0.2 + 1.9 + 2.0) / 4)


def test_samples_that_agree_have_no_spread():
    assert choose(np.stack([rows(1, 2, 3)] * 4))[1] == 0.0


@given(st.integers(0, 6))
def test_a_sample_that_is_not_finite_breaks_the_chunk(which):
    samples = np.zeros((7, HORIZON, 2), np.float32)
    samples[which, -1, 0] = np.nan
    chosen, spread = choose(samples)
    assert not np.isfinite(chosen).all()
    assert spread is None


@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=9), st.randoms())
def test_the_order_of_samples_does_not_count(values, random):
    samples = np.stack([rows(value, value) for value in values])
    shuffled = list(values)
    random.shuffle(shuffled)
    spreads = [choose(some)[1] for some in (samples, np.stack([rows(value, value) for value in shuffled]))]
    assert spreads[0] == pytest.approx(spreads[1])
    assert any(np.array_equal(choose(samples)[0], one) for one in samples)


# A model that draws samples

SAMPLES = 5


def write_sampler(path, samples=SAMPLES):
    """actions = noise, collision = 0.1, 0.2, ... of each sample."""
    nodes = [
        helper.make_node("ReduceMax", ["image"], ["light"], keepdims=0),
        helper.make_node("Mul", ["light", "zero"], ["nothing"]),
        helper.make_node("Add", ["noise", "nothing"], ["actions"]),
        helper.make_node("Identity", ["risks"], ["collision"]),
    ]
    noise = [samples, HORIZON, 2]
    risks = np.arange(1, samples + 1, dtype=np.float32)[:, None] / 10
    graph = helper.make_graph(
        nodes, "sampler",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 6, 8]),
         helper.make_tensor_value_info("noise", TensorProto.FLOAT, noise)],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, noise),
         helper.make_tensor_value_info("collision", TensorProto.FLOAT, [samples, 1])],
        [numpy_helper.from_array(risks, "risks"), numpy_helper.from_array(np.zeros(1, np.float32), "zero")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def noise_input(**changes):
    return {"name": "noise", "kind": "noise", "shape": [SAMPLES, HORIZON, 2]} | changes


def make_sampler(folder, *inputs, **changes):
    folder.mkdir(parents=True)
    write_sampler(folder / "model.onnx")
    given = inputs or (image_input(), noise_input())
    write_manifest(folder, manifest(inputs=list(given), output=output(**{"samples": SAMPLES} | changes)))
    return folder


def open_sampler(folder):
    policy = Policy(load_bundle(folder), SystemClock())
    policy.warm_up()
    return policy


def test_a_policy_follows_one_of_its_samples_and_says_how_far_they_lie_apart(tmp_path):
    policy = open_sampler(make_sampler(tmp_path / "b"))
    chunk = policy.infer(observations())
    drawn = np.random.default_rng(0).standard_normal((SAMPLES, HORIZON, 2), np.float32)
    chosen, spread = choose(drawn)
    np.testing.assert_allclose(chunk.actions, chosen * np.float32([0.5, 4]) + np.float32([1, 2]), rtol=1e-5)
    doubts = {doubt.measure: doubt.value for doubt in chunk.doubts}
    assert doubts == {"spread": pytest.approx(spread)}
    assert chunk.collision == pytest.approx(SAMPLES / 10)
    assert "disagreement" in {doubt.measure for doubt in policy.infer(observations(2_000)).doubts}
    policy.close()


def test_noise_is_new_for_each_inference_and_the_same_after_each_start(tmp_path):
    folder = make_sampler(tmp_path / "b")
    runs = []
    for _ in range(2):
        policy = open_sampler(folder)
        runs.append([policy.infer(observations()).actions for _ in range(3)])
        policy.close()
    np.testing.assert_array_equal(runs[0], runs[1])
    assert len(np.unique(np.stack(runs[0])[:, 0, 0])) == 3


def test_a_model_with_another_number_of_samples_is_refused(tmp_path):
    folder = make_sampler(tmp_path / "b", samples=SAMPLES + 1)
    with pytest.raises(BundleRefused, match=r"\(5, 4, 2\) in the model, \(6, 4, 2\) in the manifest"):
        Policy(load_bundle(folder), SystemClock())


@pytest.mark.parametrize(("inputs", "reason"), [
    ([noise_input()], "must read a signal"),
    ([image_input(), noise_input(shape=[])], "inputs.1.shape: "),
    ([image_input(), noise_input(seed=-1)], "inputs.1.seed: "),
    ([image_input(), noise_input(signal="camera")], "inputs.1.signal: unknown key"),
])  # fmt: skip
def test_noise_that_cannot_be_drawn_is_refused(tmp_path, inputs, reason):
    with pytest.raises(BundleRefused, match=reason):
        make_sampler(tmp_path / "b", *inputs)


def test_a_head_that_is_no_probability_for_one_sample_is_refused(tmp_path):
    folder = make_bundle(tmp_path / "b")
    write_sampler(folder / "model.onnx", samples=12)
    sampled = output(samples=12)
    write_manifest(
        folder, manifest(inputs=[image_input(), noise_input(shape=[12, HORIZON, 2])], output=sampled)
    )
    policy = Policy(load_bundle(folder), SystemClock())
    with pytest.raises(BundleRefused, match=r"gave 1\.2; a probability"):
        policy.warm_up()
