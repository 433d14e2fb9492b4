"""`tools/train_g1 DATASET`: train the G1 policy on recorded episodes and write its bundle.

About a quarter of an hour on two cores: one process for each member of the ensemble, two at a time.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import queue
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tools.lerobot.dataset import Dataset, DatasetError, Episode, episode_numbers
from tools.lerobot.samples import ACTION
from tools.training.g1_bundle import write_bundle
from tools.training.g1_data import Frames, load_frames
from tools.training.g1_fit import fit, predict
from tools.training.g1_model import ChunkNet, Ensemble, Statistics, measure

_FOLDER = Path(__file__).parents[1] / "models" / "g1" / "1"
_MEMBERS, _STEPS = 6, 1500
_REPORT_STEPS = 20
_POLL_S = 0.5

_MESSAGES: Any = None
"""In a member's process: where its progress goes."""


def main(arguments: list[str]) -> None:
    """Train, check and write the bundle; exits with a message where the data cannot be used."""
    options = _parse(arguments)
    console = Console(stderr=True)
    began_s = time.monotonic()
    try:
        dataset = Dataset(options.dataset)
        train = _chosen(dataset, options.train)
        validate = _chosen(dataset, options.validate)
        frames = _load(dataset, train, "episodes to train on", console)
        held_out = _load(dataset, validate, "episodes to validate on", console)
    except DatasetError as problem:
        sys.exit(str(problem))
    notice = options.dataset / "LICENSE"
    if not notice.is_file():
        sys.exit(f"{notice}: is missing; the bundle must carry the licence of the data it was made from")
    statistics = measure(frames)
    net = Ensemble(_train(frames, statistics, options.steps, console)).eval()
    chunk = predict(net, held_out, statistics)
    error, hold = absolute_errors(held_out, chunk)
    minutes = (time.monotonic() - began_s) / 60
    provenance = {
        "data": "github.com/YifanTian07/G1-policy-train (MIT, see DATA-LICENSE), LeRobot v2.1",
        "instruction": train[0].instruction,
        "trained_episodes": [episode.index for episode in train],
        "validated_episodes": [episode.index for episode in validate],
        "mean_absolute_error": round(error, 5),
        "hold_last_command_error": round(hold, 5),
        "ratio": round(error / hold, 3),
        "members": _MEMBERS,
        "seeds": list(range(_MEMBERS)),
        "steps": options.steps,
        "training_minutes": round(minutes, 1),
    }
    joints = dataset.names(ACTION)
    latency_s = write_bundle(
        options.out, net, statistics, dataset.robot_type, joints, 1 / dataset.fps, notice, provenance
    )
    console.print(f"Mean absolute error over one second: {error:.4f}, "
                  f"hold the last command: {hold:.4f}, ratio {error / hold:.3f}")  # fmt: skip
    console.print(f"Wrote {options.out} in {minutes:.1f} min; {1e3 * latency_s:.1f} ms on one thread")


def absolute_errors(frames: Frames, chunk: Any) -> tuple[float, float]:
    """Mean absolute error of `chunk`, and of repeating each frame's own command (see g1_evaluate)."""
    error = abs(chunk - frames.chunk).mean()
    return float(error), float(abs(frames.chunk - frames.chunk[:, :1]).mean())


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/train_g1", description=__doc__)
    parser.add_argument("dataset", type=Path, help="folder of a LeRobot dataset, v2.1 or v3")
    parser.add_argument("--train", type=episode_numbers, default="1-26", help="episodes (1-26)")
    parser.add_argument("--validate", type=episode_numbers, default="27-33", help="episodes (27-33)")
    parser.add_argument("--steps", type=int, default=_STEPS, help=f"of each member ({_STEPS})")
    parser.add_argument("--out", type=Path, default=_FOLDER, help="folder of the bundle (tools/models/g1/1)")
    return parser.parse_args(arguments)


def _chosen(dataset: Dataset, numbers: frozenset[int]) -> list[Episode]:
    chosen = [episode for episode in dataset.episodes if episode.index in numbers]
    if not chosen:
        raise DatasetError(f"{dataset.folder}: has none of the episodes {min(numbers)} to {max(numbers)}; "
                           f"name others with --train and --validate")  # fmt: skip
    return chosen


def _load(dataset: Dataset, episodes: list[Episode], what: str, console: Console) -> Frames:
    with _progress(console) as progress:
        task = progress.add_task(f"Decoding {what}", total=len(episodes))
        return load_frames(dataset, episodes, partial(progress.advance, task))


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def _train(frames: Frames, statistics: Statistics, steps: int, console: Console) -> list[ChunkNet]:
    """The members of the ensemble, each in a process of its own."""
    context = mp.get_context("spawn")
    messages = context.Queue()
    workers = min(_MEMBERS, os.cpu_count() or 1)
    with (
        ProcessPoolExecutor(workers, context, _start_worker, (messages,)) as pool,
        _progress(console) as progress,
    ):
        tasks = [progress.add_task(f"Member {member + 1}", total=steps) for member in range(_MEMBERS)]
        futures = [pool.submit(_fit_member, frames, statistics, member, steps) for member in range(_MEMBERS)]
        while not all(future.done() for future in futures):
            _show(messages, progress, tasks)
        return [_result(future, statistics) for future in futures]


def _show(messages: Any, progress: Progress, tasks: list[Any]) -> None:
    try:
        member, step, loss = messages.get(timeout=_POLL_S)
    except queue.Empty:
        return
    description = f"Member {member + 1}, error {loss:.4f}"
    progress.update(tasks[member], completed=step, description=description)


def _result(future: Future[dict[str, torch.Tensor]], statistics: Statistics) -> ChunkNet:
    net = ChunkNet(statistics)
    net.load_state_dict(future.result())
    return net.eval()


def _start_worker(messages: Any) -> None:
    global _MESSAGES
    _MESSAGES = messages
    torch.set_num_threads(1)


def _fit_member(frames: Frames, statistics: Statistics, member: int, steps: int) -> dict[str, torch.Tensor]:
    losses: list[float] = []

    def report(loss: float) -> None:
        losses.append(loss)
        if len(losses) % _REPORT_STEPS == 0 or len(losses) == steps:
            _MESSAGES.put((member, len(losses), sum(losses[-_REPORT_STEPS:]) / _REPORT_STEPS))

    return fit(frames, statistics, member, steps, report).state_dict()


if __name__ == "__main__":
    main(sys.argv[1:])
