import os
import subprocess
import sys

import numpy as np
import pytest

from tests.policy.bundles import (
    HORIZON,
    NAMES,
    image_input,
    instruction_input,
    laser_input,
    make_bundle,
    manifest,
    observations,
    output,
    sample,
    write_model,
)
from vlad.clock import FakeClock, SystemClock
from vlad.messages import Image, Kind
from vlad.policy.backends import (
    BACKENDS,
    BackendError,
    Description,
    Model,
    ServerLost,
    TensorSpec,
    load_backend,
)
from vlad.policy.bundle import BundleRefused, load_bundle, write_manifest
from vlad.policy.policy import Policy
from vlad.policy.preprocess import ObservationError

PLAN = np.arange(8, dtype=np.float32).reshape(1, HORIZON, 2)


def load(folder, clock=None, **options):
    return Policy(load_bundle(folder), clock or SystemClock(), **options)


@pytest.fixture
def policy(tmp_path):
    made = load(make_bundle(tmp_path / "b", PLAN))
    yield made
    made.close()


class SlowBackend:
    """Answers after the times given, on a fake clock, with what is asked of it."""

    def __init__(self, clock, seconds=(), **outputs):
        self.clock, self.seconds = clock, list(seconds)
        self.outputs = {"actions": PLAN, "collision": np.full((1, 1), 0.5, np.float32)} | outputs
        self.warm_ups = 0

    def describe(self):
        return self.graph

    def warm_up(self, inputs):
        self.warm_ups += 1
        self.clock.advance(100)

    def run(self, inputs):
        self.clock.advance(self.seconds.pop(0) if self.seconds else 0.01)
        return self.outputs

    def close(self):
        pass


@pytest.fixture
def with_backend(tmp_path):
    folder = make_bundle(tmp_path / "fake", PLAN)
    graph = load_backend(
        "onnx", Model(folder / "model.onnx", "float32", ("actions", "collision"), 1)
    ).describe()

    def made(*args, **outputs):
        clock = FakeClock()
        backend = SlowBackend(clock, *args, **outputs)
        backend.graph = graph
        return load(folder, clock, backend=backend)

    return made


def test_a_chunk_is_the_model_s_answer_in_physical_units(policy):
    chunk = policy.infer(observations(stamp_ns=5_000, level=255))
    brightness = (1 - 0.5) / 0.25
    np.testing.assert_allclose(chunk.actions, (PLAN[0] + brightness) * [0.5, 4.0] + [1.0, 2.0], rtol=1e-5)
    assert (chunk.kind, chunk.names, chunk.step_ns) == (Kind.TWIST, NAMES, 100_000_000)
    assert chunk.collision == pytest.approx(0.5)
    assert chunk.instruction == "go to the ball"
    assert chunk.ready_ns >= chunk.inference_ns > 0
    assert not chunk.actions.flags.writeable


def test_a_chunk_is_not_changed_by_the_next_one(policy):
    first = policy.infer(observations(level=0))
    before = first.actions.copy()
    second = policy.infer(observations(level=255))
    np.testing.assert_array_equal(first.actions, before)
    assert second.seq == first.seq + 1
    assert not np.array_equal(second.actions, before)


def test_a_chunk_has_the_time_of_its_oldest_image_not_of_other_inputs(tmp_path):
    wrist = image_input(name="scan_image", signal="wrist")
    folder = make_bundle(tmp_path / "b")
    write_model(folder / "model.onnx", scan_image=[1, 3, 6, 8])
    write_manifest(folder, manifest(inputs=[*manifest()["inputs"], wrist]))
    policy = load(folder)
    assert policy.trigger == "camera"
    samples = observations(stamp_ns=9_000)
    samples["wrist"] = sample("wrist", Image("mono8", np.zeros((6, 8), np.uint8)), stamp_ns=8_000)
    assert policy.infer(samples).stamp_ns == 8_000


def test_without_an_image_the_oldest_state_counts_and_never_the_instruction(tmp_path):
    folder = make_bundle(tmp_path / "b")
    narrow = laser_input(name="image", shape=[1, 4], signal="second_laser")
    write_model(folder / "model.onnx", image=[1, 4])
    write_manifest(folder, manifest(inputs=[instruction_input(), laser_input(), narrow]))
    policy = load(folder)
    samples = observations(stamp_ns=9_500)
    samples["second_laser"] = sample("second_laser", samples["laser"].data, stamp_ns=20_000)
    assert policy.infer(samples).stamp_ns == 9_000


def test_without_a_collision_head_there_is_no_probability(tmp_path):
    policy = load(make_bundle(tmp_path / "b", output=output(collision=None)))
    chunk = policy.infer(observations())
    assert (chunk.collision, chunk.uncertainty) == (None, None)


def test_a_head_can_say_how_uncertain_the_policy_is(tmp_path):
    policy = load(make_bundle(tmp_path / "b", output=output(collision=None, uncertainty="collision")))
    assert policy.infer(observations()).uncertainty == pytest.approx(0.5)


class PartsBackend(SlowBackend):
    """Gives the actions in two outputs, and keeps what it was given."""

    graph = Description(
        {"image": TensorSpec("float32", (1, 2, 3, 6, 8))},
        {"wheels": TensorSpec("float32", (1, HORIZON, None)), "turn": TensorSpec("float32", (1, HORIZON, 1))},
        "cpu",
    )

    def run(self, inputs):
        self.given = inputs["image"].copy()
        return super().run(inputs)


@pytest.fixture
def in_parts(tmp_path):
    """A policy of two pictures and two outputs, and its backend."""
    folder = make_bundle(
        tmp_path / "parts",
        inputs=[image_input(shape=[1, 2, 3, 6, 8])],
        output=output(name=["wheels", "turn"], collision=None),
    )
    clock = FakeClock()
    backend = PartsBackend(clock, wheels=PLAN[..., :1], turn=PLAN[..., 1:])
    return load(folder, clock, backend=backend), backend


def test_several_outputs_are_put_side_by_side(in_parts):
    policy, _ = in_parts
    policy.warm_up()
    actions = policy.infer(observations()).actions
    np.testing.assert_allclose(actions, PLAN[0] * np.float32([0.5, 4]) + np.float32([1, 2]))


def test_outputs_that_do_not_add_up_are_refused_at_warm_up(in_parts):
    policy, backend = in_parts
    backend.outputs["wheels"] = PLAN
    with pytest.raises(BundleRefused, match="gave 3 numbers a step, the manifest names 2"):
        policy.warm_up()


def test_after_a_pause_the_history_begins_anew(in_parts):
    policy, backend = in_parts
    seen = []
    for stamp_s, level in ((1, 0), (1.5, 100), (3, 200), (3.5, 250)):
        policy.infer(observations(round(stamp_s * 1e9), level))
        seen.append(np.round((backend.given[0, :, 0, 0, 0] * 0.25 + 0.5) * 255).tolist())
    assert seen == [[0, 0], [0, 100], [200, 200], [200, 250]]


def test_a_missing_sample_is_named(policy):
    samples = observations()
    del samples["laser"]
    with pytest.raises(ObservationError, match="no sample of laser"):
        policy.infer(samples)


def test_warm_up_gives_the_usual_latency(policy):
    assert 0 < policy.warm_up() < 1


def test_the_first_slow_runs_never_enter_the_latency(with_backend):
    policy = with_backend([50, 9, 0.02, 0.02, 0.03, 0.02, 0.9])
    assert policy.warm_up() == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("outputs", "part"),
    [
        ({"actions": PLAN[:, :3]}, "shape (1, 3, 2)"),
        ({"actions": PLAN.astype(np.float64)}, "float64"),
        ({"actions": PLAN * np.float32(np.nan)}, "'actions': was not finite"),
        ({"collision": np.full((1, 1), -3.0, np.float32)}, "a probability is 0 to 1"),
    ],
)
def test_what_the_model_gives_at_warm_up_must_fit(with_backend, outputs, part):
    with pytest.raises(BundleRefused) as refused:
        with_backend(**outputs).warm_up()
    assert part in str(refused.value)


def test_an_answer_of_another_shape_is_an_error_and_not_a_chunk(with_backend):
    policy = with_backend(actions=PLAN[:, :3])
    with pytest.raises(BackendError, match=r"float32 of shape \(1, 3, 2\), not float32 \(1, 4, 2\)"):
        policy.infer(observations())


def test_a_policy_on_a_server_gets_another_chance_whatever_the_server_gave(with_backend, tmp_path):
    backend = with_backend(actions=PLAN * np.float32(np.nan))._backend
    backend.graph = None
    folder = tmp_path / "remote"
    folder.mkdir()
    write_manifest(
        folder, manifest(backend="openpi", inputs=[image_input(), laser_input()]) | {"model": None}
    )
    policy = load(folder, FakeClock(), backend=backend)
    for attempt in (policy.warm_up, policy.try_out):
        with pytest.raises(ServerLost, match="was not finite"):
            attempt()
    backend.outputs["actions"] = PLAN[:, :3]
    for attempt in (policy.warm_up, policy.try_out, lambda: policy.infer(observations())):
        with pytest.raises(ServerLost, match="not float32"):
            attempt()
    backend.outputs["actions"] = PLAN
    policy.try_out()
    policy.warm_up()


def test_a_backend_whose_package_is_not_there_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(BACKENDS, "openpi", "no_such_package.at_all")
    with pytest.raises(BackendError, match=r"needs the package no_such_package.*pip install vlad\[openpi\]"):
        load_backend("openpi", Model(tmp_path, "float32", ("actions",), 1))


def test_every_difference_between_model_and_manifest_is_reported(tmp_path):
    folder = make_bundle(tmp_path / "b")
    write_model(folder / "model.onnx", np.zeros((1, 7, 2), np.float32), image=[1, 3, 6, 9], extra=[1, 2])
    inputs = [image_input(), instruction_input(), laser_input(name="beams")]
    write_manifest(folder, manifest(inputs=inputs, output=output(collision="risk")))
    with pytest.raises(BundleRefused) as refused:
        load(folder)
    reasons = refused.value.reasons
    for part in (
        "input 'scan' that the manifest does not have",
        "input 'extra' that the manifest does not have",
        "input 'image': has shape (1, 3, 6, 9) in the model, (1, 3, 6, 8)",
        "input 'beams': the model has none",
        "output 'actions': has shape (1, 7, 2) in the model, (1, 4, 2)",
        "output 'risk': the model has none",
    ):
        assert sum(part in reason for reason in reasons) == 1
    assert len(reasons) == 6


def test_another_type_in_the_model_is_refused(with_backend, tmp_path):
    inputs = [image_input(), laser_input(), laser_input(name="tokens", shape=[1, 5])]
    with pytest.raises(BundleRefused, match="'tokens': is int64 in the model, the manifest"):
        load(make_bundle(tmp_path / "b", inputs=inputs))


@pytest.mark.parametrize("content", [b"", b"this is no model"])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    folder = make_bundle(tmp_path / "b")
    (folder / "model.onnx").write_bytes(content)
    write_manifest(folder, manifest())
    with pytest.raises(BundleRefused, match=r"model\.onnx: ONNX Runtime cannot load it"):
        load(folder)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path):
    folder = make_bundle(tmp_path / "b")
    (folder / "tokenizer.json").write_text("{}")
    write_manifest(folder, manifest())
    with pytest.raises(BundleRefused, match="not a file of the tokenizers library"):
        load(folder)


def test_the_backend_describes_the_graph_and_reports_a_failed_run(tmp_path):
    write_model(tmp_path / "model.onnx")
    backend = load_backend("onnx", Model(tmp_path / "model.onnx", "float32", ("actions",), 2))
    graph = backend.describe()
    assert isinstance(graph, Description)
    assert graph.inputs["tokens"].dtype == "int64"
    assert graph.outputs["actions"].shape == (1, HORIZON, 2)
    inputs = {"image": np.zeros((1, 3, 2, 2), np.float32), "scan": np.zeros((1, 4), np.float32)}
    with pytest.raises(BackendError, match=r"model\.onnx: ONNX Runtime got no input 'tokens'"):
        backend.run(inputs)
    with pytest.raises(BackendError, match=r"model\.onnx: ONNX Runtime failed"):
        backend.run(inputs | {"tokens": np.zeros((1, 5), np.int64)})
    backend.close()


def test_the_runtime_reports_to_nobody(tmp_path):
    """ONNX Runtime's telemetry leaves its device id in the home folder as soon as a session is made."""
    folder = make_bundle(tmp_path / "bundle")
    home = tmp_path / "home"
    home.mkdir()
    load = (
        "import sys; from pathlib import Path; from vlad.clock import SystemClock;"
        "from vlad.policy.bundle import load_bundle; from vlad.policy.policy import Policy;"
        "Policy(load_bundle(Path(sys.argv[1])), SystemClock()).warm_up()"
    )
    words = [sys.executable, "-c", load, str(folder)]
    subprocess.run(words, check=True, env={**os.environ, "HOME": str(home), "TMPDIR": str(home)})
    assert list(home.rglob("*")) == []
