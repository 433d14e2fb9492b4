"""Which resolution runs: it never flaps, and it settles on the largest that keeps time."""

import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.bundles import (
    ROBOT,
    SIGNALS,
    manifest,
    write_model,
    write_tokenizer,
)
from tests.policy.test_seat import seat
from vlad.clock import NS_PER_S
from vlad.policy.bundle import BundleRefused, load_bundle, write_manifest
from vlad.policy.resolution import HOLD_S, MARGIN, SLOW_RUNS, Resolution

__all__ = ["seat"]

USUAL_S = (0.04, 0.02, 0.005)
loads = st.lists(st.tuples(st.floats(0.1, 20), st.integers(1, 400)), max_size=12)


def drive(resolution, load, runs, now_s=0.0, rate_hz=20):
    """Run with the computer so loaded; the times and levels of all changes."""
    changes = []
    for _ in range(runs):
        took_s = USUAL_S[resolution.at] * load
        now_s += max(took_s, 1 / rate_hz)
        before = resolution.at
        resolution.ran(took_s, round(now_s * NS_PER_S))
        if resolution.at != before:
            changes.append((now_s, before, resolution.at))
    return now_s, changes


@given(loads, st.floats(0.005, 0.2))
def test_after_a_change_it_does_not_go_up_for_seconds_and_never_skips_one(phases, target_s):
    resolution, now_s, changes = Resolution(USUAL_S, target_s), 0.0, []
    for load, runs in phases:
        now_s, new = drive(resolution, load, runs, now_s)
        changes += new
    for (before_s, *_), (after_s, at, to) in itertools.pairwise(changes):
        assert abs(at - to) == 1
        assert to > at or after_s - before_s > HOLD_S - 1e-6
    assert bool(resolution.why) == (resolution.at > 0)


@given(st.floats(0.1, 20), st.floats(0.005, 0.2))
def test_with_the_same_load_all_the_time_it_settles_on_the_largest_that_keeps_time(load, target_s):
    resolution = Resolution(USUAL_S, target_s)
    now_s, _ = drive(resolution, load, 2_000)
    assert drive(resolution, load, 2_000, now_s)[1] == []
    at = resolution.at
    assert USUAL_S[at] * load <= target_s or at == len(USUAL_S) - 1
    if at:
        assert USUAL_S[at - 1] * load > 0.999 * MARGIN * target_s


@given(st.lists(st.booleans(), max_size=60))
def test_only_so_many_slow_ones_in_a_row_lead_to_the_next_smaller_one(slow):
    resolution, row = Resolution(USUAL_S, 0.05), 0
    for number, is_slow in enumerate(slow):
        before = resolution.at
        resolution.ran(0.06 if is_slow else 0.05, number)
        row = row + 1 if is_slow else 0
        assert (resolution.at > before) == (row == SLOW_RUNS and before < 2)
        row %= SLOW_RUNS


def test_a_larger_one_that_must_be_taken_back_soon_is_tried_again_after_a_longer_and_longer_time():
    resolution, now_s, ups = Resolution((0.04, 0.02), 0.05), 0.0, []
    for _ in range(12_000):
        # The computer is busy only with the larger one: nothing tells beforehand that it will be too slow.
        took_s = 0.09 if resolution.at == 0 else 0.02
        now_s, before = now_s + 0.05, resolution.at
        resolution.ran(took_s, round(now_s * NS_PER_S))
        if resolution.at < before:
            ups.append(now_s)
    waits = np.diff(ups)
    assert waits[0] >= 2 * HOLD_S
    assert waits[-1] >= 16 * HOLD_S


def test_it_begins_with_the_largest_that_was_quick_enough_when_it_was_loaded():
    assert Resolution(USUAL_S, 0.05).at == 0
    resolution = Resolution(USUAL_S, 0.03)
    assert (resolution.at, resolution.why) == (1, "the next larger one took 40 ms, and may take 30 ms")
    assert Resolution(USUAL_S, 0.001).at == 2


def test_where_memory_is_short_only_the_smallest_runs():
    resolution = Resolution(USUAL_S, 0.05)
    resolution.lower(0, "memory is short")
    assert drive(resolution, 0.01, 1_000)[1] == []
    assert (resolution.at, resolution.why) == (2, "memory is short")


def variant(height, width, model="small.onnx"):
    return {"model": model, "shapes": {"image": [1, 3, height, width]}}


def sized_bundle(folder, variants, **changes):
    """tiny/1, whose large model says 0.25 m/s and whose small one, of half the size, 0.5 m/s."""
    folder.mkdir(parents=True)
    for name, size, speed in (("model.onnx", (6, 8), 0.25), ("small.onnx", (3, 4), 0.5)):
        plan = np.full((1, 4, 2), (speed - 1.0) / 0.5 + 2, np.float32)
        plan[..., 1] = 1.5
        write_model(folder / name, plan, image=[1, 3, *size])
    write_tokenizer(folder / "tokenizer.json")
    write_manifest(folder, manifest(variants=variants, **changes))
    return folder


async def test_a_model_that_gets_slow_runs_smaller_and_larger_again_once_there_is_time(
    seat, tmp_path, monkeypatch
):
    monkeypatch.setattr("vlad.policy.resolution.HOLD_S", 0.1)
    rig = seat(rate_hz=20.0)
    rig.sit(sized_bundle(tmp_path / "tiny" / "1", [variant(3, 4)]))
    loop = rig.seat.loop
    large = loop.policy
    assert [policy.bundle.manifest.resolution for policy in large.resolutions] == ["8x6", "4x3"]
    await rig.follows(0.25)
    infer, slow = large.infer, threading.Event()
    slow.set()

    def slowly(samples, prefix):
        if slow.is_set():
            time.sleep(0.07)
        return infer(samples, prefix)

    monkeypatch.setattr(large, "infer", slowly)
    await rig.follows(0.5)
    report = loop.report()
    assert (report["resolution"], report["resolutions"]) == ("4x3", ["8x6", "4x3"])
    assert "may take 50 ms" in report["resolution_why"]
    slow.clear()
    monkeypatch.setattr(loop._resolution, "_hold_s", 0.1)
    await rig.follows(0.25)
    assert loop.report()["resolution_why"] == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"variants": [variant(3, 4, "none.onnx")]}, "'none.onnx' is not listed in [files]"),
        ({"variants": [variant(6, 8)]}, "variant small.onnx: is not smaller than the one before"),
        ({"variants": [variant(3, 4), variant(3, 4)]}, "is not smaller than the one before"),
        (
            {"variants": [{"model": "small.onnx", "shapes": {"scan": [1, 2]}}]},
            "'scan' is no image of [[inputs]]",
        ),
        (
            {"variants": [{"model": "small.onnx", "shapes": {"image": [1, 1, 3, 4]}}]},
            "'image' is [1, 1, 3, 4]; only height and width may differ from [1, 3, 6, 8]",
        ),
        (
            {"variants": [{"model": "small.onnx", "shapes": {"image": [3, 4]}}]},
            "only height and width may differ",
        ),
    ],
)
def test_variants_that_do_not_fit_are_refused_with_what_is_wrong(tmp_path, changes, reason):
    with pytest.raises(BundleRefused) as refused:
        sized_bundle(tmp_path / "tiny" / "1", **changes)
    assert reason in str(refused.value)


def test_variants_and_encoders_do_not_go_together(tmp_path):
    encoder = {"model": "model.onnx", "inputs": ["scan"], "outputs": ["other"]}
    with pytest.raises(BundleRefused, match="variants need a model of the bundle's own, without encoders"):
        sized_bundle(tmp_path / "tiny" / "1", [variant(3, 4)], encoders=[encoder])


def test_a_variant_whose_file_was_changed_is_refused(tmp_path):
    folder = sized_bundle(tmp_path / "tiny" / "1", [variant(3, 4)])
    (folder / "small.onnx").write_bytes(b"changed")
    with pytest.raises(BundleRefused, match=r"small.onnx: was changed"):
        load_bundle(folder, ROBOT, SIGNALS)


async def test_a_variant_that_takes_another_shape_than_it_says_is_refused(seat, tmp_path):
    rig = seat()
    folder = sized_bundle(tmp_path / "tiny" / "1", [variant(2, 2)])
    with pytest.raises(BundleRefused, match=r"input 'image': has shape \(1, 3, 3, 4\) in the model"):
        await rig.seat.activate(folder)
