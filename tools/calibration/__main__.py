"""`tools/calibrate BUNDLE DATASET...`: from which doubt on a policy is slowed down, and from which stopped.

The measures of its confidence (vlad/policy/confidence.py) are taken in each episode, the largest value of
each counts, and split conformal prediction says which values an episode in which all is well exceeds with a
probability of at most alpha: half of the episodes give the limits, the other half shows whether they hold.
Episodes that the policy was trained on are left out, as it is surer there than it will ever be again. With
--worlds the episodes are drives of the simulated rover.

The limits go to calibration/NAME/VERSION.toml in the state folder, where vlad finds them when it loads the
bundle: at its start, or with `vladctl model activate`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tools.calibration.calibrate import Alphas, Outcome, Scores, TooFewError, calibrate
from tools.calibration.recordings import score
from tools.lerobot.dataset import Dataset, DatasetError, episode_numbers
from tools.lerobot.samples import chosen_episodes
from vlad.clock import FakeClock
from vlad.policy.bundle import Bundle, BundleRefused, load_bundle
from vlad.policy.calibration import Calibration, manifest_sha256, write_calibration
from vlad.policy.policy import Policy

_DRIVE_HZ = 10.0


def main(arguments: list[str]) -> None:
    """Calibrate, print, write; exits with a message where that cannot be done."""
    options = _parse(arguments)
    alphas = Alphas(options.slow_alpha, options.stop_alpha)
    try:
        bundle = load_bundle(options.bundle)
        episodes = _drives(bundle, options) if options.worlds else _recorded(bundle, options)
        outcome = calibrate(episodes, alphas, options.seed)
        rate_hz = _DRIVE_HZ if options.worlds else options.rate_hz
        calibration = _calibration(bundle, outcome, alphas, rate_hz)
        path = write_calibration(options.state_dir, bundle, calibration)
    except (BundleRefused, DatasetError, TooFewError) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}; name another folder with --state-dir")
    _print(calibration, outcome, path, options.json)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/calibrate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="the bundle's folder")
    add("recordings", type=Path, nargs="*", metavar="DATASET", help="folder of a LeRobot dataset, v2.1 or v3")
    add("--worlds", type=int, help="drive the simulated rover in so many worlds instead")
    add("--episodes", type=episode_numbers, help="such as 27-33; without: all not trained on")
    add("--rate-hz", type=_positive, default=30.0, help="inferences a second, as policy.rate_hz (30)")
    add("--slow-alpha", type=_part, default=0.1, help="part of good episodes that may be slowed down (0.1)")
    add("--stop-alpha", type=_part, default=0.01, help="part of good episodes that may be stopped (0.01)")
    add("--state-dir", type=Path, default=Path("/var/lib/vlad"), help="vlad's, paths.state_dir (%(default)s)")
    add("--seed", type=int, default=0, help="of the lot that says which half calibrates (0)")
    add("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    if bool(options.recordings) == bool(options.worlds):
        parser.error("name at least one DATASET, or give --worlds")
    if options.stop_alpha > options.slow_alpha:
        parser.error("--stop-alpha must not be above --slow-alpha: a robot is slowed down before it stops")
    return options


def _part(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _recorded(bundle: Bundle, options: argparse.Namespace) -> list[Scores]:
    clock = FakeClock()
    policy = Policy(bundle, clock)
    try:
        found = [
            (dataset, episode)
            for dataset in map(Dataset, options.recordings)
            for episode in chosen_episodes(dataset, bundle, options.episodes)
        ]
        trained = set(bundle.manifest.provenance.get("trained_episodes", ()))
        if known := sum(episode.index in trained for _, episode in found):
            sys.stderr.write(
                f"{bundle} was trained on {known} of these episodes: its limits may be too low\n"
            )
        shown = track(found, str(bundle), console=Console(stderr=True), disable=options.json)
        return [score(policy, dataset, episode, options.rate_hz, clock) for dataset, episode in shown]
    finally:
        policy.close()


def _drives(bundle: Bundle, options: argparse.Namespace) -> list[Scores]:
    """Those in which all was well; the others are none to learn from what is usual."""
    from tools.calibration.worlds import drives  # the simulation takes a moment to import

    done: Iterator[Scores | None] = drives(bundle.folder, options.worlds)
    console = Console(stderr=True)
    shown = track(done, str(bundle), options.worlds, console=console, disable=options.json)
    return [scores for scores in shown if scores is not None]


def _calibration(bundle: Bundle, outcome: Outcome, alphas: Alphas, rate_hz: float) -> Calibration:
    return Calibration(
        bundle=str(bundle),
        manifest_sha256=manifest_sha256(bundle),
        episodes=outcome.calibrated,
        rate_hz=rate_hz,
        alpha_slow=alphas.slow,
        alpha_stop=alphas.stop,
        measures={name: found.limits for name, found in outcome.measures.items()},
    )


def _print(calibration: Calibration, outcome: Outcome, path: Path, as_json: bool) -> None:
    if as_json:
        verified = {
            name: {"over_slow": found.over_slow, "over_stop": found.over_stop}
            for name, found in outcome.measures.items()
        }
        figures = {**calibration.model_dump(by_alias=True), "verified_on": outcome.verified}
        json.dump({**figures, "verified": verified, "file": str(path)}, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    table = Table(
        "measure",
        f"slows above (alpha {calibration.alpha_slow:g})",
        f"stops above (alpha {calibration.alpha_stop:g})",
        title=f"{calibration.bundle}, n = {calibration.episodes} episodes",
    )
    for name, found in outcome.measures.items():
        table.add_row(name, f"{found.limits.slow:.4g}", f"{found.limits.stop:.4g}")
        table.add_row(
            f"  {outcome.verified} other episodes", f"{found.over_slow} above", f"{found.over_stop} above"
        )
    console = Console()
    console.print(table)
    console.print(f"bundle (SHA-256 of its manifest): {calibration.manifest_sha256}", soft_wrap=True)
    console.print(f"written to {path}; load the bundle anew for it to count", soft_wrap=True)


if __name__ == "__main__":
    main(sys.argv[1:])
