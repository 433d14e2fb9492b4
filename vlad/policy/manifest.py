"""What may stand in a bundle's policy.toml: the types, and what must agree within one table.

A mistake in one input or in the output hides none in the others: pydantic checks each table by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from vlad.messages import Kind
from vlad.policy.inputs import (
    TWIST_FIELDS,
    ImageInput,
    Input,
    InstructionInput,
    NoiseInput,
    Normalised,
    Positive,
    PrefixInput,
    SignalInput,
    Size,
    Table,
    Word,
    Words,
    refuse,
    repeated,
)

SCHEMA = 1
"""The newest form of policy.toml that this vlad reads."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


def _listed(value: object) -> object:
    """One name as a list of one."""
    return (value,) if isinstance(value, str) else value


class Output(Normalised):
    """(samples, horizon, len(names)) float32; an action is y * std + mean in the units of `kind`.

    `name` is that of the model's output, or of several, whose columns are put side by side in this order.
    `collision` and `uncertainty` are names of (samples, 1) float32 outputs: the probability that following
    the chunk ends in a collision, and the policy's own doubt about it, both 0 to 1; the largest counts.
    `samples` answer the same question in one run: one of them is followed, and how far they lie apart says
    how sure the policy is.
    """

    name: Annotated[Words, BeforeValidator(_listed)]
    kind: Kind
    names: Words
    horizon: Annotated[int, Field(ge=1, le=4096)]
    step_s: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
    samples: Annotated[int, Field(ge=1, le=256)] = 1
    collision: Word | None = None
    uncertainty: Word | None = None

    @property
    def heads(self) -> tuple[str, ...]:
        """The outputs that are probabilities."""
        return tuple(head for head in (self.collision, self.uncertainty) if head)

    @model_validator(mode="after")
    def _agrees(self) -> Output:
        reasons = repeated("names", self.names) + self.mistakes(len(self.names))
        if self.kind == Kind.TWIST and (odd := [name for name in self.names if name not in TWIST_FIELDS]):
            reasons.append(f"names has {', '.join(odd)}; a twist has {', '.join(TWIST_FIELDS)}")
        reasons += repeated("name, collision and uncertainty", (*self.name, *self.heads))
        refuse(reasons)
        return self


class EncoderTable(Table):
    """A model in front of the model, run by the same backend, and only when its inputs have changed.

    `inputs` are names of [[inputs]], `outputs` are inputs of the main model. The outcomes for the last
    `remembers` different inputs are kept: many for an instruction, one for a picture.
    """

    model: Word
    inputs: Words
    outputs: Words
    remembers: Annotated[int, Field(ge=1, le=64)] = 1


class Variant(Table):
    """The same model for smaller pictures: its file, and the shapes of the image inputs that differ."""

    model: Word
    shapes: Annotated[dict[Word, tuple[Size, ...]], Field(min_length=1)]


class Manifest(Table):
    """All of policy.toml. `files` has the SHA-256 of every other file, by its path in the folder."""

    schema_version: Literal[1] = Field(alias="schema")
    name: Name
    version: Name
    robot_type: Word
    backend: Word
    precision: Literal["float32", "float16", "bfloat16", "int8"]
    model: Word | None = None
    """The model's file; policies that run on a server have none."""
    expected_latency_s: Positive
    files: dict[Word, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(default_factory=dict)
    inputs: Annotated[tuple[Input, ...], Field(min_length=1)]
    output: Output
    encoders: tuple[EncoderTable, ...] = ()
    variants: tuple[Variant, ...] = ()
    """The largest first, and all of them smaller than what [[inputs]] says."""
    provenance: dict[str, Any] = Field(default_factory=dict)

    @property
    def sampled(self) -> tuple[SignalInput, ...]:
        """The inputs that are made from signals."""
        return tuple(item for item in self.inputs if not isinstance(item, PrefixInput | NoiseInput))

    @property
    def noises(self) -> tuple[NoiseInput, ...]:
        """The inputs that are drawn."""
        return tuple(item for item in self.inputs if isinstance(item, NoiseInput))

    @property
    def prefix(self) -> PrefixInput | None:
        """The input that says what will be done in the meantime, if the model takes it."""
        return next((item for item in self.inputs if isinstance(item, PrefixInput)), None)

    @property
    def resolution(self) -> str:
        """Width and height of its pictures, each that there is."""
        sizes = (f"{item.size[1]}x{item.size[0]}" for item in self.sampled if isinstance(item, ImageInput))
        return ", ".join(dict.fromkeys(sizes))

    def at(self, variant: Variant) -> Manifest:
        """The manifest of one of `variants` by itself."""
        inputs = tuple(
            item.model_copy(update={"shape": variant.shapes.get(item.name, item.shape)})
            for item in self.inputs
        )
        return self.model_copy(update={"model": variant.model, "inputs": inputs, "variants": ()})

    @model_validator(mode="after")
    def _agrees(self) -> Manifest:
        lengths = [self.prefix.length] if self.prefix and self.prefix.length else []
        reasons = repeated("inputs", (*(item.name for item in self.inputs), *lengths)) + self._unfit_prefix()
        if not self.sampled:
            reasons.append("inputs has none of a signal; a policy must read a signal")
        named = [("model", self.model)] if self.model else []
        named += [("model of an encoder", encoder.model) for encoder in self.encoders]
        named += [("model of a variant", variant.model) for variant in self.variants]
        reasons += self._unfit_encoders() + self._unfit_variants()
        named += [
            (f"tokenizer of {item.name}", item.tokenizer)
            for item in self.inputs
            if isinstance(item, InstructionInput) and item.tokenizer
        ]
        reasons += [
            f"{key}: {file!r} is not listed in [files]" for key, file in named if file not in self.files
        ]
        refuse(reasons)
        return self

    def _unfit_prefix(self) -> list[str]:
        if self.prefix is None:
            return []
        reasons = []
        if sum(isinstance(item, PrefixInput) for item in self.inputs) > 1:
            reasons.append("inputs has more than one prefix")
        _, rows, columns = self.prefix.shape
        if rows > self.output.horizon or columns != len(self.output.names):
            reasons.append(
                f"input {self.prefix.name!r}: has {rows} rows of {columns} numbers; a prefix has at most the "
                f"{self.output.horizon} rows of the output, {len(self.output.names)} numbers each"
            )
        return reasons

    def _unfit_variants(self) -> list[str]:
        if self.variants and (self.model is None or self.encoders):
            return ["variants need a model of the bundle's own, without encoders; remove [[variants]]"]
        images = {item.name: item for item in self.inputs if isinstance(item, ImageInput)}
        reasons = []
        larger = self._pixels({})
        for variant in self.variants:
            where, wrong = f"variant {variant.model}", []
            for name, shape in variant.shapes.items():
                if name not in images:
                    wrong.append(f"{where}: {name!r} is no image of [[inputs]]; correct its name")
                elif not _same_but_size(shape, images[name]):
                    wrong.append(f"{where}: {name!r} is {list(shape)}; only height and width may differ "
                                 f"from {list(images[name].shape)}")  # fmt: skip
            if not wrong and (pixels := self._pixels(variant.shapes)) >= larger:
                wrong.append(f"{where}: is not smaller than the one before; put the largest first")
            elif not wrong:
                larger = pixels
            reasons += wrong
        return reasons

    def _pixels(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Numbers in all images, where `shapes` takes the place of some."""
        images = (item for item in self.inputs if isinstance(item, ImageInput))
        return sum(math.prod(shapes.get(item.name, item.shape)) for item in images)

    def _unfit_encoders(self) -> list[str]:
        known = [item.name for item in self.inputs]
        given = tuple(name for encoder in self.encoders for name in encoder.outputs)
        reasons = repeated("the outputs of encoders", given)
        if clash := sorted({*known} & {*given}):
            reasons.append(f"encoders give {', '.join(clash)}, which [[inputs]] have too; rename it")
        for encoder in self.encoders:
            if unknown := [name for name in encoder.inputs if name not in known]:
                reasons.append(
                    f"encoder {encoder.model}: no input {', '.join(unknown)} in [[inputs]]; add it"
                )
        return reasons


def _same_but_size(shape: tuple[int, ...], image: ImageInput) -> bool:
    """Whether it is that of the image but for height and width."""
    if len(shape) != len(image.shape):
        return False
    sized = list(shape)
    for at in (-2, -1) if image.dtype == "float32" else (-3, -2):
        sized[at] = image.shape[at]
    return tuple(sized) == image.shape
