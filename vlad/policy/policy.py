"""A loaded policy: samples in, action chunk out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import numpy as np

from vlad.clock import NS_PER_S, Clock
from vlad.messages import Chunk, Sample
from vlad.policy.backends import Backend, BackendError, Model, Tensors, TensorSpec, load_backend
from vlad.policy.bundle import Bundle, BundleRefused
from vlad.policy.manifest import ImageInput, InstructionInput
from vlad.policy.prefix import Ahead, Prefix, PrefixReader
from vlad.policy.preprocess import ObservationError, Reader, instruction_text, make_reader
from vlad.policy.tokenizer import TokenizerError

_WARM_RUNS = 7
_TIMED_RUNS = 5


class Policy:
    """The model of a bundle with all that stands around it. One thread at a time uses it."""

    def __init__(
        self, bundle: Bundle, clock: Clock, threads: int = 1, backend: Backend | None = None
    ) -> None:
        """Load the model, `threads` CPU threads for it; BundleRefused where it is not what the manifest says.

        `backend` stands in for the one that the manifest names.
        """
        self.bundle = bundle
        manifest = bundle.manifest
        self.topics = tuple(dict.fromkeys(spec.signal for spec in manifest.sampled))
        """The signals that it needs, all of them, for each inference."""
        images = [spec.signal for spec in manifest.sampled if isinstance(spec, ImageInput)]
        self.trigger = (images or list(self.topics))[0]
        """The signal whose new sample is worth an inference: the first image, else the first input."""
        self.instruction_topic = next(
            (spec.signal for spec in manifest.sampled if isinstance(spec, InstructionInput)), ""
        )
        """The signal with the instruction; empty where the policy takes none."""
        states = [topic for topic in self.topics if topic != self.instruction_topic]
        self._dated = tuple(images or states or self.topics)
        self._clock = clock
        self._seq = 0
        self._mean = np.asarray(manifest.output.mean, np.float32)
        self._std = np.asarray(manifest.output.std, np.float32)
        self._step_ns = round(manifest.output.step_s * NS_PER_S)
        self._readers = _readers(bundle)
        self._prefix = PrefixReader(manifest.prefix, manifest.output) if manifest.prefix else None
        self._inputs: Tensors = {
            spec.name: reader.buffer for spec, reader in zip(manifest.sampled, self._readers, strict=True)
        } | (self._prefix.tensors if self._prefix else {})
        self._backend = backend or _load(bundle, threads)
        if reasons := _mismatches(self._backend, self._inputs, bundle):
            self._backend.close()
            raise BundleRefused(reasons)

    def warm_up(self) -> float:
        """Run a few times on plausible input and return the usual latency in seconds, without the first runs.

        All inputs are at their mean. BundleRefused where the output has another shape or is not finite.
        """
        times_ns = []
        try:
            self._backend.warm_up(self._inputs)
            for _ in range(_WARM_RUNS):
                began_ns = self._clock.now_ns()
                outputs = self._backend.run(self._inputs)
                times_ns.append(self._clock.now_ns() - began_ns)
        except BackendError as error:
            raise BundleRefused([str(error)]) from error
        if reasons := _bad_outputs(outputs, self.bundle):
            raise BundleRefused(reasons)
        return statistics.median(times_ns[-_TIMED_RUNS:]) / NS_PER_S

    def prefix(self, samples: Mapping[str, Sample], ahead: Ahead) -> Prefix | None:
        """What will be done until `infer` has answered to these samples, where the model takes that.

        `ahead` is the follower's; only in the thread of the follower.
        """
        if self._prefix is None:
            return None
        return ahead(self.stamp_ns(samples), self._step_ns, self._prefix.rows)

    def infer(self, samples: Mapping[str, Sample], prefix: Prefix | None = None) -> Chunk:
        """What to do next, from the newest sample of each of `topics`.

        Stamped with the oldest of its images, or of all states where it has none. ObservationError where the
        samples cannot be used, BackendError where the model fails.
        """
        if absent := [topic for topic in self.topics if topic not in samples]:
            raise ObservationError(f"no sample of {', '.join(absent)} yet")
        manifest = self.bundle.manifest
        for spec, reader in zip(manifest.sampled, self._readers, strict=True):
            reader.read(samples[spec.signal].data)
        if self._prefix is not None:
            self._prefix.read(prefix)
        began_ns = self._clock.now_ns()
        outputs = self._backend.run(self._inputs)
        ready_ns = self._clock.now_ns()
        actions = outputs[manifest.output.name][0] * self._std + self._mean
        actions.flags.writeable = False
        self._seq += 1
        return Chunk(
            seq=self._seq,
            stamp_ns=self.stamp_ns(samples),
            ready_ns=ready_ns,
            step_ns=self._step_ns,
            kind=manifest.output.kind,
            names=manifest.output.names,
            actions=actions,
            instruction=self._instruction(samples),
            inference_ns=ready_ns - began_ns,
            collision=_head(outputs, manifest.output.collision),
            uncertainty=_head(outputs, manifest.output.uncertainty),
        )

    def close(self) -> None:
        """Give back the model's memory and devices."""
        self._backend.close()

    def stamp_ns(self, samples: Mapping[str, Sample]) -> int:
        """The time that a chunk made from these samples belongs to."""
        return min(samples[topic].stamp_ns for topic in self._dated)

    def _instruction(self, samples: Mapping[str, Sample]) -> str:
        return instruction_text(samples[self.instruction_topic].data) if self.instruction_topic else ""


def _head(outputs: Tensors, name: str | None) -> float | None:
    return float(outputs[name].flat[0]) if name else None


def _readers(bundle: Bundle) -> list[Reader]:
    try:
        return [make_reader(spec, bundle.folder) for spec in bundle.manifest.sampled]
    except TokenizerError as error:
        raise BundleRefused([f"{error}; put the tokenizer.json of the training there"]) from error


def _load(bundle: Bundle, threads: int) -> Backend:
    output = bundle.manifest.output
    wanted = (output.name, *output.heads)
    try:
        return load_backend(
            bundle.manifest.backend, Model(bundle.model, bundle.manifest.precision, wanted, threads)
        )
    except BackendError as error:
        raise BundleRefused([f"{error}; export the model again"]) from error


def _output_shapes(bundle: Bundle) -> dict[str, tuple[int, ...]]:
    """What each wanted output must look like."""
    output = bundle.manifest.output
    shapes: dict[str, tuple[int, ...]] = {output.name: (1, output.horizon, len(output.names))}
    return shapes | dict.fromkeys(output.heads, (1, 1))


def _mismatches(backend: Backend, inputs: Tensors, bundle: Bundle) -> list[str]:
    """Where the model itself is not what the manifest says; a line for each."""
    graph = backend.describe()
    reasons = [
        f"{bundle.model}: takes an input {name!r} that the manifest does not have; add it to [[inputs]]"
        for name in graph.inputs
        if name not in inputs
    ]
    for name, array in inputs.items():
        wanted = TensorSpec(array.dtype.name, array.shape)
        reasons += _compare(f"{bundle.model}: input {name!r}", graph.inputs.get(name), wanted)
    for name, shape in _output_shapes(bundle).items():
        wanted = TensorSpec("float32", shape)
        reasons += _compare(f"{bundle.model}: output {name!r}", graph.outputs.get(name), wanted)
    return reasons


def _compare(where: str, found: TensorSpec | None, wanted: TensorSpec) -> list[str]:
    if found is None:
        return [f"{where}: the model has none of this name; correct the manifest, or export the model again"]
    reasons = []
    if found.dtype != wanted.dtype:
        reasons.append(f"{where}: is {found.dtype} in the model, the manifest's kind means {wanted.dtype}")
    open_or_equal = len(found.shape) == len(wanted.shape) and all(
        size in (None, want) for size, want in zip(found.shape, wanted.shape, strict=True)
    )
    if not open_or_equal:
        shown = ", ".join("any" if size is None else str(size) for size in found.shape)
        reasons.append(f"{where}: has shape ({shown}) in the model, {wanted.shape} in the manifest")
    return reasons


def _bad_outputs(outputs: Tensors, bundle: Bundle) -> list[str]:
    """What is wrong with what the model really gave; a line for each."""
    reasons = []
    for name, shape in _output_shapes(bundle).items():
        where, value = f"{bundle.model}: output {name!r}", outputs[name]
        if value.shape != shape or value.dtype != np.float32:
            reasons.append(
                f"{where}: gave {value.dtype} of shape {value.shape} at warm-up, not float32 {shape}"
            )
        elif not np.isfinite(value).all():
            reasons.append(f"{where}: was not finite at warm-up; train or export the model again")
        elif name in bundle.manifest.output.heads and not 0 <= value.flat[0] <= 1:
            reasons.append(f"{where}: gave {value.flat[0]:.3g} at warm-up; a probability is 0 to 1, "
                           f"end the head with a sigmoid")  # fmt: skip
    return reasons
