"""What would help where inference is slower than the settings ask."""

from __future__ import annotations

from vlad.policy_settings import PolicySettings


def advice(took_s: float | None, settings: PolicySettings, part: float) -> str:
    """A line for people; empty: it is quick enough, or nothing is known yet.

    `took_s` is what an inference usually takes, `part` the part of the time that they may take in all.
    """
    if took_s is None:
        return ""
    took, target_s, period_s = f"each takes {took_s * 1e3:.0f} ms", settings.target_s, 1 / settings.rate_hz
    if took_s > target_s:
        key = "latency_s" if target_s < period_s else "rate_hz"
        return (
            f"{took}, policy.{key} asks for at most {target_s * 1e3:.0f} ms; a faster backend or precision "
            f"(openvino, int8), a GPU, more policy.threads or a lower rate help"
        )
    if took_s / part > period_s:
        return (
            f"{took}, and policy.cpu_share and gpu_share leave time for one every {took_s / part * 1e3:.0f} "
            f"ms; a larger share, a faster backend or a lower rate help"
        )
    return ""
