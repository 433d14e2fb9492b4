"""torch.onnx.export notes the source files of each node; a published model is better without these notes."""

from __future__ import annotations

from pathlib import Path

import onnx


def forget_traces(model: Path) -> None:
    """Rewrite the ONNX file without those notes: nothing that is computed changes."""
    proto = onnx.load(str(model))
    graph = proto.graph
    values = (*graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for part in (proto, graph, *graph.node, *values):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(proto, str(model))
