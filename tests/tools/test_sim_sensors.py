"""Camera and laser: what they see is where it is."""

import math

import numpy as np
import pytest

from tools.sim.rover import Rover
from tools.sim.sensors import CAMERA_RAD_PER_PIXEL, LASER_RANGE_MAX_M, Camera, Laser
from tools.sim.world import Thing, World


def room(*targets: Thing, size: float = 6.0) -> World:
    return World(0, size, size, targets, (), (0.0, 0.0, 0.0), 0.5, 0.7, 0.0)


def ball(x: float, y: float, colour: str = "red") -> Thing:
    return Thing("ball", colour, x, y, 0.0, 0.2, 0.2, 0.4)


def test_beam_180_looks_ahead_and_beam_270_to_the_left() -> None:
    rover = Rover(room(size=4.0), pose=(1.0, 0.5, 0.0))
    ranges = Laser(rover).ranges()
    assert ranges.shape == (360,)
    assert ranges[[180, 270, 0, 90]] == pytest.approx([1.0, 1.5, 3.0, 2.5], abs=0.01)


def test_nothing_within_range_is_infinite() -> None:
    ranges = Laser(Rover(room(size=30.0))).ranges()
    assert LASER_RANGE_MAX_M < 15.0
    assert np.isinf(ranges).all()


def test_a_red_ball_to_the_left_is_red_and_left_in_the_picture() -> None:
    bearing = 0.5
    rover = Rover(room(ball(2 * math.cos(bearing), 2 * math.sin(bearing))))
    image = Camera(rover).image().astype(int)
    assert image.shape == (120, 160, 3)
    red = (image[..., 0] > 90) & (image[..., 1] < 60)
    assert np.nonzero(red)[1].mean() == pytest.approx(80 - bearing / CAMERA_RAD_PER_PIXEL, abs=2)


def test_labels_name_the_geom_of_each_pixel() -> None:
    rover = Rover(room(ball(1.5, 0.0)))
    camera = Camera(rover)
    camera.image()
    assert camera.labels()[60, 80] in (rover.model.geom("target_0").id, rover.model.geom("floor").id)
    assert (camera.labels() == rover.model.geom("target_0").id).any()
    assert (camera.labels() == -1).any()


def test_noise_is_seeded() -> None:
    rover = Rover(room(ball(1.5, 0.3)))
    first, again, other = (Camera(rover, noise=4.0, seed=seed).image() for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    scans = [Laser(rover, noise_m=0.02, seed=seed).ranges() for seed in (1, 1, 2)]
    assert np.array_equal(scans[0], scans[1])
    assert not np.array_equal(scans[0], scans[2])


def test_the_sensors_do_not_see_the_rover_itself() -> None:
    rover = Rover(room())
    assert Laser(rover).ranges().min() > 2.9
    camera = Camera(rover)
    camera.image()
    seen = {rover.model.geom(int(geom)).name for geom in np.unique(camera.labels()) if geom >= 0}
    assert all(name == "floor" or name.startswith("wall_") for name in seen)
