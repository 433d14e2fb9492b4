"""Does the robot stop as planned?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlad.safety.reaction import Finding, Reaction
from vlad.safety.view import View


def stopping(view: View) -> Iterator[Finding]:
    """Does the robot slow down as planned? Unknown counts as no, once it should be at rest."""
    plan, now_ns, limits = view.stop, view.inputs.now_ns, view.rules.limits
    if plan is None or not view.rules.robot.feedback:
        return
    row = "stop_late" if plan.category is Reaction.STOP2 else "stop_failed"
    velocity = view.motion.velocity if view.motion is not None else None
    if velocity is None:
        if plan.category is Reaction.STOP2 and plan.over(now_ns):
            yield Finding(row, view.rules.robot.feedback, "nothing confirms that the robot came to rest")
        return
    excess = np.abs(velocity) - plan.allowed(now_ns) - limits.rest
    axis = int(excess.argmax())
    if excess[axis] > 0:
        yield Finding(row, limits.names[axis], f"still at {velocity[axis]:.3f}")
