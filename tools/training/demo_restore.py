"""The demo policy's published ONNX file in the forms that the other backends read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tools.training.demo_model import IMAGE_HEIGHT, IMAGE_WIDTH, SCAN_BEAMS, DemoNet
from tools.training.instructions import LENGTH
from vlad.policy.backends.torch_package import compile_package

_BATCH_NORM_EPSILON = 1e-5


def restore(model: Path) -> DemoNet:
    """The network that computes what the ONNX file does. ValueError names what the file has not.

    Export folds each batch normalisation into its convolution, and turns the weights of some linear layers
    round; the head that is only trained with, `range`, is gone.
    """
    weights = _weights(model)
    net = DemoNet(len(weights["word.weight"])).eval()
    state = net.state_dict()
    for name, old in state.items():
        if not name.startswith("range.") and name not in ("cells", "beams"):
            state[name] = torch.tensor(_find(name, tuple(old.shape), weights, model)).view_as(old)
    net.load_state_dict(state)
    return net


def with_prefix(model: Path, rows: int) -> DemoNet:
    """The same network with so many rows of a prefix as an input; it repeats them, but does not heed them."""
    plain = restore(model)
    net = DemoNet(plain.word.num_embeddings, rows)
    state, first = plain.state_dict(), "act.0.weight"
    wider = torch.zeros_like(net.state_dict()[first])
    wider[:, : state[first].shape[1]] = state[first]
    net.load_state_dict(state | {first: wider})
    return net


def write_torch(model: Path, kind: str, path: Path) -> None:
    """Write the same function as a model of torch's; `kind` is export, script or aot, which is compiled."""
    net = restore(model)
    tensors = {name: torch.from_numpy(array) for name, array in example(model).items()}
    if kind == "script":
        traced = torch.jit.trace(net, tuple(tensors.values()))  # type: ignore[no-untyped-call]
        torch.jit.freeze(traced).save(str(path))
        return
    program = torch.export.export(net, (), kwargs=tensors)
    if kind == "aot":
        compile_package(program, path)
    else:
        torch.export.save(program, path)


def example(model: Path, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Inputs by name, as they look after normalisation, in the order of the network's arguments."""
    random = np.random.default_rng(seed)
    words = len(_weights(model)["word.weight"])
    return {
        "image": random.standard_normal((1, 3, IMAGE_HEIGHT, IMAGE_WIDTH), np.float32),
        "scan": random.standard_normal((1, SCAN_BEAMS), np.float32),
        "odometry": random.standard_normal((1, 2), np.float32),
        "tokens": random.integers(1, words, (1, LENGTH)),
    }


def without_wrapped_padding(model: Path, path: Path) -> None:
    """Write the same function with its circular padding as slices: OpenVINO knows no Pad of mode `wrap`."""
    proto = onnx.load(str(model))
    weights = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}
    nodes = []
    for node in proto.graph.node:
        if node.op_type == "Pad" and helper.get_node_attr_value(node, "mode") == b"wrap":
            nodes += _wrap(node, weights[node.input[1]])
        else:
            nodes.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    onnx.save(proto, str(path))


def _weights(model: Path) -> dict[str, NDArray[Any]]:
    return {item.name: numpy_helper.to_array(item) for item in onnx.load(str(model)).graph.initializer}


def _find(name: str, shape: tuple[int, ...], weights: dict[str, NDArray[Any]], model: Path) -> NDArray[Any]:
    """The value of one entry of the network's state."""
    if name in weights:
        return weights[name]
    if name.startswith("eye."):
        return _unfolded(name, shape, weights)
    turned = [array for array in weights.values() if array.shape == shape[::-1]]
    if len(turned) != 1:
        raise ValueError(f"{model}: has no weights for {name}; was it exported by another version?")
    return turned[0].T.copy()


def _unfolded(name: str, shape: tuple[int, ...], weights: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """A batch normalisation that only adds the bias: the rest is in the convolution's weights already."""
    block, entry = name.removeprefix("eye.")[0], name.rpartition(".")[2]
    constants = {"running_mean": 0, "running_var": 1, "num_batches_tracked": 0}
    if entry == "bias":
        return weights[f"eye.{block}.0.weight_bias"]
    return np.full(shape, constants.get(entry, math.sqrt(1 + _BATCH_NORM_EPSILON)))


def _wrap(node: onnx.NodeProto, pads: NDArray[Any]) -> list[onnx.NodeProto]:
    """Pad the last axis of (B, C, N) with what is at its other end."""
    source, target = node.input[0], node.output[0]
    before, after = int(pads[2]), int(pads[5])
    ends = {"head": (0, after), "tail": (-before, 2**31 - 1)}
    nodes = []
    for end, (start, stop) in ends.items():
        names = []
        for key, value in (("start", start), ("stop", stop), ("axis", 2)):
            names.append(f"{target}_{end}_{key}")
            array = numpy_helper.from_array(np.array([value], np.int64))
            nodes.append(helper.make_node("Constant", [], [names[-1]], value=array))
        nodes.append(helper.make_node("Slice", [source, *names], [f"{target}_{end}"]))
    parts = [f"{target}_tail", source, f"{target}_head"]
    return [*nodes, helper.make_node("Concat", parts, [target], axis=2)]
