"""`tools/export RECORDING... --out FOLDER`: recordings of the black box as a LeRobot dataset, version 3."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tools.lerobot.recording import Recording, RecordingError
from tools.lerobot.write import Writer


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/export", description=__doc__)
    parser.add_argument("recordings", nargs="+", type=Path, metavar="RECORDING", help="files of recordings/")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder")
    parser.add_argument("--fps", type=int, default=10, metavar="N", help="frames a second (%(default)s)")
    parser.add_argument("--robot", default="", help="its type, for the dataset's description")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    try:
        episodes, frames, left_out = _export(arguments)
    except (RecordingError, FileExistsError) as error:
        print(f"tools/export: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps({"episodes": episodes, "frames": frames, "left_out": left_out}))
    else:
        print(f"{arguments.out}: {episodes} episodes, {frames} frames")
        for reason in left_out:
            print(f"left out: {reason}")
    return 0


def _export(arguments: argparse.Namespace) -> tuple[int, int, list[str]]:
    """How many episodes and frames were written, and what was left out and why."""
    writer: Writer | None = None
    episodes, left_out, names = 0, [], None
    for path in sorted(arguments.recordings):
        recording = Recording(path)
        mine = (recording.state_names, recording.action_names, recording.cameras)
        if names is not None and mine != names:
            left_out.append(f"{path}: its joints, command or cameras differ from those before")
            continue
        before = episodes
        for episode in recording.episodes(arguments.fps):
            names = mine
            if writer is None:
                writer = Writer(arguments.out, arguments.fps, arguments.robot, *mine)
            writer.add(episode)
            episodes += 1
        if episodes == before:
            left_out.append(f"{path}: the robot was not driven for a second")
    if writer is None:
        raise RecordingError("; ".join(left_out))
    writer.finish()
    return episodes, writer.frames, left_out


if __name__ == "__main__":
    raise SystemExit(main())
