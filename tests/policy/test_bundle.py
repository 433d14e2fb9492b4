import shutil
import tomllib

import numpy as np
import pytest

from tests.policy.bundles import (
    ROBOT,
    SIGNALS,
    image_input,
    instruction_input,
    laser_input,
    make_bundle,
    manifest,
    output,
)
from vlad.config import SignalSettings
from vlad.policy.bundle import BundleRefused, find_bundles, load_bundle, read_bundle, write_manifest
from vlad.policy.toml import plain, write_toml
from vlad.robot import Robot

CLOUD = {"name": "voxels", "kind": "point_cloud", "signal": "lidar", "shape": [1, 2, 3, 4], "low": [0, 0, 0],
         "high": [1, 1, 1]}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return make_bundle(tmp_path / "tiny" / "1")


def reasons_of(*args):
    with pytest.raises(BundleRefused) as refused:
        load_bundle(*args)
    return refused.value.reasons


def rewrite(folder, *changes):
    """Change the text of policy.toml itself, as a careless hand would."""
    path = folder / "policy.toml"
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def test_a_written_bundle_is_accepted_for_its_robot_and_signals(folder):
    bundle = load_bundle(folder, ROBOT, SIGNALS)
    assert (bundle.name, bundle.version, str(bundle)) == ("tiny", "1", "tiny/1")
    assert bundle.model == folder / "model.onnx"
    assert set(bundle.manifest.files) == {"model.onnx", "tokenizer.json"}


def test_numpy_values_and_nested_provenance_come_back_from_the_manifest(tmp_path):
    made = {"error": np.float32(0.5), "runs": [{"seed": 1}, {"seed": 2, "by": {'ü "\n\x7f': True}}], "n": []}
    folder = make_bundle(tmp_path / "b", inputs=[image_input(mean=np.full(3, 0.5))], provenance=made)
    assert load_bundle(folder).manifest.provenance == plain(made)


def test_toml_without_a_form_for_a_value_names_the_key():
    with pytest.raises(TypeError, match=r"provenance\.parent"):
        write_toml({"provenance": {"parent": object()}})


def test_toml_of_awkward_values_reads_back():
    assert write_toml({"a": None, "b": 1}) == "b = 1\n"
    values = {"a.b": 1e-05, "big": 1e22, "neg": -0.0, "t": {"": "\\ '", "x": [1, [2.5, "\u2028"]]}}
    assert tomllib.loads(write_toml(values)) == values


def test_changed_missing_and_unlisted_files_are_all_reported(folder):
    (folder / "model.onnx").write_bytes(b"other")
    (folder / "tokenizer.json").unlink()
    (folder / "notes.txt").write_text("")
    reasons = reasons_of(folder)
    assert len(reasons) == 3
    assert any("notes.txt: is not listed" in reason for reason in reasons)
    assert any("model.onnx: was changed" in reason for reason in reasons)
    assert any("tokenizer.json: is missing" in reason for reason in reasons)


@pytest.mark.parametrize("name", ["../outside.bin", "/etc/hostname", "link.bin"])
def test_a_file_outside_the_folder_is_refused(folder, name):
    (folder.parent / "outside.bin").write_bytes(b"x")
    if name == "link.bin":
        (folder / name).symlink_to(folder.parent / "outside.bin")
    rewrite(folder, ("[files]", f'[files]\n"{name}" = "{"0" * 64}"'))
    assert any("leads out of the bundle's folder" in reason for reason in reasons_of(folder))


def test_a_link_to_a_folder_does_not_hide_files(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    assert any("more: is not listed" in reason for reason in reasons_of(folder))


def test_everything_wrong_with_robot_and_signals_is_reported_at_once(folder):
    arm = Robot.model_validate({
        "name": "arm", "type": "arm", "command": "joint_position", "feedback": "joints",
        "axes": {name: {"velocity": 1, "acceleration": 1, "lower": -1, "upper": 1}
                 for name in ("linear_x", "elbow")},
    })  # fmt: skip
    signals = {"camera": SignalSettings(type="imu"), "instruction": SignalSettings(type="instruction")}
    text = "\n".join(reasons_of(folder, arm, signals))
    for part in ("made for 'rover'", "the robot takes joint_position", "not an axis of the robot: angular_z",
                 "does not command: elbow", "'camera' is a imu", "no signal 'laser'"):  # fmt: skip
        assert part in text


def test_axes_in_another_order_are_refused(folder):
    swapped = ROBOT.model_copy(update={"axes": dict(reversed(ROBOT.axes.items()))})
    (reason,) = reasons_of(folder, swapped)
    assert "number 0 is 'linear_x', the robot has 'angular_z'" in reason


@pytest.mark.parametrize("backend", ["onnx", "openpi", "groot", "groot-n1.5", "kserve"])
def test_a_picture_is_made_a_file_for_those_alone_who_read_files(folder, backend):
    image = image_input(encode="jpeg", dtype="uint8", shape=[1, 6, 8, 3], mean=[], std=[])
    write_manifest(folder, manifest(backend=backend, inputs=[image]))
    if backend == "kserve":
        load_bundle(folder)
        return
    (reason,) = reasons_of(folder)
    assert f"input 'image': encode: models of the backend {backend} take pictures as arrays" in reason


def test_a_mistake_in_the_manifest_hides_none_in_the_files_robot_or_signals(folder):
    (folder / "model.onnx").write_bytes(b"other")
    rewrite(folder, ('precision = "float32"', 'precision = "float7"\noops = 1'), ('"onnx"', '"abacus"'))
    wrong = ROBOT.model_copy(update={"type": "arm"})
    text = "\n".join(reasons_of(folder, wrong, {}))
    for part in ("precision", "oops: unknown key", "'abacus' is unknown", "was changed", "made for 'rover'",
                 "no signal 'laser'"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"inputs": [image_input(mean=[0.5])]}, "mean has 1 numbers; it must have 3"),
        ({"inputs": [image_input(std=[0.2, 0, 0.2])]}, "above zero"),
        ({"inputs": [image_input(std=[0.2, float("nan"), 0.2])]}, "std has a number that is not finite"),
        ({"inputs": [image_input(shape=[1, 1, 6, 8])]}, "shape is [1, 1, 6, 8]; a float32 image has [1, 3, "),
        ({"inputs": [image_input(shape=[2, 3, 6, 8])]}, "shape is [2, 3, 6, 8]"),
        ({"inputs": [image_input(shape=[1, 3, 6])]}, "shape is [1, 3, 6]"),
        ({"inputs": [image_input(dtype="uint8", shape=[1, 6, 8, 3])]}, "a uint8 image is not normalised"),
        ({"inputs": [image_input(encode="jpeg")]}, "encode is for a single uint8 picture"),
        ({"inputs": [image_input(quality=80)]}, 'quality is for encode = "jpeg"'),
        ({"inputs": [image_input(q01=[0.0] * 3, q99=[1.0] * 3)]}, "has quantiles beside mean and std"),
        ({"inputs": [image_input(crop=[0.5, 0.0, 0.5, 1.0])]}, "crop is [0.5, 0.0, 0.5, 1.0]"),
        ({"inputs": [laser_input(angles=[1.0, 1.0])]}, "angles is [1.0, 1.0]"),
        ({"inputs": [laser_input(mean=[], std=[], q01=[1.0], q99=[1.0])]}, "q99 is not above q01"),
        ({"inputs": [laser_input(mean=[], std=[], q01=[1.0])]}, "q99 has 0 numbers; it must have 1 or 4"),
        ({"inputs": [instruction_input(shape=[1])]}, "shape is missing"),
        ({"inputs": [instruction_input(tokenizer="")]}, "tokenizer"),
        ({"inputs": [CLOUD | {"low": [0, 1, 0]}]}, "must be below high"),
        ({"inputs": [laser_input(mean=[1.0, 2.0])]}, "it must have 1 or 4"),
        ({"inputs": [laser_input(range_max_m=0)]}, "range_max_m"),
        ({"inputs": [image_input(), image_input()]}, "names image more than once"),
        ({"inputs": [image_input(kind="sonar")]}, "sonar"),
        ({"inputs": []}, "inputs"),
        ({"output": output(names=["a", "b"])}, "a twist has"),
        ({"output": output(horizon=0)}, "horizon"),
        ({"output": output(std=[1.0])}, "std has 1 numbers; it must have 2"),
        ({"output": output(collision="actions")}, "actions more than once"),
        ({"model": "missing.onnx"}, "'missing.onnx' is not listed"),
        ({"version": "../2"}, "version"),
        ({"expected_latency_s": -1}, "expected_latency_s"),
    ],
)
def test_nonsense_is_refused_before_it_is_written(tmp_path, change, part):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "model.onnx").write_bytes(b"x")
    (tmp_path / "b" / "tokenizer.json").write_bytes(b"x")
    with pytest.raises(BundleRefused) as refused:
        write_manifest(tmp_path / "b", manifest(**change))
    assert part in str(refused.value)
    assert not (tmp_path / "b" / "policy.toml").exists()


def test_a_model_that_runs_here_needs_its_file_named(folder):
    rewrite(folder, ('model = "model.onnx"', ""))
    assert reasons_of(folder) == [f"{folder / 'policy.toml'}: model: is missing; name the model's file"]


def test_joints_and_fields_must_fit_the_shape(tmp_path):
    joints = {"name": "s", "kind": "joint_state", "signal": "joints", "field": "position", "shape": [1, 3],
              "joints": ["a", "a"], "mean": [0, 0], "std": [1, 1]}  # fmt: skip
    speeds = {"name": "o", "kind": "odometry", "signal": "odometry", "fields": ["linear_x"], "shape": [1, 2],
              "mean": [0], "std": [1]}  # fmt: skip
    with pytest.raises(BundleRefused) as refused:
        make_bundle(tmp_path / "b", inputs=[joints, speeds])
    for part in ("shape says 3 joints", "joints names a more", "shape says 2 numbers, fields lists 1"):
        assert part in str(refused.value)


def test_a_newer_schema_is_refused_with_what_to_do(folder):
    rewrite(folder, ("schema = 1", "schema = 2"))
    (reason,) = reasons_of(folder)
    assert "2 is newer than the 1" in reason
    assert "update vlad" in reason


def test_a_folder_without_a_manifest_and_broken_toml_are_refused(tmp_path):
    assert "cannot be read" in reasons_of(tmp_path)[0]
    (tmp_path / "policy.toml").write_text("= 3")
    assert "not valid TOML" in reasons_of(tmp_path)[0]


def test_an_installed_bundle_whose_manifest_cannot_be_read_is_asked_for_by_its_folder(folder, tmp_path):
    newer = tmp_path / "tiny" / "9"
    shutil.copytree(folder, newer)
    rewrite(newer, ("schema = 1", "schema = 2"))
    with pytest.raises(BundleRefused, match="2 is newer than the 1"):
        read_bundle([folder, newer], "tiny", "9")
    assert read_bundle([newer, folder], "tiny", "1")["folder"] == str(folder)
    with pytest.raises(BundleRefused, match="no bundle tiny 8 is installed"):
        read_bundle([newer, folder], "tiny", "8")


def test_installed_bundles_are_listed_with_the_reasons_against_them(folder, tmp_path):
    broken = tmp_path / "tiny" / "2"
    shutil.copytree(folder, broken)
    (broken / "model.onnx").write_bytes(b"other")
    rows = find_bundles(tmp_path, {folder: "running"}, ROBOT, SIGNALS)
    assert [(row["name"], row["version"], row["running"], len(row["refused"])) for row in rows] == [
        ("tiny", "1", True, 0),
        ("tiny", "2", False, 1),
    ]
