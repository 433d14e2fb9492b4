"""A calibration is for one bundle, and for no other."""

import pytest

from tests.policy.bundles import make_bundle, output
from vlad.policy.bundle import BundleRefused, load_bundle
from vlad.policy.calibration import (
    Calibration,
    calibration_path,
    manifest_sha256,
    read_calibration,
    write_calibration,
)


@pytest.fixture
def bundle(tmp_path):
    return load_bundle(make_bundle(tmp_path / "models" / "tiny" / "1"))


def made_for(bundle, **changes):
    return Calibration.model_validate({
        "bundle": str(bundle), "manifest_sha256": manifest_sha256(bundle), "episodes": 99, "rate_hz": 30.0,
        "alpha_slow": 0.1, "alpha_stop": 0.01, "measures": {"disagreement": {"slow": 0.25, "stop": 0.5}},
    } | changes)  # fmt: skip


def test_what_was_written_is_read(tmp_path, bundle):
    path = write_calibration(tmp_path / "state", bundle, made_for(bundle))
    assert path == tmp_path / "state" / "calibration" / "tiny" / "1.toml"
    found = read_calibration(tmp_path / "state", bundle)
    assert found == made_for(bundle)
    assert found.limits() == {"disagreement": (0.25, 0.5)}


def test_without_a_file_there_is_none(tmp_path, bundle):
    assert read_calibration(tmp_path / "state", bundle) is None


def test_one_for_another_bundle_of_the_same_name_is_refused(tmp_path, bundle):
    write_calibration(tmp_path / "state", bundle, made_for(bundle))
    other = load_bundle(make_bundle(tmp_path / "other", output=output(horizon=4, mean=[0.0, 0.0])))
    with pytest.raises(
        BundleRefused, match=r"1.toml: was made for another bundle.*tools/calibrate.*remove the"
    ):
        read_calibration(tmp_path / "state", other)


@pytest.mark.parametrize(("text", "said"), [
    ("schema = ", "cannot be read"),
    (b"\xff\xfe", "cannot be read"),
    ("schema = 1", "is no calibration (bundle: Field required"),
    ("schema = 2", "is no calibration (schema: "),
    ("colour = 1", "colour: Extra inputs"),
])  # fmt: skip
def test_a_file_that_is_none_is_refused_with_what_to_do(tmp_path, bundle, text, said):
    path = calibration_path(tmp_path, bundle)
    path.parent.mkdir(parents=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BundleRefused) as refused:
        read_calibration(tmp_path, bundle)
    (reason,) = refused.value.reasons
    assert said in reason
    assert "run `tools/calibrate`" in reason


@pytest.mark.parametrize("limits", [
    {"slow": 0.5, "stop": 0.4}, {"slow": -0.1, "stop": 0.4}, {"slow": 0.1, "stop": float("inf")},
    {"slow": float("nan"), "stop": 0.4}, {"slow": 0.1},
])  # fmt: skip
def test_limits_that_make_no_sense_are_refused(bundle, limits):
    with pytest.raises(ValueError, match="validation error"):
        made_for(bundle, measures={"disagreement": limits})
