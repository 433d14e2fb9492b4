"""Where an arm's end effector is, from its joints and its URDF. Needs pinocchio: the extra `kinematics`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vlad.safety.motion import Vector

Tip = tuple[float, float, float]
"""x, y, z [m] in the frame of the URDF's root link."""


class KinematicsError(Exception):
    """The arm's description cannot be used; says what is wrong and what to do."""


class Kinematics:
    """Forward kinematics of one link. What the URDF's other joints do does not move it: that is checked."""

    def __init__(self, urdf: Path, tip: str, names: tuple[str, ...]) -> None:
        """`names` are the joints in the order of the positions that `tip` gets."""
        self._pin = _pinocchio(urdf)
        self._model = _model(self._pin, urdf)
        model = self._model
        missing = [name for name in names if not model.existJointName(name)]
        if missing:
            raise KinematicsError(
                f"{urdf} has no joint {', '.join(missing)}: use the names of the limits file"
            )
        if not model.existFrame(tip):
            raise KinematicsError(f"{urdf} has no link {tip!r} (workspace.tip)")
        self._tip = model.getFrameId(tip)
        joints = [model.joints[model.getJointId(name)] for name in names]
        if any(joint.nv != 1 for joint in joints):
            raise KinematicsError(
                f"{urdf}: the robot's axes must be revolute, continuous or prismatic joints"
            )
        self._refuse_free_joints(urdf, tip, names)
        self._data = model.createData()
        self._q = self._pin.neutral(model)
        turning = [joint.nq == 2 for joint in joints]
        self._turning = np.array([k for k, free in enumerate(turning) if free])
        self._at = np.array([joint.idx_q for joint in joints])

    def _refuse_free_joints(self, urdf: Path, tip: str, names: tuple[str, ...]) -> None:
        model = self._model
        chain = [model.names[joint] for joint in model.supports[model.frames[self._tip].parentJoint]][1:]
        free = [name for name in chain if name not in names]
        if free:
            raise KinematicsError(
                f"{urdf}: {', '.join(free)} moves {tip!r} but is no axis of the robot; make it fixed there"
            )

    def tip(self, position: Vector) -> Tip:
        """Where the tip is when the joints are at these positions [rad or m]."""
        q = self._q
        q[self._at] = position
        if self._turning.size:
            angle, at = position[self._turning], self._at[self._turning]
            q[at], q[at + 1] = np.cos(angle), np.sin(angle)
        self._pin.forwardKinematics(self._model, self._data, q)
        x, y, z = self._pin.updateFramePlacement(self._model, self._data, self._tip).translation.tolist()
        return x, y, z


def _pinocchio(urdf: Path) -> Any:
    try:
        import pinocchio
    except ImportError as error:
        raise KinematicsError(
            f"{urdf} (workspace.urdf) needs pinocchio: pip install 'vlad[kinematics]' ({error})"
        ) from None
    return pinocchio


def _model(pinocchio: Any, urdf: Path) -> Any:
    try:
        text = urdf.read_text(encoding="utf-8")
        return pinocchio.buildModelFromXML(text)
    except (OSError, ValueError, RuntimeError) as error:
        raise KinematicsError(f"{urdf} (workspace.urdf) cannot be read as a URDF: {error}") from None
