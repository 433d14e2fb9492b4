"""The links to motor driver, guard and policy."""

from __future__ import annotations

from collections.abc import Iterator

from vlad.safety.reaction import Finding
from vlad.safety.view import View


def policy(view: View) -> Iterator[Finding]:
    """The model fails, or its server is gone."""
    if view.inputs.policy_lost:
        yield Finding("policy_lost", "policy", view.inputs.policy_lost)
