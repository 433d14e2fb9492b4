"""What may stand in a bundle's policy.toml: the types, and what must agree within one table.

A mistake in one input or in the output hides none in the others: pydantic checks each table by itself.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from vlad.messages import Kind

SCHEMA = 1
"""The newest form of policy.toml that this vlad reads."""

TWIST_FIELDS = ("linear_x", "linear_y", "linear_z", "angular_x", "angular_y", "angular_z")

Word = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Size = Annotated[int, Field(ge=1, le=65_536)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Numbers = tuple[float, ...]
Words = Annotated[tuple[Word, ...], Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _normalisation(mean: Numbers, std: Numbers, counts: tuple[int, ...]) -> list[str]:
    """What is wrong with a mean and a standard deviation that must have one of these lengths."""
    wanted = " or ".join(str(count) for count in sorted(set(counts)))
    reasons = [
        f"{key} has {len(values)} numbers; it must have {wanted}"
        for key, values in (("mean", mean), ("std", std))
        if len(values) not in counts
    ]
    if not all(math.isfinite(value) for value in mean):
        reasons.append("mean has a number that is not finite")
    if not all(math.isfinite(value) and value > 0 for value in std):
        reasons.append("std has a number that is not finite and above zero; use 1.0 where nothing varies")
    return reasons


def _repeated(key: str, names: tuple[str, ...]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    return [f"{key} names {', '.join(twice)} more than once"] if twice else []


def _raise(reasons: list[str]) -> None:
    if reasons:
        raise ValueError("\n".join(reasons))


class ImageInput(_Table):
    """(1, 3, H, W) float32: decoded, RGB, resized by area to (H, W), then (x / 255 - mean) / std."""

    name: Word
    kind: Literal["image"]
    signal: Word
    shape: tuple[Literal[1], Literal[3], Size, Size]
    mean: Numbers
    std: Numbers

    @model_validator(mode="after")
    def _agrees(self) -> ImageInput:
        _raise(_normalisation(self.mean, self.std, (3,)))
        return self


class LaserInput(_Table):
    """(1, K) float32: metres, cut at `range_max_m`, the nearest of each group of beams, normalised."""

    name: Word
    kind: Literal["laser_scan"]
    signal: Word
    shape: tuple[Literal[1], Size]
    range_max_m: Positive
    mean: Numbers
    std: Numbers

    @model_validator(mode="after")
    def _agrees(self) -> LaserInput:
        _raise(_normalisation(self.mean, self.std, (1, self.shape[1])))
        return self


class OdometryInput(_Table):
    """(1, D) float32: these components of the twist [m/s, rad/s], normalised."""

    name: Word
    kind: Literal["odometry"]
    signal: Word
    shape: tuple[Literal[1], Size]
    fields: Annotated[
        tuple[Literal["linear_x", "linear_y", "linear_z", "angular_x", "angular_y", "angular_z"], ...],
        Field(min_length=1),
    ]
    mean: Numbers
    std: Numbers

    @model_validator(mode="after")
    def _agrees(self) -> OdometryInput:
        reasons = _repeated("fields", self.fields) + _normalisation(self.mean, self.std, (len(self.fields),))
        if self.shape[1] != len(self.fields):
            reasons.append(f"shape says {self.shape[1]} numbers, fields lists {len(self.fields)}")
        _raise(reasons)
        return self


class JointInput(_Table):
    """(1, N) float32: one quantity of these joints in this order, whatever order the driver has."""

    name: Word
    kind: Literal["joint_state"]
    signal: Word
    shape: tuple[Literal[1], Size]
    field: Literal["position", "velocity", "effort", "temperature", "current"]
    joints: Words
    mean: Numbers
    std: Numbers

    @model_validator(mode="after")
    def _agrees(self) -> JointInput:
        reasons = _repeated("joints", self.joints) + _normalisation(self.mean, self.std, (len(self.joints),))
        if self.shape[1] != len(self.joints):
            reasons.append(f"shape says {self.shape[1]} joints, joints lists {len(self.joints)}")
        _raise(reasons)
        return self


class InstructionInput(_Table):
    """(1, L) int64: the ids that the bundle's tokenizer gives the instruction, cut or padded with 0."""

    name: Word
    kind: Literal["instruction"]
    signal: Word
    shape: tuple[Literal[1], Size]
    tokenizer: Word


class PrefixInput(_Table):
    """(1, P, N) float32: the first P rows of what will be done from the frame on, normalised like the output.

    Rows that nobody knows yet are 0. `length` is the name of a (1,) int64 input: how many rows at the
    beginning will have been done before the answer can be there, so that the answer must go on from them.
    """

    name: Word
    kind: Literal["prefix"]
    shape: tuple[Literal[1], Size, Size]
    length: Word | None = None


SignalInput: TypeAlias = ImageInput | LaserInput | OdometryInput | JointInput | InstructionInput
Input: TypeAlias = Annotated[SignalInput | PrefixInput, Field(discriminator="kind")]


class Output(_Table):
    """(1, horizon, len(names)) float32; an action is y * std + mean in the units of `kind`.

    `collision` and `uncertainty` are names of (1, 1) float32 outputs: the probability that following the
    chunk ends in a collision, and the policy's own doubt about it, both 0 to 1.
    """

    name: Word
    kind: Kind
    names: Words
    horizon: Annotated[int, Field(ge=1, le=4096)]
    step_s: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
    mean: Numbers
    std: Numbers
    collision: Word | None = None
    uncertainty: Word | None = None

    @property
    def heads(self) -> tuple[str, ...]:
        """The outputs that are probabilities."""
        return tuple(head for head in (self.collision, self.uncertainty) if head)

    @model_validator(mode="after")
    def _agrees(self) -> Output:
        reasons = _repeated("names", self.names) + _normalisation(self.mean, self.std, (len(self.names),))
        if self.kind == Kind.TWIST and (odd := [name for name in self.names if name not in TWIST_FIELDS]):
            reasons.append(f"names has {', '.join(odd)}; a twist has {', '.join(TWIST_FIELDS)}")
        reasons += _repeated("name, collision and uncertainty", (self.name, *self.heads))
        _raise(reasons)
        return self


class Manifest(_Table):
    """All of policy.toml. `files` has the SHA-256 of every other file, by its path in the folder."""

    schema_version: Literal[1] = Field(alias="schema")
    name: Name
    version: Name
    robot_type: Word
    backend: Word
    precision: Literal["float32", "float16", "bfloat16", "int8"]
    model: Word
    expected_latency_s: Positive
    files: dict[Word, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]
    inputs: Annotated[tuple[Input, ...], Field(min_length=1)]
    output: Output
    provenance: dict[str, Any] = {}

    @property
    def sampled(self) -> tuple[SignalInput, ...]:
        """The inputs that are made from signals."""
        return tuple(item for item in self.inputs if not isinstance(item, PrefixInput))

    @property
    def prefix(self) -> PrefixInput | None:
        """The input that says what will be done in the meantime, if the model takes it."""
        return next((item for item in self.inputs if isinstance(item, PrefixInput)), None)

    @model_validator(mode="after")
    def _agrees(self) -> Manifest:
        lengths = [self.prefix.length] if self.prefix and self.prefix.length else []
        reasons = _repeated("inputs", (*(item.name for item in self.inputs), *lengths))
        reasons += self._unfit_prefix()
        named = [("model", self.model)]
        named += [
            (f"tokenizer of {item.name}", item.tokenizer)
            for item in self.inputs
            if isinstance(item, InstructionInput)
        ]
        reasons += [
            f"{key}: {file!r} is not listed in [files]" for key, file in named if file not in self.files
        ]
        _raise(reasons)
        return self

    def _unfit_prefix(self) -> list[str]:
        if self.prefix is None:
            return []
        reasons = [] if self.sampled else ["inputs has a prefix alone; a policy must read a signal"]
        if len(self.inputs) - len(self.sampled) > 1:
            reasons.append("inputs has more than one prefix")
        _, rows, columns = self.prefix.shape
        if rows > self.output.horizon or columns != len(self.output.names):
            reasons.append(
                f"input {self.prefix.name!r}: has {rows} rows of {columns} numbers; a prefix has at most the "
                f"{self.output.horizon} rows of the output, {len(self.output.names)} numbers each"
            )
        return reasons


INPUT: TypeAdapter[Input] = TypeAdapter(Input)
