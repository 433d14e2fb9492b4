"""Models in front of the model: what they made of an instruction or a picture is kept for the next time.

A policy with a language model of its own need not run it for each frame, nor a vision model for a camera that
is slower than the others: their bundle has them as encoders, whose outputs are inputs of the main model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vlad.policy.backends import Backend, BackendError, Description, Tensors, TensorSpec


class Encoder:
    """A model that is run once for the same inputs, as long as they are among the last `remembers`."""

    def __init__(self, name: str, backend: Backend, inputs: Sequence[str], remembers: int) -> None:
        self.name = name
        self.backend = backend
        self.inputs = tuple(inputs)
        self.hits = 0
        self.misses = 0
        self._remembers = remembers
        self._known: list[tuple[Tensors, Tensors]] = []
        """Inputs and outputs, those used last first."""

    def run(self, inputs: Tensors) -> Tensors:
        """Its outputs for its part of `inputs`; BackendError where it fails."""
        at = next((at for at, (taken, _) in enumerate(self._known) if self._same(taken, inputs)), None)
        if at is not None:
            self.hits += 1
            known = self._known.pop(at)
        else:
            self.misses += 1
            taken = {name: inputs[name].copy() for name in self.inputs}
            known = (taken, {name: np.array(value) for name, value in self.backend.run(taken).items()})
        self._known = [known, *self._known[: self._remembers - 1]]
        return known[1]

    def forget(self) -> None:
        """Give back the memory of what is known; it is made again when it is needed."""
        self._known = []

    def _same(self, taken: Tensors, inputs: Tensors) -> bool:
        return all(np.array_equal(taken[name], inputs[name]) for name in self.inputs)


class Encoded:
    """A backend that is its encoders and the main model behind them; to others it is one model."""

    def __init__(self, main: Backend, encoders: Sequence[Encoder]) -> None:
        """BackendError where one of them does not take what it gets from the others, or from the inputs."""
        self.encoders = tuple(encoders)
        self._main = main
        graph = _described(main, "the model")
        inner: dict[str, TensorSpec] = {}
        outer: dict[str, TensorSpec] = {}
        unfit: list[str] = []
        for encoder in self.encoders:
            described = _described(encoder.backend, encoder.name)
            if set(encoder.inputs) != set(described.inputs):
                takes, gets = ", ".join(described.inputs), ", ".join(encoder.inputs)
                unfit += [f"{encoder.name}: takes {takes}, and would get {gets}; correct [[encoders]]"]
            inner |= described.outputs
            outer |= described.inputs
        if strange := sorted(set(inner) - set(graph.inputs)):
            raise BackendError(f"the encoders give {', '.join(strange)}, which the model does not take; "
                               f"correct [[encoders]], or export the model again")  # fmt: skip
        if unfit:
            raise BackendError("\n".join(unfit))
        self._taken = [name for name in graph.inputs if name not in inner]
        """What the main model takes of the bundle's own inputs."""
        self._inputs = outer | {name: graph.inputs[name] for name in self._taken}

    def describe(self) -> Description:
        graph = _described(self._main, "the model")
        models = [graph, *(_described(encoder.backend, encoder.name) for encoder in self.encoders)]
        return replace(
            graph,
            inputs=self._inputs,
            elsewhere=sum(model.elsewhere for model in models),
            activations=max(model.activations for model in models),  # they run one after the other
        )

    def warm_up(self, inputs: Tensors) -> None:
        for encoder in self.encoders:
            encoder.backend.warm_up({name: inputs[name] for name in encoder.inputs})
        self._main.warm_up(self._encoded(inputs))

    def run(self, inputs: Tensors) -> Tensors:
        return self._main.run(self._encoded(inputs))

    def close(self) -> None:
        for encoder in self.encoders:
            encoder.backend.close()
        self._main.close()

    def _encoded(self, inputs: Tensors) -> Tensors:
        """What the main model takes."""
        tensors = {name: inputs[name] for name in self._taken}
        for encoder in self.encoders:
            tensors |= encoder.run(inputs)
        return tensors


def _described(backend: Backend, name: str) -> Description:
    description = backend.describe()
    if description is None:
        raise BackendError(f"{name} does not say what it takes; encoders need a model that does")
    return description
