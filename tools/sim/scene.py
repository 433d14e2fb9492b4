"""The MuJoCo model of a world with the rover in it.

Geom groups: 0 the room, 1 targets and obstacles, 3 the rover (its own sensors do not see it).
"""

from __future__ import annotations

import math

import mujoco

from tools.sim.world import ROBOT_RADIUS_M, Thing, World

WHEEL_RADIUS_M = 0.07
WHEEL_TRACK_M = 0.26
CAMERA_HEIGHT_M = 0.5
CAMERA_PITCH_RAD = 0.45
LASER_HEIGHT_M = 0.12
TIMESTEP_S = 0.005
ROOM_GROUP, THING_GROUP, ROVER_GROUP = 0, 1, 3
WALL_HEIGHT_M = 0.9

RGB = {
    "red": (0.82, 0.13, 0.12),
    "green": (0.12, 0.62, 0.22),
    "blue": (0.14, 0.28, 0.82),
    "yellow": (0.9, 0.76, 0.12),
    "grey": (0.36, 0.36, 0.38),
}

_MAST_HALF_M = (CAMERA_HEIGHT_M - 0.18) / 2

_ROVER = f"""
<body name="rover" pos="{{x}} {{y}} {WHEEL_RADIUS_M}" euler="0 0 {{yaw}}">
  <freejoint name="base"/>
  <site name="imu"/>
  <geom name="shell" type="cylinder" size="{ROBOT_RADIUS_M} 0.06" pos="0 0 0.05" mass="8" friction="0.2"/>
  <geom type="cylinder" size="0.015 {_MAST_HALF_M}" pos="0 0 {_MAST_HALF_M + 0.11}"
        mass="0.3" contype="0" conaffinity="0"/>
  <geom type="sphere" size="0.03" pos="0.13 0 -0.04" mass="0.1" condim="1" priority="1"/>
  <geom type="sphere" size="0.03" pos="-0.13 0 -0.04" mass="0.1" condim="1" priority="1"/>
  <body pos="0 {WHEEL_TRACK_M / 2} 0">
    <joint name="left_wheel" axis="0 1 0" armature="0.002"/>
    <geom class="wheel"/>
  </body>
  <body pos="0 {-WHEEL_TRACK_M / 2} 0">
    <joint name="right_wheel" axis="0 1 0" armature="0.002"/>
    <geom class="wheel"/>
  </body>
</body>
"""

_MOTORS_AND_IMU = """
<actuator>
  <velocity joint="left_wheel" kv="0.6" forcerange="-2 2"/>
  <velocity joint="right_wheel" kv="0.6" forcerange="-2 2"/>
</actuator>
<sensor>
  <framequat objtype="site" objname="imu"/>
  <gyro site="imu"/>
  <accelerometer site="imu"/>
</sensor>
"""


def build(world: World) -> mujoco.MjModel:
    """The compiled model: geoms named "floor", "wall_*", "target_*", "obstacle_*", "shell"."""
    return mujoco.MjModel.from_xml_string(mjcf(world))


def mjcf(world: World) -> str:
    """The model as MJCF text."""
    x, y, yaw = world.start
    things = [_geom(f"target_{i}", t) for i, t in enumerate(world.targets)]
    things += [_geom(f"obstacle_{i}", t) for i, t in enumerate(world.obstacles)]
    return f"""
<mujoco model="rover">
  <compiler angle="radian"/>
  <option timestep="{TIMESTEP_S}" integrator="implicitfast"/>
  <default>
    <geom group="{ROOM_GROUP}"/>
    <default class="wheel">
      <geom type="ellipsoid" size="{WHEEL_RADIUS_M} {WHEEL_RADIUS_M} 0.02" euler="{math.pi / 2} 0 0"
            mass="0.4" friction="1.2 0.002 0.0001" group="{ROVER_GROUP}"/>
    </default>
  </default>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 1" rgba="{_grey(world.floor_grey)}"/>
    {_walls(world)}
    {"".join(things)}
    {_ROVER.format(x=x, y=y, yaw=yaw).replace("<geom ", f'<geom group="{ROVER_GROUP}" ')}
  </worldbody>
  {_MOTORS_AND_IMU}
</mujoco>"""


def _grey(level: float) -> str:
    return f"{level} {level} {level} 1"


def _walls(world: World) -> str:
    half_x, half_y, thick = world.size_x / 2, world.size_y / 2, 0.05
    boxes = {
        "east": (half_x + thick, 0.0, thick, half_y + 2 * thick),
        "west": (-half_x - thick, 0.0, thick, half_y + 2 * thick),
        "north": (0.0, half_y + thick, half_x, thick),
        "south": (0.0, -half_y - thick, half_x, thick),
    }
    return "\n".join(
        f'<geom name="wall_{name}" type="box" pos="{x} {y} {WALL_HEIGHT_M / 2}" '
        f'size="{sx} {sy} {WALL_HEIGHT_M / 2}" rgba="{_grey(world.wall_grey)}"/>'
        for name, (x, y, sx, sy) in boxes.items()
    )


def _geom(name: str, thing: Thing) -> str:
    size = {
        "ball": f"{thing.half_x}",
        "cylinder": f"{thing.half_x} {thing.height / 2}",
        "box": f"{thing.half_x} {thing.half_y} {thing.height / 2}",
    }[thing.kind]
    kind = "sphere" if thing.kind == "ball" else thing.kind
    red, green, blue = RGB[thing.colour]
    return (
        f'<geom name="{name}" type="{kind}" size="{size}" pos="{thing.x} {thing.y} {thing.height / 2}" '
        f'euler="0 0 {thing.yaw}" rgba="{red} {green} {blue} 1" group="{THING_GROUP}"/>\n'
    )
