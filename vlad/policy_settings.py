"""The settings of the policy: vlad.toml's [policy], but for its server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vlad.schema import Fraction, NotNegative, Positive, Section
from vlad.server_settings import ServerSettings


class OnnxSettings(Section):
    """ONNX Runtime: what runs the models of the backend `onnx`."""

    providers: Annotated[tuple[Literal["cpu", "cuda", "tensorrt", "openvino"], ...], Field(min_length=1)] = (
        "cpu",
    )
    """In order of preference; what the first cannot run, the next one does, and the CPU in the end."""
    arena_mb: Annotated[int, Field(ge=0, strict=True)] = 0
    """Memory that a run may take, of the GPU where it runs there; 0: as much as there is. A run that needs
    more fails."""


class TensorrtSettings(Section):
    """TensorRT: what runs the models of the backend `tensorrt`."""

    workspace_mb: Annotated[int, Field(ge=0, strict=True)] = 0
    """Memory of the GPU that a layer may take beside its input and output, in a plan built here; 0: as much
    as there is."""


Device = Annotated[str, Field(pattern=r"^(cpu|cuda(:[0-9]+)?)$")]


class TorchSettings(Section):
    """PyTorch: what runs the models of the backends `torch` and `lerobot`."""

    device_map: dict[str, Device] = Field(default_factory=dict)
    """Module of the model -> the device that it lies on, for a model that is too large for one; the rest lies
    on policy.device."""
    stages: dict[str, Device] = Field(default_factory=dict)
    """Module of an exported program -> the device that all lies on from there to the next stage, for a model
    that is too large for one; what runs before the first lies on policy.device."""

    @model_validator(mode="after")
    def _divided_once(self) -> TorchSettings:
        if self.device_map and self.stages:
            raise ValueError("has a device_map and stages; divide the model by one of them")
        return self


_BUNDLE_NAME = "[A-Za-z0-9][A-Za-z0-9._-]*"


class PolicySettings(Section):
    """Which policy runs, and how fast."""

    bundle: Path | None = None
    """Folder of the bundle; relative to the settings file. None: no policy, the robot only holds."""
    fallback: Annotated[str, Field(pattern=rf"^({_BUNDLE_NAME}/{_BUNDLE_NAME})?$")] = ""
    """NAME/VERSION of the installed bundle that drives while that one is lost; empty: none does."""
    failback_s: Positive = 5.0
    """One that was lost must answer well for this long before it drives again in place of the fallback."""
    rate_hz: Positive = 30
    """At most so many inferences a second; never more than one for each new frame."""
    latency_s: NotNegative = 0
    """An inference shall take no longer: else the bundle's next lower resolution runs, if it has one; 0: than
    there is time at `rate_hz`."""
    cpu_share: Annotated[float, Field(gt=0, le=1, strict=True)] = 1
    """The part of all CPUs of this computer that inference may use: it runs less often then."""
    gpu_share: Annotated[float, Field(gt=0, le=1, strict=True)] = 1
    """The part of the time that it may keep the GPU busy."""
    deadline_s: Positive = 0.3
    """An inference that takes longer than this is a fault."""
    hung_s: Positive = 2.0
    """One that takes longer than this is given up."""
    max_chunk_age_s: Positive = 1.0
    """A chunk made from a frame older than this is not followed any more."""
    follow: Literal["latest", "ensemble", "blend", "rtc"] = "blend"
    """How a new chunk is merged with what was planned before: it alone counts, all that overlap are averaged,
    it fades in, or the policy itself goes on from what will be done until it has answered."""
    blend_s: NotNegative = 0.2
    """A new chunk fades in over this time, where it does."""
    threads: Annotated[int, Field(ge=1, le=64, strict=True)] = 1
    memory_mb: Annotated[int, Field(ge=0, strict=True)] = 0
    """A bundle that takes more of this computer's memory is refused; 0: one that takes more than is free."""
    resident_mb: Annotated[int, Field(ge=0, strict=True)] = 512
    """Bundles that drove before stay loaded while all together take no more than this; 0: none does."""
    relief: Fraction = 0.9
    """From this much memory in use on, of this computer or its GPU, policies give some back: caches and those
    that do not run, then larger resolutions, then the policy itself to the fallback; 1: never."""
    device: Device = "cpu"
    """cpu, cuda or cuda:1: where torch runs a model, and which GPU ONNX Runtime and TensorRT take."""
    onnx: OnnxSettings = OnnxSettings()
    tensorrt: TensorrtSettings = TensorrtSettings()
    torch: TorchSettings = TorchSettings()
    server: ServerSettings | None = None
    """Where the policy runs, if its bundle has no model of its own."""

    @property
    def target_s(self) -> float:
        """What an inference shall take at most."""
        period_s = 1 / self.rate_hz
        return min(self.latency_s, period_s) if self.latency_s else period_s
