"""The camera's part of the calibration check, on pictures that were blurred, dirtied, covered and turned."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlad.maintenance.sensors import camera
from vlad.maintenance.settings_checks import CalibrationCheckSettings
from vlad.messages import CompressedImage, Image

LIMITS = CalibrationCheckSettings()


def scene(seed=0, size=(240, 320)):
    """Something with large and fine detail everywhere, 0 to 255."""
    rng = np.random.default_rng(seed)
    picture = np.full(size, 128.0)
    for sigma, strength in ((40, 40), (8, 25), (1.2, 20)):
        noise = cv2.GaussianBlur(rng.standard_normal(size), (0, 0), sigma)
        picture += strength * (noise - noise.mean()) / noise.std()
    return np.clip(picture, 10, 245)


def frames(picture, count=10, noise=3.0, seed=1):
    rng = np.random.default_rng(seed)
    return [
        np.clip(picture + noise * rng.standard_normal(picture.shape), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


REFERENCE = camera.measure(frames(scene()))


def judged(picture, reference=REFERENCE):
    reading = camera.measure(frames(picture, seed=2))
    return {figure.name: figure for figure in camera.judge("camera", reading, reference, LIMITS)}


def bad(figures):
    return {name for name, figure in figures.items() if figure.state in ("warning", "problem")}


def test_the_same_view_is_well_in_every_respect():
    figures = judged(scene())
    assert {figure.state for figure in figures.values()} == {"ok"}
    assert set(figures) == {"black or white part", "brightness", "view", "sharpness", "contrast"}


def test_without_a_reference_sharpness_is_unknown_with_how_to_get_one():
    figures = judged(scene(), reference=None)
    assert figures["sharpness"].state == "unknown"
    assert "--reference" in figures["sharpness"].mend


@pytest.mark.parametrize("sigma", [1.5, 3.0, 6.0])
def test_a_lens_out_of_focus_is_found_and_is_not_taken_for_dirt(sigma):
    figures = judged(cv2.GaussianBlur(scene(), (0, 0), sigma))
    assert "sharpness" in bad(figures)
    assert not any(name.startswith("detail") for name in figures)


def test_dirt_on_a_part_of_the_lens_is_found_where_it_is():
    dirty = scene()
    dirty[:80, :80] = cv2.GaussianBlur(dirty, (0, 0), 8)[:80, :80]
    figures = judged(dirty)
    assert bad(figures) == {"detail top far left"}
    assert "clean" in figures["detail top far left"].mend


def test_a_veil_of_fog_is_found_by_its_contrast():
    assert "contrast" in bad(judged(160 + 0.3 * (scene() - 128)))


@pytest.mark.parametrize("level", [0.0, 128.0, 255.0])
def test_a_covered_camera_is_a_problem_with_or_without_a_reference(level):
    for reference in (None, REFERENCE):
        figures = judged(np.full((240, 320), level), reference)
        assert [figure.state for figure in figures.values()] == ["problem"]
        assert "covered" in figures["contrast"].mend


@pytest.mark.parametrize("shift", [90.0, -90.0])
def test_a_picture_that_is_far_too_bright_or_dark_is_found(shift):
    assert bad(judged(np.clip(scene() + shift, 0, 255))) & {"brightness", "black or white part"}


@pytest.mark.parametrize("picture", [scene(seed=5), scene()[:, ::-1].copy(), scene()[::-1].copy()])
def test_a_camera_that_looks_elsewhere_is_told_and_its_sharpness_is_not_judged(picture):
    figures = judged(picture)
    assert bad(figures) == {"view"}
    assert "sharpness" not in figures


def test_another_resolution_than_the_references_is_unknown():
    assert judged(scene(size=(120, 160)))["sharpness"].state == "unknown"


@given(st.floats(0.7, 1.3), st.integers(0, 50))
def test_a_little_more_or_less_light_is_no_news(gain, seed):
    picture = scene(seed % 4, (120, 160))
    reference = camera.measure(frames(picture, seed=seed))
    lit = np.clip(128 + gain * (picture - 128), 6, 249)
    assert bad(judged(lit, reference)) <= {"black or white part"}


def test_every_kind_of_photograph_becomes_grey_and_depth_does_not():
    colour = np.zeros((4, 6, 3), np.uint8)
    colour[..., 0] = 200
    red, blue = camera.grey(Image("rgb8", colour)), camera.grey(Image("bgr8", colour))
    assert red.shape == blue.shape == (4, 6)
    assert red[0, 0] > blue[0, 0]
    assert camera.grey(Image("mono8", colour[..., 0]))[0, 0] == 200
    assert camera.grey(Image("16UC1", np.zeros((4, 6), np.uint16))) is None
    jpeg = cv2.imencode(".jpg", colour)[1].tobytes()
    assert camera.grey(CompressedImage("jpeg", memoryview(jpeg))).shape == (4, 6)
    assert camera.grey(CompressedImage("jpeg", memoryview(jpeg[:40]))) is None
