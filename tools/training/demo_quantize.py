"""The demo policy's published ONNX file in less precise forms: int8 and float16.

Of the ONNX file the convolutions over the picture are quantised, weights and activations (Q/DQ), and nothing
else: what follows decides by small differences where the target is. For torch, torchao quantises the weights
of the linear layers, and the program has operators of torch's own only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from tools.training.demo_batch import FrameStore
from tools.training.demo_data import Episode
from tools.training.demo_restore import restore
from tools.training.instructions import make_tokenizer

CALIBRATION_WORLDS = (1_000_001, 1_000_002)
CHECK_WORLDS = (1_000_003, 1_000_004)
_EPISODE_FRAMES = 200

Observation = dict[str, NDArray[Any]]


def sightings(worlds: Sequence[int], count: int) -> list[Observation]:
    """What the policy sees of these worlds in an episode each, as the daemon would hand it over."""
    store = FrameStore(_EPISODE_FRAMES * len(worlds), make_tokenizer(), seed=0)
    for world in worlds:
        store.add(Episode(world, None).run())
    batch = store.batch(count)
    rows = zip(batch.image, batch.scan, batch.odometry, batch.tokens[:, 0], strict=True)
    names = ("image", "scan", "odometry", "tokens")
    return [
        {name: np.ascontiguousarray(value[None]) for name, value in zip(names, row, strict=True)}
        for row in rows
    ]


def quantize(model: Path, path: Path, seen: Iterable[Observation]) -> None:
    """Write the ONNX file with int8 convolutions over the picture, for the values that what was seen has."""
    proto = onnx.load(str(model))
    del proto.graph.value_info[:]  # torch's notes on shapes, which do not fit what is put in between
    looking = [node.name for node in proto.graph.node if node.op_type == "Conv" and "eye" in node.input[1]]
    quantize_static(
        proto,
        str(path),
        _Seen(seen),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_quantize=looking,
    )


def halve(model: Path, path: Path) -> None:
    """Write the ONNX file in float16, with inputs and outputs as they were."""
    proto = onnx.load(str(model))
    del proto.graph.value_info[:]
    onnx.save(convert_float_to_float16(proto, keep_io_types=True), str(path))


def quantize_program(model: Path, path: Path, example: Observation) -> None:
    """Write the same function as an exported program with int8 weights in its linear layers."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_
    from torchao.utils import unwrap_tensor_subclass

    net = restore(model)
    quantize_(net, Int8WeightOnlyConfig())
    unwrap_tensor_subclass(net)  # else the file would have pickles of torchao's types
    tensors = {name: torch.from_numpy(array) for name, array in example.items()}
    torch.export.save(torch.export.export(net, (), kwargs=tensors), path)


class _Seen(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    def __init__(self, seen: Iterable[Observation]) -> None:
        self._seen = iter(seen)

    def get_next(self) -> Observation | None:
        return next(self._seen, None)
