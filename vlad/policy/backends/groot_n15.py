"""GR00T policy servers of the release N1.5, as far as they talk in msgpack (since September 2025).

All is as in groot.py but this: the question's data is the observation itself, whose names are flat
(`video.front`, `state.arm`, and for the instruction `annotation.human.task_description`, [text]); the answer
is the map of the actions, `action.arm` (1, horizon, D).
"""

from __future__ import annotations

from vlad.policy.backends import Model, Tensors
from vlad.policy.backends.groot import GrootBackend, Release, packed
from vlad.policy.backends.remote import Refused


def load(model: Model) -> GrootBackend:
    """Get ready to ask a server; BackendError where the settings name none."""
    return GrootBackend(model, N15)


def _flat(inputs: Tensors) -> object:
    return {
        name: [str(text) for text in array] if array.dtype == object else packed(array)
        for name, array in inputs.items()
    }


def _itself(reply: object) -> object:
    if not isinstance(reply, dict):
        raise Refused("is no map of actions; is it a GR00T server of N1.5? Newer ones: backend groot")
    return reply


N15 = Release("groot-n1.5", _flat, _itself)
