"""What the policy says: its chunks, the step that is due, its own doubts."""

from __future__ import annotations

from collections.abc import Iterator

from vlad.clock import NS_PER_S
from vlad.safety.reaction import Finding
from vlad.safety.view import View


def chunks(view: View) -> Iterator[Finding]:
    yield from view.chunk
    if view.jerked:
        yield Finding("jerk_limit", view.jerked, "bounded")
    inputs, settings, step = view.inputs, view.rules.settings, view.inputs.step
    silent_s = (inputs.now_ns - view.chunk_ns) / NS_PER_S
    if inputs.task and silent_s > settings.safety.silence_s:
        yield Finding("silence", "policy", f"no new chunk for {silent_s:.2f} s")
    if step is None:
        return
    if view.misstep:
        yield Finding("step_invalid", "policy", view.misstep)
        return
    if step.remaining_ns <= 0:
        yield Finding("chunk_used_up", "policy", f"for {-step.remaining_ns / NS_PER_S:.2f} s")
    age_s = (inputs.now_ns - step.stamp_ns) / NS_PER_S
    if age_s > settings.policy.max_chunk_age_s:
        yield Finding("chunk_old", "policy", f"its frame is {age_s:.2f} s old")
    likely, threshold = step.collision, settings.safety.collision_threshold
    if likely is not None and not likely <= threshold:
        yield Finding("collision_predicted", "policy", f"{likely:.2f}, at most {threshold:.2f}", likely)
    doubt, threshold = step.uncertainty, settings.safety.uncertainty_threshold
    if doubt is not None and not doubt <= threshold:
        yield Finding("uncertain", "policy", f"{doubt:.2f}, at most {threshold:.2f}", doubt)
    for measured in step.doubts:
        value, slow, stop = measured.value, measured.slow, measured.stop
        if not value <= slow:
            yield Finding("low_confidence", measured.measure, f"{value:.3g}, at most {slow:.3g}")
        if not value <= stop:
            yield Finding("no_confidence", measured.measure, f"{value:.3g}, at most {stop:.3g}")
