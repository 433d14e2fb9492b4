"""`tools/evaluate g1 DATASET`: the G1 policy's action error on recordings, beside "hold the last command".

The error is the mean, over all frames t of all episodes, over the steps k = 0..29 of the second that
follows and over the 26 joints, of |predicted - recorded| (radians for the arms, 0 to 1 for the fingers).
Step k of the chunk made at frame t is compared with the command recorded with frame t + k; past the end of an
episode, for both, with the episode's last command.

"Hold the last command" repeats the command recorded with frame t itself, which gives 0.032 on episodes 27
to 33 of g1-pick-bottle. The policy knows less: of the commands, it is given the one of frame t - 1 and how
fast the commands changed up to it (topic `targets`), never that of frame t. The policy is run by the daemon's
own code, from full pictures, a frame at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tools.lerobot.dataset import Dataset, DatasetError, Episode, episode_numbers
from tools.lerobot.samples import chosen_episodes, episode_samples, read_motion
from tools.training.g1_data import CAMERA, future_actions
from vlad.clock import Clock, SystemClock
from vlad.policy.bundle import Bundle, BundleRefused, load_bundle
from vlad.policy.policy import Policy

_BUNDLE = Path(__file__).parents[1] / "models" / "g1" / "1"


@dataclass(frozen=True, slots=True)
class EpisodeErrors:
    """Mean absolute errors of one episode."""

    episode: int
    frames: int
    policy: float
    hold_last_command: float
    latency_ms: NDArray[np.float64]
    """(frames,): how long the model ran."""


def main(arguments: list[str]) -> None:
    """Print both errors and their ratio; exits with a message where the data or the bundle cannot be used."""
    options = _parse(arguments)
    try:
        dataset = Dataset(options.dataset)
        bundle = load_bundle(options.bundle)
        policy = Policy(bundle, SystemClock())
        episodes = chosen_episodes(dataset, bundle, options.episodes)
        _require_same_robot(dataset, bundle)
        description = f"{bundle.name}/{bundle.version} on {len(episodes)} episodes"
        shown = track(episodes, description, console=Console(stderr=True), disable=options.json)
        errors = [evaluate(policy, dataset, episode, SystemClock()) for episode in shown]
    except (DatasetError, BundleRefused) as error:
        sys.exit(str(error))
    policy.close()
    _print(summary(bundle, errors), options.json)


def evaluate(policy: Policy, dataset: Dataset, episode: Episode, clock: Clock) -> EpisodeErrors:
    """Run the policy on every frame of one episode. DatasetError where it cannot be read."""
    recorded = future_actions(read_motion(dataset, episode).action)
    chunks, latency_ms = [], []
    for samples in episode_samples(dataset, episode, clock, [CAMERA]):
        chunk = policy.infer(samples)
        chunks.append(chunk.actions)
        latency_ms.append(chunk.inference_ns / 1e6)
    return EpisodeErrors(
        episode.index,
        episode.length,
        float(np.abs(np.stack(chunks) - recorded).mean()),
        float(np.abs(recorded - recorded[:, :1]).mean()),
        np.array(latency_ms),
    )


def summary(bundle: Bundle, errors: list[EpisodeErrors]) -> dict[str, object]:
    """All figures; the means are over frames."""
    frames = [item.frames for item in errors]
    policy = float(np.average([item.policy for item in errors], weights=frames))
    hold = float(np.average([item.hold_last_command for item in errors], weights=frames))
    latency_ms = np.concatenate([item.latency_ms for item in errors])
    rows = [asdict(item) for item in errors]
    for row in rows:
        del row["latency_ms"]
    return {
        "bundle": str(bundle),
        "frames": sum(frames),
        "policy": round(policy, 5),
        "hold_last_command": round(hold, 5),
        "ratio": round(policy / hold, 4),
        "latency_p50_ms": round(float(np.percentile(latency_ms, 50)), 2),
        "latency_p99_ms": round(float(np.percentile(latency_ms, 99)), 2),
        "episodes": rows,
    }


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/evaluate g1", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, help="folder of a LeRobot dataset, v2.1 or v3")
    parser.add_argument("--episodes", type=episode_numbers, help="such as 27-33; without: all not trained on")
    parser.add_argument("--bundle", type=Path, default=_BUNDLE, help="folder (tools/models/g1/1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _require_same_robot(dataset: Dataset, bundle: Bundle) -> None:
    if dataset.names("action") != bundle.manifest.output.names:
        raise DatasetError(f"{dataset.folder}: its action is not the joints of {bundle} in their order; "
                           f"evaluate on data of {bundle.manifest.robot_type}")  # fmt: skip


def _print(figures: dict[str, object], as_json: bool) -> None:
    if as_json:
        json.dump(figures, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    table = Table("episode", "frames", "policy", "hold last command", "ratio", title=str(figures["bundle"]))
    rows = figures["episodes"]
    assert isinstance(rows, list)
    for row in rows:
        table.add_row(*_cells(str(row["episode"]), row))
    table.add_section()
    table.add_row(*_cells("all", figures), style="bold")
    console = Console()
    console.print(table)
    console.print(f"mean absolute error over one second; the model ran {figures['latency_p50_ms']} ms (p50), "
                  f"{figures['latency_p99_ms']} ms (p99)")  # fmt: skip


def _cells(name: str, row: Mapping[str, object]) -> tuple[str, ...]:
    policy, hold = float(str(row["policy"])), float(str(row["hold_last_command"]))
    return name, str(row["frames"]), f"{policy:.4f}", f"{hold:.4f}", f"{policy / hold:.3f}"


if __name__ == "__main__":
    main(sys.argv[1:])
