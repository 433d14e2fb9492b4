"""Each backend beside the bare runtime, on the demo policy: time, overhead, error; and preprocessing."""

from __future__ import annotations

import argparse
import gc
import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.benchmarks.report import Report, Target, at_most, machine
from vlad.messages import Image
from vlad.policy.inputs import ImageInput
from vlad.policy.preprocess import make_reader

LOCAL = ("onnx", "openvino", "export", "script", "aot")
OVERHEAD_US, PREPROCESSING_MS = 50.0, 1.0
_WARM_UP = 20
_FLOAT16 = "computed in float32 by ONNX Runtime, and by OpenVINO unless the CPU has it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=1000, help="pairs of runs each (default: %(default)s)")
    parser.add_argument("--models", nargs="+", choices=LOCAL, default=LOCAL,
                        help="forms of the model; aot compiles for half a minute (default: all)")  # fmt: skip


def run(arguments: argparse.Namespace) -> Report:
    gc.collect()
    gc.disable()
    local = importlib.import_module("tools.benchmarks.backends")
    results: dict[str, Any] = {}
    targets: list[Target] = []
    with local.demo_models() as models:
        for name in arguments.models:
            for precision in local.PRECISIONS[name]:
                case = models.case(name, precision)
                label = f"{name} {precision}"
                error = case.error()
                results[label] = {**compare(case.run, case.bare, arguments.runs), "max_error": error}
                case.close()
                exact_us = results[f"{name} float32"]["p50_us"]
                results[label]["part_of_float32"] = round(results[label]["p50_us"] / exact_us, 2)
                overhead = results[label]["overhead_p50_us"]
                targets.append(at_most(f"{label}: overhead p50 [us]", overhead, OVERHEAD_US))
                targets.append(at_most(f"{label}: largest error", error, local.TOLERANCE[precision]))
    results["preprocessing_p50_ms"] = _preprocessing(arguments.runs)
    targets.append(at_most("2 cameras 640x480 to 224x224, p50 [ms]", results["preprocessing_p50_ms"],
                           PREPROCESSING_MS))  # fmt: skip
    conditions = {**machine(), "runs": arguments.runs, "threads": 1, "float16": _FLOAT16}
    return Report("policy", conditions, results, targets)


def compare(call: Callable[[], object], bare: Callable[[], object], runs: int) -> dict[str, float]:
    """Both in turn, each first in every other pair; the overhead is the median of the pairs' differences."""
    for _ in range(_WARM_UP):
        call()
        bare()
    times = np.zeros((runs, 2))
    for number in range(runs):
        order = (call, bare) if number % 2 else (bare, call)
        pair = [_time_us(function) for function in order]
        times[number] = pair if number % 2 else pair[::-1]
    return {
        "p50_us": round(float(np.median(times[:, 0])), 1),
        "bare_p50_us": round(float(np.median(times[:, 1])), 1),
        "overhead_p50_us": round(float(np.median(times[:, 0] - times[:, 1])), 1),
    }


def _time_us(function: Callable[[], object]) -> float:
    began_ns = time.perf_counter_ns()
    function()
    return (time.perf_counter_ns() - began_ns) / 1000


def _preprocessing(runs: int) -> float:
    """Two cameras' frames to what a model takes, p50 in milliseconds."""
    random = np.random.default_rng(0)
    frames: list[NDArray[np.uint8]] = [random.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(2)]
    readers = [
        make_reader(
            ImageInput.model_validate({
                "name": name, "kind": "image", "signal": name, "shape": (1, 3, 224, 224),
                "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),
            }),
            Path(),
        )
        for name in ("head", "wrist")
    ]  # fmt: skip

    def both() -> None:
        for reader, pixels in zip(readers, frames, strict=True):
            reader.read(Image("rgb8", pixels))

    for _ in range(_WARM_UP):
        both()
    return round(float(np.median([_time_us(both) for _ in range(runs)])) / 1000, 3)
