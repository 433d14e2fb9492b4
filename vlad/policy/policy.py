"""A loaded policy: samples in, action chunk out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from vlad.clock import NS_PER_S, Clock
from vlad.messages import Chunk, Floats, Sample
from vlad.policy.agreement import bad_outputs, mismatches, misshapen
from vlad.policy.backends import (
    REMOTE,
    Backend,
    BackendError,
    Model,
    OnnxOptions,
    ServerLost,
    TensorrtOptions,
    Tensors,
    TorchOptions,
    load_backend,
)
from vlad.policy.backends.apart import Apart
from vlad.policy.bundle import Bundle, BundleRefused
from vlad.policy.calibration import Calibration
from vlad.policy.confidence import Confidence, choose
from vlad.policy.encoders import Encoded, Encoder
from vlad.policy.inputs import ImageInput, InstructionInput
from vlad.policy.manifest import Output
from vlad.policy.memory import InUse, in_use
from vlad.policy.noise import NoiseReader
from vlad.policy.prefix import Ahead, Prefix, PrefixReader
from vlad.policy.preprocess import (
    History,
    ObservationError,
    Reader,
    TokenReader,
    instruction_text,
    make_reader,
)
from vlad.policy.tokenizer import TokenizerError
from vlad.policy_settings import PolicySettings

_WARM_RUNS = 7
_TIMED_RUNS = 5
_BREAK_NS = NS_PER_S
"""After a pause this long what was seen before it does not belong to the same history."""


class Policy:
    """The model of a bundle with all that stands around it. One thread at a time uses it."""

    def __init__(
        self,
        bundle: Bundle,
        clock: Clock,
        settings: PolicySettings | None = None,
        backend: Backend | None = None,
        cache: Path | None = None,
        calibration: Calibration | None = None,
        apart: bool = False,
    ) -> None:
        """Load the model as `settings` say; BundleRefused where it is not what the manifest says.

        `backend` stands in for the one that the manifest names; `cache` is as in Model. `calibration` says
        how much doubt is too much; None: nobody knows. `apart`: in a process of its own.
        """
        self.bundle = bundle
        self.lost = ""
        """Why its server gave no good answer when it was opened; empty: it did, or it has none."""
        self.memory_mb = 0
        """What was taken when it was opened, at least its files."""
        self.smaller: tuple[Policy, ...] = ()
        """The same at lower resolutions, the largest first; they belong to this one."""
        self.usual_s = 0.0
        """What a run takes when nothing else runs, once it was warmed up."""
        self.is_strict = False
        """Numbers that are not finite are an error here; else they are left for the kernel to judge."""
        self._is_open = True
        manifest = bundle.manifest
        self.device = ""
        """Where the model lies, and which of its parts elsewhere, as its backend says; empty: it does not."""
        self._is_remote = manifest.backend in REMOTE
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
        self._mean, self._std = (np.asarray(row, np.float32) for row in manifest.output.scale())
        self._step_ns = round(manifest.output.step_s * NS_PER_S)
        self.confidence = Confidence(self._step_ns, calibration)
        self._readers = _readers(bundle)
        self._histories = [reader for reader in self._readers if isinstance(reader, History)]
        self._stamp_ns = 0
        self._fitting: dict[str, tuple[tuple[int, ...], np.dtype[np.float32]]] = {}
        """The shape and type of each output of the model when they were last found right."""
        self._prefix = PrefixReader(manifest.prefix, manifest.output) if manifest.prefix else None
        self._noises = {spec.name: NoiseReader(spec) for spec in manifest.noises}
        self._inputs: Tensors = {
            spec.name: reader.buffer for spec, reader in zip(manifest.sampled, self._readers, strict=True)
        } | (self._prefix.tensors if self._prefix else {})
        self._inputs |= {name: reader.buffer for name, reader in self._noises.items()}
        self._backend = backend or _load(bundle, settings or PolicySettings(), self._inputs, cache, apart)
        try:
            reasons = mismatches(self._backend, self._inputs, bundle)
        except ServerLost as error:
            self.lost, reasons = str(error), []
        except BackendError as error:
            reasons = [str(error)]
        if reasons:
            self._backend.close()
            raise BundleRefused(reasons)
        if not self._is_remote and (described := self._backend.describe()) is not None:
            self.device = described.device

    def warm_up(self) -> float:
        """Run a few times on plausible input and return the usual latency in seconds, without the first runs.

        All inputs are at their mean. BundleRefused where the output has another shape or is not finite;
        ServerLost where a server is to blame: then it can be tried again.
        """
        try:
            self._backend.warm_up(self._inputs)
            times_s = self.time_runs(_WARM_RUNS)
            outputs = self._backend.run(self._inputs)
        except ServerLost:
            raise
        except BackendError as error:
            raise BundleRefused([str(error)]) from error
        if reasons := bad_outputs(outputs, self.bundle):
            raise self._misfit(reasons) if self._is_remote else BundleRefused(reasons)
        self.usual_s = statistics.median(times_s[-_TIMED_RUNS:])
        return self.usual_s

    def taken(self, before: InUse) -> int:
        """The bytes of memory that it takes, if this process has taken nothing else since then."""
        described = None if self._is_remote else self._backend.describe()
        if described is None:
            return in_use().grown_since(before)
        return in_use().grown_since(before, described.activations) + described.elsewhere

    def time_runs(self, count: int) -> list[float]:
        """How long so many runs took [s], one after the other; BackendError where the model fails."""
        times_s = []
        for _ in range(count):
            began_ns = self._clock.now_ns()
            self._backend.run(self._inputs)
            times_s.append((self._clock.now_ns() - began_ns) / NS_PER_S)
        return times_s

    def try_out(self) -> None:
        """Run once more on what was read last. BackendError where that fails, or gives nothing of use.

        Before that the model is compared with the manifest: a server that comes back may have another one.
        """
        reasons = mismatches(self._backend, self._inputs, self.bundle)
        if reasons := reasons or bad_outputs(self._backend.run(self._inputs), self.bundle):
            raise self._misfit(reasons)

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
        samples cannot be used, BackendError where the model fails or answers in another shape.
        """
        if absent := [topic for topic in self.topics if topic not in samples]:
            raise ObservationError(f"no sample of {', '.join(absent)} yet")
        manifest = self.bundle.manifest
        before_ns, self._stamp_ns = self._stamp_ns, self.stamp_ns(samples)
        if self._stamp_ns - before_ns > _BREAK_NS:
            self.forget()
        for spec, reader in zip(manifest.sampled, self._readers, strict=True):
            reader.read(samples[spec.signal].data)
        if self._prefix is not None:
            self._prefix.read(prefix)
        for noise in self._noises.values():
            noise.draw()
        began_ns = self._clock.now_ns()
        outputs = self._backend.run(self._inputs)
        ready_ns = self._clock.now_ns()
        self._require_fit(outputs)
        said, spread = choose(_actions(outputs, manifest.output))
        instruction, uncertainty = self._instruction(samples), _head(outputs, manifest.output.uncertainty)
        actions = said * self._std + self._mean
        actions.flags.writeable = False
        self._seq += 1
        return Chunk(
            seq=self._seq,
            stamp_ns=self._stamp_ns,
            ready_ns=ready_ns,
            step_ns=self._step_ns,
            kind=manifest.output.kind,
            names=manifest.output.names,
            actions=actions,
            instruction=instruction,
            inference_ns=ready_ns - began_ns,
            collision=_head(outputs, manifest.output.collision),
            uncertainty=uncertainty,
            doubts=self.confidence.judge(self._stamp_ns, instruction, said, spread, uncertainty),
        )

    def remembered(self) -> dict[str, dict[str, int]]:
        """How often what a reader or an encoder had made before could be used again, by its name."""
        found = {
            spec.name: reader.hits_and_misses()
            for spec, reader in zip(self.bundle.manifest.sampled, self._readers, strict=True)
            if isinstance(reader, TokenReader)
        }
        if isinstance(self._backend, Encoded):
            found |= {encoder.name: (encoder.hits, encoder.misses) for encoder in self._backend.encoders}
        return {name: {"hits": hits, "misses": misses} for name, (hits, misses) in found.items()}

    def stamp_ns(self, samples: Mapping[str, Sample]) -> int:
        """The time that a chunk made from these samples belongs to."""
        return min(samples[topic].stamp_ns for topic in self._dated)

    @property
    def resolutions(self) -> tuple[Policy, ...]:
        """Itself and the smaller ones."""
        return (self, *self.smaller)

    @property
    def is_whole(self) -> bool:
        """All resolutions can be run."""
        return all(policy._is_open for policy in self.resolutions)

    def forget(self) -> None:
        """What was seen before does not belong to what comes next."""
        for history in self._histories:
            history.forget()

    def drop_caches(self) -> None:
        """Give back what is kept only to be quicker the next time; only between two inferences."""
        if isinstance(self._backend, Encoded):
            for encoder in self._backend.encoders:
                encoder.forget()

    def keep_smallest(self) -> None:
        """Give back the memory of all resolutions but the smallest; only between two inferences."""
        for policy in self.resolutions[:-1]:
            policy._close()

    def close(self) -> None:
        """Give back the model's memory and devices."""
        for policy in self.resolutions:
            policy._close()

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._backend.close()

    def _misfit(self, reasons: list[str]) -> BackendError:
        """An answer that cannot be used, as an error; a server may give another one next time."""
        return (ServerLost if self._is_remote else BackendError)("; ".join(reasons))

    def _require_fit(self, outputs: Tensors) -> None:
        """An answer of the same form as one that fitted needs no closer look, unless it is strict."""
        form = {name: (value.shape, value.dtype) for name, value in outputs.items()}
        if form == self._fitting and not self.is_strict:
            return
        if reasons := (bad_outputs if self.is_strict else misshapen)(outputs, self.bundle):
            raise self._misfit(reasons)
        self._fitting = form

    def _instruction(self, samples: Mapping[str, Sample]) -> str:
        return instruction_text(samples[self.instruction_topic].data) if self.instruction_topic else ""


def _actions(outputs: Tensors, output: Output) -> Floats:
    """(samples, horizon, len(names)), of one output of the model or of several side by side."""
    parts = [outputs[name] for name in output.name]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _head(outputs: Tensors, name: str | None) -> float | None:
    return float(outputs[name].max()) if name else None


def _readers(bundle: Bundle) -> list[Reader]:
    try:
        return [make_reader(spec, bundle.folder) for spec in bundle.manifest.sampled]
    except TokenizerError as error:
        raise BundleRefused([f"{error}; put the tokenizer.json of the training there"]) from error


def _load(
    bundle: Bundle, settings: PolicySettings, inputs: Tensors, cache: Path | None, apart: bool
) -> Backend:
    manifest, load = bundle.manifest, Apart if apart else load_backend
    model = Model(
        bundle.model,
        manifest.precision,
        outputs=(*manifest.output.name, *manifest.output.heads),
        threads=settings.threads,
        device=settings.device,
        onnx=OnnxOptions(settings.onnx.providers, settings.onnx.arena_mb),
        server=settings.server,
        tensorrt=TensorrtOptions(settings.tensorrt.workspace_mb),
        torch=TorchOptions(settings.torch.device_map, settings.torch.stages),
        shapes={name: array.shape for name, array in inputs.items()},
        cache=cache,
        name=manifest.name,
        jpeg=frozenset(item.name for item in manifest.inputs if isinstance(item, ImageInput) and item.encode),
    )
    opened: list[Backend] = []
    try:
        opened.append(load(manifest.backend, model))
        for table in manifest.encoders:
            encoder = replace(model, path=bundle.folder / table.model, outputs=table.outputs)
            opened.append(load(manifest.backend, encoder))
        if not manifest.encoders:
            return opened[0]
        return Encoded(opened[0], [
            Encoder(table.model, backend, table.inputs, table.remembers)
            for table, backend in zip(manifest.encoders, opened[1:], strict=True)
        ])  # fmt: skip
    except BackendError as error:
        for backend in opened:
            backend.close()
        raise BundleRefused([str(error)]) from error
