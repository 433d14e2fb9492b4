"""What kind of model a file of torch's is, and whether it can be opened without running its author's Python.

A pickle runs whatever its author liked, and torch falls back to pickle in many places: `torch.load`, custom
objects, example inputs. Loading an exported program also evaluates its dimensions and guards as Python,
imports what its tree of inputs names, calls any function of torch's that its graph names, and writes the
graph's names into source code. So an exported program is let through only where it has none of that: plain
tensors, plain names, fixed shapes, torch's own operators.

TorchScript is a language of its own without access to Python, but for operators that open files and
connections. A package of AOTInductor is machine code and cannot be checked: it is as trustworthy as whoever
made the bundle.
"""

from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from vlad.policy.backends import BackendError

Kind: TypeAlias = Literal["export", "aot", "script"]

_AGAIN = "save it again with torch.export.save, or as TorchScript"

_PROGRAM = "models/model.json"
_EXAMPLE = "data/sample_inputs/model.pt"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_RECORDS = re.compile(
    rf"archive_(format|version)|byteorder|\.data/\w+|data/weights/weight_\d+|data/constants/tensor_\d+"
    rf"|{'|'.join(map(re.escape, (_PROGRAM, _EXAMPLE, *_CONFIGS)))}"
)
"""All that the archive of an exported program may hold."""

_NAME = re.compile(r"[\w.]*", re.ASCII)
_OPERATOR = re.compile(
    r"torch\.ops\.(aten\.(?!save\b|from_file\b)|prims\.)\w+\.\w+"
    r"|torch\.ops\.higher_order\.wrap_with_(set_grad_enabled|autocast)",
    re.ASCII,
)
_COMPUTED = ("as_expr", "expr_str", "range_constraints", "guards_code")
"""Where an exported program has expressions that loading it evaluates."""
_TREES = ("in_spec", "out_spec")
_TREE_TYPES = (None, "builtins.tuple", "builtins.list", "builtins.dict")
_TEXT = ("metadata", "torch_version", "as_string", "as_strings")
"""Notes on where a node came from, which are not run, and arguments of operators, which torch quotes."""

_SCRIPT_FORBIDDEN = re.compile(
    r"\b(save|from_file|rpc_\w+)\b|\bops\s*\.\s*(?!(aten|prim|prims|quantized|mkldnn_prepacked)\b)\w+"
)


def check(path: Path) -> Kind:
    """The kind of model in the file at `path`; BackendError where it is none, or could run Python."""
    with path.open("rb") as file:
        magic = file.read(2)
    if magic[:1] == b"\x80":
        raise BackendError(f"{path}: is a pickle, which can run anything when it is read; {_AGAIN}")
    try:
        archive = torch._C.PyTorchFileReader(str(path))
    except RuntimeError as error:
        raise BackendError(f"{path}: is no model of torch's: {error}; {_AGAIN}") from error
    records = archive.get_all_records()
    if any(name.startswith("data/aotinductor/") for name in records):
        return "aot"
    if _PROGRAM in records:
        _refuse(path, _program_faults(archive, records))
        return "export"
    if any(name.startswith("code/") for name in records):
        _refuse(path, _script_faults(archive, records))
        return "script"
    if "data.pkl" in records:
        raise BackendError(
            f"{path}: is a pickled module or state, which can run anything when it is read; {_AGAIN}"
        )
    raise BackendError(f"{path}: is neither an exported program nor TorchScript; {_AGAIN}")


def _refuse(path: Path, faults: Iterator[str]) -> None:
    if fault := next(faults, ""):
        raise BackendError(f"{path}: {fault}; {_AGAIN}")


def _script_faults(archive: Any, records: list[str]) -> Iterator[str]:
    for name in records:
        if name.startswith("code/") and name.endswith(".py"):
            code = archive.get_record(name).decode("utf-8", "replace")
            if found := _SCRIPT_FORBIDDEN.search(code):
                yield f"{name} uses {found[0]!r}, which a policy has no need of"


def _program_faults(archive: Any, records: list[str]) -> Iterator[str]:
    """Why this exported program is not loaded; the first reason is enough."""
    for name in records:
        if not _RECORDS.fullmatch(name):
            yield f"holds {name!r}, which is no plain tensor of one exported program"
    for name in _CONFIGS:
        if name not in records:
            yield f"lacks {name}"
            continue
        for entry in json.loads(archive.get_record(name))["config"].values():
            if entry["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
                yield f"{name} has pickled tensors"
    yield from _example_faults(archive.get_record(_EXAMPLE))
    yield from _faults(json.loads(archive.get_record(_PROGRAM)), "")


def _example_faults(pickled: bytes) -> Iterator[str]:
    """Example inputs are tensors; torch would read anything else without restraint."""
    try:
        torch.load(io.BytesIO(pickled), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        yield f"{_EXAMPLE} is more than tensors ({str(error).splitlines()[0]})"


def _faults(value: Any, key: str) -> Iterator[str]:
    """What in this part of models/model.json, found under `key`, is not plain."""
    if isinstance(value, str):
        if key in _TREES:
            yield from _tree_faults(json.loads(value)[1])
        elif key in ("target", "as_operator"):
            if not _OPERATOR.fullmatch(value):
                yield f"uses the operator {value!r}, which is not one of torch's own"
        elif not _NAME.fullmatch(value):
            yield f"has {value!r} where a name belongs"
    elif isinstance(value, list):
        for item in value:
            yield from _faults(item, key)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in _COMPUTED and item:
                yield "has open or computed dimensions; export it with fixed shapes"
            yield from _faults(name, "")
            if name not in _TEXT or not _is_text(item):
                yield from _faults(item, name)


def _is_text(value: Any) -> bool:
    """Whether this is text and no more: a tensor may bear the name of one of _TEXT."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return all(isinstance(part, str) for part in parts)


def _tree_faults(tree: Any) -> Iterator[str]:
    """A tree of inputs or outputs: of tuples, lists, and dicts by name."""
    if tree["type"] not in _TREE_TYPES:
        yield f"takes or gives a {tree['type']!r}; let forward take tensors and return tensors or a dict"
    yield from _faults(json.loads(tree["context"] or "null"), "")
    for child in tree["children_spec"]:
        yield from _tree_faults(child)
