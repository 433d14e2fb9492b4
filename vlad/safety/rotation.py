"""Unit quaternions (x, y, z, w): turning an orientation, and vectors with it."""

from __future__ import annotations

from math import cos, hypot, sin

from vlad.messages import Quaternion, Vector3


def turn(orientation: Quaternion, angular: Vector3, dt_s: float) -> Quaternion:
    """An orientation (xyzw) after turning at `angular` [rad/s] in its own frame: q exp(w dt / 2)."""
    rate = hypot(*angular)
    if rate == 0:
        return orientation
    half = rate * dt_s / 2
    wx, wy, wz = (part / rate * sin(half) for part in angular)
    ww = cos(half)
    x, y, z, w = orientation
    return (
        w * wx + x * ww + y * wz - z * wy,
        w * wy - x * wz + y * ww + z * wx,
        w * wz + x * wy - y * wx + z * ww,
        w * ww - x * wx - y * wy - z * wz,
    )


def rotate(orientation: Quaternion, vector: Vector3) -> Vector3:
    """A vector of the body's frame in the frame that the orientation is given in: v + 2 u x (u x v + w v)."""
    x, y, z, w = orientation
    vx, vy, vz = vector
    cx, cy, cz = y * vz - z * vy + w * vx, z * vx - x * vz + w * vy, x * vy - y * vx + w * vz
    return vx + 2 * (y * cz - z * cy), vy + 2 * (z * cx - x * cz), vz + 2 * (x * cy - y * cx)
