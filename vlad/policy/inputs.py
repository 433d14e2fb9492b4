"""What may stand under [[inputs]] of a bundle's policy.toml: a table for each kind of input.

Numbers are normalised either by `mean` and `std`, or by the quantiles `q01` and `q99`, which become -1 and 1.
An image, joint or odometry input whose shape has one size more, after the 1, has a history: the newest and
what was given to the model in the inferences before, the oldest first.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

TWIST_FIELDS = ("linear_x", "linear_y", "linear_z", "angular_x", "angular_y", "angular_z")

Word = Annotated[str, Field(min_length=1)]
Size = Annotated[int, Field(ge=1, le=65_536)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Numbers = tuple[float, ...]
Words = Annotated[tuple[Word, ...], Field(min_length=1)]
Point = tuple[Finite, Finite, Finite]


class Table(BaseModel):
    """A table of policy.toml: every key is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Normalised(Table):
    """Numbers that the model takes or gives as (x - mean) / std."""

    mean: Numbers = ()
    std: Numbers = ()
    q01: Numbers = ()
    q99: Numbers = ()

    def scale(self) -> tuple[Numbers, Numbers]:
        """Mean and standard deviation; of quantiles their middle and half their distance."""
        if not self.q01:
            return self.mean, self.std
        pairs = list(zip(self.q01, self.q99, strict=True))
        return tuple((low + high) / 2 for low, high in pairs), tuple((high - low) / 2 for low, high in pairs)

    def mistakes(self, *counts: int) -> list[str]:
        """What is wrong with the numbers, which must have one of these lengths."""
        if (self.mean or self.std) and (self.q01 or self.q99):
            return ["has quantiles beside mean and std; keep those that the policy was trained with"]
        pair = ("q01", "q99") if self.q01 or self.q99 else ("mean", "std")
        wanted = " or ".join(str(count) for count in sorted(set(counts)))
        reasons = []
        for key in pair:
            if len(values := getattr(self, key)) not in counts:
                reasons.append(f"{key} has {len(values)} numbers; it must have {wanted}")
            if not all(map(math.isfinite, values)):
                reasons.append(f"{key} has a number that is not finite")
        if not reasons and not all(value > 0 for value in self.scale()[1]):
            reasons.append(
                "q99 is not above q01 somewhere; use mean and std, with a std of 1.0, for what never varies"
                if self.q01
                else "std has a number that is not above zero; use 1.0 where nothing varies"
            )
        return reasons


def repeated(key: str, names: tuple[str, ...]) -> list[str]:
    """A line if a name stands twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    return [f"{key} names {', '.join(twice)} more than once"] if twice else []


def refuse(reasons: list[str]) -> None:
    """ValueError with all reasons, if there is one."""
    if reasons:
        raise ValueError("\n".join(reasons))


class ImageInput(Normalised):
    """A picture: decoded, RGB, cropped, resized by area to (H, W).

    With dtype float32: (1, 3, H, W), (x / 255 - mean) / std. With uint8: (1, H, W, 3), the pixels themselves,
    for policy servers. `crop` is the part that is used, as fractions of the picture. `fit` says what becomes
    of another ratio of height and width: it is stretched, padded with black around it, or cut to its middle.
    `encode` makes a JPEG file of the pixels, (1,) bytes, for servers that read those.
    """

    name: Word
    kind: Literal["image"]
    signal: Word
    shape: tuple[Size, ...]
    dtype: Literal["float32", "uint8"] = "float32"
    crop: tuple[Finite, Finite, Finite, Finite] = (0, 0, 1, 1)
    """Left, top, right, bottom, 0 to 1."""
    fit: Literal["stretch", "pad", "cut"] = "stretch"
    encode: Literal["jpeg"] | None = None
    quality: Annotated[int, Field(ge=1, le=100)] = 90
    """Of the JPEG file: 100 is the largest, and nearest to the picture."""

    @property
    def history(self) -> int:
        """How many pictures; 0: one, without an axis for it."""
        return self.shape[1] if len(self.shape) == 5 else 0

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.shape[-2:] if self.dtype == "float32" else self.shape[-3:-1]  # type: ignore[return-value]

    @model_validator(mode="after")
    def _agrees(self) -> ImageInput:
        reasons = [] if self.dtype == "uint8" else self.mistakes(3)
        if self.dtype == "uint8" and (self.mean or self.std or self.q01 or self.q99):
            reasons.append("a uint8 image is not normalised; remove mean and std, or use float32")
        if self.encode and (self.dtype != "uint8" or self.history):
            reasons.append("encode is for a single uint8 picture; remove it, or send the pixels so")
        if self.encode is None and "quality" in self.model_fields_set:
            reasons.append('quality is for encode = "jpeg"; add that, or remove it')
        planes = self.dtype == "float32"
        if len(self.shape) not in (4, 5) or self.shape[0] != 1 or self.shape[-3 if planes else -1] != 3:
            form = "[1, 3, H, W]" if planes else "[1, H, W, 3]"
            reasons.append(f"shape is {list(self.shape)}; a {self.dtype} image has {form}, with K pictures "
                           f"one more size after the 1")  # fmt: skip
        left, top, right, bottom = self.crop
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            reasons.append(f"crop is {list(self.crop)}; it must be [left, top, right, bottom] within 0 to 1")
        refuse(reasons)
        return self


class LaserInput(Normalised):
    """(1, K) float32: metres, cut at `range_max_m`, the nearest beam of each of K sectors, normalised.

    The sectors share the beams in their order; with `angles` they are equal parts of that span [rad] in the
    scan's frame, whatever the laser's own beams are, and one that no beam looks into is free.
    """

    name: Word
    kind: Literal["laser_scan"]
    signal: Word
    shape: tuple[Literal[1], Size]
    range_max_m: Positive
    angles: tuple[Finite, Finite] | None = None
    """Where the first sector begins and the last ends."""

    @model_validator(mode="after")
    def _agrees(self) -> LaserInput:
        reasons = self.mistakes(1, self.shape[1])
        if self.angles is not None and not 0 < self.angles[1] - self.angles[0] <= 2 * math.pi + 1e-6:
            reasons.append(f"angles is {list(self.angles)}; the second must be greater, by at most 2 pi")
        refuse(reasons)
        return self


class CloudInput(Table):
    """(1, X, Y, Z) float32: 1 where a voxel of the box from `low` to `high` [m] has a point, else 0."""

    name: Word
    kind: Literal["point_cloud"]
    signal: Word
    shape: tuple[Literal[1], Size, Size, Size]
    low: Point
    high: Point

    @model_validator(mode="after")
    def _agrees(self) -> CloudInput:
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"low {list(self.low)} must be below high {list(self.high)} in x, y and z")
        return self


class _Row(Normalised):
    """A row of numbers, (1, N) or with a history (1, K, N)."""

    name: Word
    signal: Word
    shape: tuple[Literal[1], Size] | tuple[Literal[1], Size, Size]

    @property
    def history(self) -> int:
        """How many rows; 0: one, without an axis for it."""
        return self.shape[1] if len(self.shape) == 3 else 0


class OdometryInput(_Row):
    """float32: these components of the twist [m/s, rad/s], normalised."""

    kind: Literal["odometry"]
    fields: Annotated[
        tuple[Literal["linear_x", "linear_y", "linear_z", "angular_x", "angular_y", "angular_z"], ...],
        Field(min_length=1),
    ]

    @model_validator(mode="after")
    def _agrees(self) -> OdometryInput:
        reasons = repeated("fields", self.fields) + self.mistakes(len(self.fields))
        if self.shape[-1] != len(self.fields):
            reasons.append(f"shape says {self.shape[-1]} numbers, fields lists {len(self.fields)}")
        refuse(reasons)
        return self


class JointInput(_Row):
    """float32: one quantity of these joints in this order, whatever order the driver has."""

    kind: Literal["joint_state"]
    field: Literal["position", "velocity", "effort", "temperature", "current"]
    joints: Words

    @model_validator(mode="after")
    def _agrees(self) -> JointInput:
        reasons = repeated("joints", self.joints) + self.mistakes(len(self.joints))
        if self.shape[-1] != len(self.joints):
            reasons.append(f"shape says {self.shape[-1]} joints, joints lists {len(self.joints)}")
        refuse(reasons)
        return self


class InstructionInput(Table):
    """What the robot is told: (1, L) int64, the ids of the bundle's tokenizer, cut or padded with 0.

    Without a tokenizer it is the text itself, of shape (1,), for policy servers.
    """

    name: Word
    kind: Literal["instruction"]
    signal: Word
    shape: tuple[Literal[1], Size] | tuple[Literal[1]] = (1,)
    tokenizer: Word | None = None

    @model_validator(mode="after")
    def _agrees(self) -> InstructionInput:
        if self.tokenizer is None and len(self.shape) != 1:
            raise ValueError("shape asks for token ids; name the tokenizer's file, or remove shape")
        if self.tokenizer is not None and len(self.shape) != 2:
            raise ValueError("shape is missing; [1, L] for L token ids")
        return self


class PrefixInput(Table):
    """(1, P, N) float32: the first P rows of what will be done from the frame on, normalised like the output.

    Rows that nobody knows yet are 0. `length` is the name of a (1,) int64 input: how many rows at the
    beginning will have been done before the answer can be there, so that the answer must go on from them.
    """

    name: Word
    kind: Literal["prefix"]
    shape: tuple[Literal[1], Size, Size]
    length: Word | None = None


class NoiseInput(Table):
    """float32 of any shape: standard normal numbers, new for each inference.

    With the samples of the output along its first axis each sample gets its own: (K, horizon, N), say.
    """

    name: Word
    kind: Literal["noise"]
    shape: Annotated[tuple[Size, ...], Field(min_length=1)]
    seed: Annotated[int, Field(ge=0)] = 0


SignalInput: TypeAlias = ImageInput | LaserInput | CloudInput | OdometryInput | JointInput | InstructionInput
Input: TypeAlias = Annotated[SignalInput | PrefixInput | NoiseInput, Field(discriminator="kind")]
INPUT: TypeAdapter[Input] = TypeAdapter(Input)
