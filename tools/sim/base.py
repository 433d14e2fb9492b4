"""The process of the simulated base: physics in real time, motors that obey vlad, the base's own sensors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from tools.sim.pace import Pace
from tools.sim.remote import State, answer_with, endpoint_of
from tools.sim.rover import STEP_S, Rover
from tools.sim.shared import Placement, SharedPlacement
from tools.sim.world import make_world
from vlad.clock import SystemClock
from vlad.driver import CommandReceiver, SensorPublisher
from vlad.messages import (
    Battery,
    Command,
    CommandAck,
    CommandMode,
    Data,
    EStop,
    Imu,
    JointState,
    Kind,
    NearObject,
    Odometry,
    Proximity,
)

TOPICS = {
    "camera": "image", "laser": "laser_scan", "joints": "joint_state", "odometry": "odometry", "imu": "imu",
    "battery": "battery", "bumper": "proximity", "estop": "estop", "command_ack": "command_ack",
}  # fmt: skip
"""The rover's signals and their types on the wire."""
MUTE_BITS = {topic: 1 << number for number, topic in enumerate(TOPICS)}

NAMES = ("linear_x", "angular_z")
BRAKE = np.array([2.5, 8.0])
"""In a stop the base's own controller brings it to rest with this [m/s^2, rad/s^2]."""
_SHORTED = 0.25
"""Motors without power are short-circuited: they brake by themselves with this share of their gain."""
_BUTTON_STEPS, _BATTERY_STEPS, _ACK_STEPS = 10, 100, 5
_BATTERY_LASTS_S = 4 * 3600.0
_FULL, _FULL_V, _EMPTY_V, _IDLE_A, _DRIVE_A = 0.95, 25.2, 21.0, -0.8, -2.0


class Motors:
    """What the wheels do with a command: follow it, come to rest, or run down without power."""

    def __init__(self, rover: Rover) -> None:
        self._rover = rover
        self._twist = np.zeros(2)
        self._gain = rover.model.actuator_gainprm[:, 0].copy()

    def obey(self, command: Command) -> None:
        """Strive for the command's values at once; in a stop no faster than the base can brake."""
        wanted = command.values if len(command.values) else np.zeros(2)
        powered = command.mode is not CommandMode.STOP0
        if command.mode is CommandMode.RUN:
            self._twist = np.asarray(wanted, np.float64)
        elif powered:
            change = np.clip(wanted - self._twist, -BRAKE * STEP_S, BRAKE * STEP_S)
            self._twist = self._twist + change
        else:
            self._twist = np.zeros(2)
        gain = self._gain * (1.0 if powered else _SHORTED)
        self._rover.model.actuator_gainprm[:, 0] = gain
        self._rover.model.actuator_biasprm[:, 2] = -gain
        self._rover.command(float(self._twist[0]), float(self._twist[1]))


class Base:
    """Steps the physics, and publishes and answers after each step."""

    def __init__(self, run_dir: Path, wire_dir: Path, seed: int, shared: SharedPlacement) -> None:
        """`wire_dir` has vlad's sockets, or those of a proxy before them."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._clock = SystemClock()
        self._shared = shared
        self._receiver = CommandReceiver(f"ipc://{wire_dir}/commands.sock", Kind.TWIST, NAMES)
        self._control = context.socket(zmq.REP)
        self._control.linger = 0
        self._control.bind(endpoint_of(run_dir))
        frames = {"joints": "base_link", "odometry": "odom"}
        self._publishers = {
            topic: SensorPublisher(
                f"ipc://{wire_dir}/sensors.sock", topic, kind, frames.get(topic, "base_link")
            )
            for topic, kind in TOPICS.items()
            if topic not in ("camera", "laser")
        }
        self._steps = 0
        self._collisions = 0
        self._touching = False
        self._pressed = False
        self._muted = 0
        self._charge = _FULL
        self._command = self._receiver.receive()
        self._acknowledged = replace(self._command, seq=0, stamp_ns=0)
        """The newest command of vlad's own; before the first a stop that has no number and no time."""
        self._place(seed)

    def run(self, going_on: Callable[[], bool]) -> None:
        """Until `going_on` says no."""
        pace = Pace(STEP_S)
        while going_on():
            pace.wait()
            self._follow(self._receiver.receive())
            self._rover.step()
            self._steps += 1
            self._publish_all(self._clock.now_ns())
            self._serve()

    def _follow(self, command: Command) -> None:
        """Do what it says, and acknowledge: at each change of mode, and at a steady rate."""
        if not self._receiver.reason:
            self._acknowledged = command
        changed = command.mode is not self._command.mode
        self._command = command
        self._motors.obey(command)
        if changed or self._steps % _ACK_STEPS == 0:
            ack = CommandAck(self._acknowledged.seq, self._acknowledged.stamp_ns, command.mode)
            self._publish("command_ack", ack, self._clock.now_ns())

    def _place(self, seed: int) -> None:
        self._world = make_world(seed)
        self._rover = Rover(self._world)
        self._motors = Motors(self._rover)
        self._command = self._receiver.receive()
        self._share(self._clock.now_ns())

    def _share(self, stamp_ns: int) -> None:
        self._shared.write(Placement(self._world.seed, stamp_ns, self._rover.pose, self._muted))

    def _publish_all(self, stamp_ns: int) -> None:
        self._share(stamp_ns)
        self._publish("joints", self._joints(), stamp_ns)
        self._publish("odometry", self._odometry(), stamp_ns)
        imu = self._rover.imu
        self._publish(
            "imu", Imu(*(tuple(part.tolist()) for part in
                         (imu.orientation, imu.angular_velocity, imu.linear_acceleration))), stamp_ns
        )  # fmt: skip
        touching = bool(self._rover.contacts())
        self._collisions += touching and not self._touching
        if touching != self._touching or self._steps % _BUTTON_STEPS == 0:
            near = (NearObject("bumper", 0.0, 0.0),) if touching else ()
            self._publish("bumper", Proximity(near), stamp_ns)
        self._touching = touching
        if self._steps % _BUTTON_STEPS == 0:
            self._publish("estop", EStop(self._pressed), stamp_ns)
        if self._steps % _BATTERY_STEPS == 0:
            self._publish("battery", self._battery(), stamp_ns)

    def _publish(self, topic: str, data: Data, stamp_ns: int) -> None:
        if not self._muted & MUTE_BITS[topic]:
            self._publishers[topic].publish(data, stamp_ns)

    def _joints(self) -> JointState:
        return JointState(
            ("left_wheel", "right_wheel"),
            position=np.array(self._rover.wheel_positions, np.float32),
            velocity=np.array(self._rover.wheel_velocities, np.float32),
        )

    def _odometry(self) -> Odometry:
        x, y, yaw = self._rover.odometry_pose
        linear, angular = self._rover.twist
        turned = (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
        return Odometry("base_link", (x, y, 0.0), turned, (linear, 0.0, 0.0), (0.0, 0.0, angular))

    def _battery(self) -> Battery:
        self._charge = max(0.0, self._charge - _BATTERY_STEPS * STEP_S / _BATTERY_LASTS_S)
        volts = _EMPTY_V + (_FULL_V - _EMPTY_V) * self._charge
        return Battery(self._charge, volts, _IDLE_A + _DRIVE_A * abs(self._rover.twist[0]), 28.0)

    # the control socket -----------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Answer one request if there is one."""
        try:
            request = self._control.recv(zmq.NOBLOCK)
        except zmq.Again:
            return
        try:
            self._do(json.loads(request))
        except (ValueError, KeyError, TypeError) as error:
            text = f"cannot do {request[:200]!r}: {type(error).__name__}: {error}"
            self._control.send(json.dumps({"error": text}).encode())
            return
        self._control.send(answer_with(self._state()))

    def _do(self, request: dict[str, Any]) -> None:
        match request["do"]:
            case "state":
                pass
            case "reset":
                self._place(int(request["seed"]))
            case "press" | "release" as act:
                self._pressed = act == "press"
                self._publish("estop", EStop(self._pressed), self._clock.now_ns())
            case "mute":
                self._muted |= MUTE_BITS[request["signal"]]
            case "unmute":
                self._muted &= ~MUTE_BITS[request["signal"]]
            case other:
                raise ValueError(f"unknown request {other!r}")

    def _state(self) -> State:
        return State(
            seed=self._world.seed,
            time_s=self._steps * STEP_S,
            pose=self._rover.pose,
            twist=self._rover.twist,
            collided=self._rover.collided,
            collisions=self._collisions,
            estop=self._pressed,
            muted=tuple(topic for topic, bit in MUTE_BITS.items() if self._muted & bit),
            mode=self._command.mode.value,
            reason=self._receiver.reason,
            targets=tuple(thing.name for thing in self._world.targets),
        )
