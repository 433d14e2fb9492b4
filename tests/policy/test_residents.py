"""Which policies stay loaded, and that they need not be loaded again."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.test_seat import bundle, refusal, seat
from vlad.policy.backends import BackendError
from vlad.policy.bundle import load_bundle
from vlad.policy.calibration import Calibration, manifest_sha256, write_calibration
from vlad.policy.residents import Residents

__all__ = ["seat"]


def policy(name, memory_mb):
    return SimpleNamespace(bundle=SimpleNamespace(folder=Path("/models") / name), memory_mb=memory_mb)


sizes = st.integers(1, 60)


@given(st.integers(0, 100), st.lists(st.tuples(st.sampled_from("abcdef"), sizes, sizes), max_size=30))
def test_all_fit_into_the_budget_with_what_runs_and_those_used_last_stay(budget_mb, uses):
    residents, order = Residents(budget_mb), []
    for name, memory_mb, running_mb in uses:
        one = residents.take(Path("/models") / name) or policy(name, memory_mb)
        order = [known for known in order if known is not one] + [one]
        gone = residents.keep(one, running_mb)
        kept = list(residents.policies)
        assert not kept or running_mb + sum(known.memory_mb for known in kept) <= budget_mb
        assert order == gone + kept, "the longest unused go first"
        if gone:
            assert running_mb + gone[-1].memory_mb + sum(known.memory_mb for known in kept) > budget_mb
        order = kept


@pytest.fixture
def opened(monkeypatch):
    """The bundles that were loaded, in order."""
    from vlad.policy import opening as module

    names, open_policy = [], module.open_policy

    def noting(found, *rest, **named):
        names.append(str(found))
        return open_policy(found, *rest, **named)

    monkeypatch.setattr(module, "open_policy", noting)
    return names


async def test_a_bundle_that_drove_before_drives_again_without_being_loaded(seat, tmp_path, opened):
    rig = seat()
    first = bundle(tmp_path, "1", 0.25)
    await rig.seat.activate(first)
    await rig.seat.activate(bundle(tmp_path, "2", 0.5))
    assert rig.seat.loaded() == {
        first: "resident", tmp_path / "models" / "tiny" / "2": "running",
    }  # fmt: skip
    rig.armed = True
    assert (await rig.seat.activate(first)).chunks >= 10, "it is tried all the same"
    await rig.follows(0.25)
    assert opened == ["tiny/1", "tiny/2"]
    assert rig.seat.loaded()[first] == "running"


async def test_without_a_budget_nothing_stays_loaded(seat, tmp_path, opened):
    rig = seat(resident_mb=0)
    first = bundle(tmp_path, "1", 0.25)
    await rig.seat.activate(first)
    await rig.seat.activate(bundle(tmp_path, "2", 0.5))
    assert rig.seat.residents.policies == []
    await rig.seat.activate(first)
    assert opened == ["tiny/1", "tiny/2", "tiny/1"]


async def test_another_bundle_in_the_same_folder_is_loaded_anew(seat, tmp_path, opened):
    rig = seat()
    first = bundle(tmp_path, "1", 0.75)
    await rig.seat.activate(first)
    await rig.seat.activate(bundle(tmp_path, "2", 0.25))
    for path in first.iterdir():
        path.unlink()
    first.rmdir()
    bundle(tmp_path, "1", 0.5)
    await rig.seat.activate(first)
    await rig.follows(0.5)
    assert opened == ["tiny/1", "tiny/2", "tiny/1"]


async def test_a_resident_is_loaded_anew_with_what_was_calibrated_for_it_since(seat, tmp_path, opened):
    rig = seat()
    rig.settings = rig.seat._settings = rig.settings.model_copy(
        update={"paths": rig.settings.paths.model_copy(update={"state_dir": tmp_path / "state"})}
    )
    first = bundle(tmp_path, "1", 0.25)
    await rig.seat.activate(first)
    await rig.seat.activate(bundle(tmp_path, "2", 0.5))
    found = load_bundle(first)
    calibration = Calibration(
        bundle="tiny/1", manifest_sha256=manifest_sha256(found), episodes=99, rate_hz=200.0,
        alpha_slow=0.1, alpha_stop=0.01, measures={},
    )  # fmt: skip
    write_calibration(tmp_path / "state", found, calibration)
    await rig.seat.activate(first)
    assert opened == ["tiny/1", "tiny/2", "tiny/1"]
    assert rig.seat.loop.policy.confidence.calibration == calibration


async def test_a_resident_whose_manifest_is_gone_is_refused(seat, tmp_path):
    rig = seat()
    first = bundle(tmp_path, "1", 0.5)
    await rig.seat.activate(first)
    await rig.seat.activate(bundle(tmp_path, "2", 0.25))
    (first / "policy.toml").unlink()
    assert "cannot be read" in await refusal(rig, first)


async def test_a_bundle_that_drives_in_its_own_place_or_was_lost_is_not_kept(seat, tmp_path):
    rig = seat()
    first = bundle(tmp_path, "1", 0.25)
    await rig.seat.activate(first)
    await rig.seat.activate(first)
    assert rig.seat.residents.policies == []
    rig.seat.loop.lost = f"{BackendError('gone')}"
    await rig.seat.activate(bundle(tmp_path, "2", 0.5))
    assert rig.seat.residents.policies == []
