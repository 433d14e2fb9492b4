"""What may stand on vladctl's command line."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

import vlad
from vlad.ctl.times import moment

_EPILOG = """\
exit status:
  0  done
  1  refused or failed; the reasons are shown
  2  wrong usage
  3  the daemon cannot be reached
  4  not permitted

The run folder is --run-dir, else $VLAD_RUN_DIR, else /run/vlad.
An e-stop by vladctl never replaces the button on the robot.
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser; `module` of the result is the file in vlad.ctl.commands that runs the command."""
    parser = argparse.ArgumentParser(
        prog="vladctl",
        description="Look at a running vlad, and act on it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vladctl {vlad.__version__}")
    named = os.environ.get("VLAD_RUN_DIR")
    _common(parser, run_dir=Path(named) if named else None, json=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _looking(commands)
    _acting(commands)
    _offline(commands)
    return parser


def _common(parser: argparse.ArgumentParser, *, run_dir: object, json: object) -> None:
    parser.add_argument(
        "--run-dir", type=Path, metavar="DIR", default=run_dir, help="run folder of the daemon"
    )
    parser.add_argument("--json", action="store_true", default=json, help="answer in JSON")


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, module: str, text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(module=module)
    # Also accepted behind the command, without undoing what stood before it.
    _common(parser, run_dir=argparse.SUPPRESS, json=argparse.SUPPRESS)
    return parser


def _looking(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add(commands, "status", "status", "show how the daemon and the robot are")
    _add(commands, "top", "top", "the same, live; Ctrl-C quits")
    _add(commands, "health", "health", "show how well this computer and every part is, and what to do")
    events = _add(commands, "events", "events", "show what happened")
    events.add_argument(
        "-n", type=_count, default=20, metavar="N", help="at most so many, 0 to 1000 (%(default)s)"
    )
    events.add_argument("--follow", action="store_true", help="go on with what happens from now on")
    events.add_argument("--kind", action="append", default=[], help="only this kind; may be given again")
    _model(_add(commands, "model", "model", "look at the policies that are installed, and let one drive"))

    _report(_add(commands, "report", "report", "write what happened as one HTML file, with plots"))


def _report(parser: argparse.ArgumentParser) -> None:
    age = "an age (24h, 7d, 4w) or a local time (2026-11-14, 2026-11-14T08:30)"
    parser.add_argument("--since", type=moment, default="7d", metavar="TIME", help=f"{age}; %(default)s")
    parser.add_argument("--until", type=moment, default="now", metavar="TIME", help="%(default)s")
    parser.add_argument("--output", type=Path, metavar="FILE", help="vlad-report-DATE.html")
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="state folder, where the daemon is down or elsewhere"
    )


def _acting(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add(commands, "arm", "act", "let the robot move; the reasons are shown where it may not")
    _add(commands, "disarm", "act", "bring the robot to a controlled stop and take motion away from it")
    estop = _add(commands, "estop", "estop", "emergency stop, by vlad or by the guard; latches until reset")
    estop.add_argument("reason", nargs="*", help="for the event log")
    _add(commands, "reset", "act", "release a latched e-stop or stop; the robot stays disarmed")
    _add(commands, "reload", "reload", "read the settings again, and apply what may be applied now")
    _record(_add(commands, "record", "record", "look at the recordings, and make one"))
    _maintenance(
        _add(commands, "maintenance", "maintenance", "see and run the tasks that look after this computer")
    )
    task = _add(commands, "task", "act", "tell the robot what to do")
    task.add_argument("text", nargs="+", help='the instruction; "" for none')


def _model(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add(actions, "list", "model", "show the policies that are installed")
    for name, text in (
        ("show", "show all that a bundle says of itself"),
        ("activate", "try a bundle in the shadow of the one that drives, then let it drive, without a stop"),
        ("bench", "measure how long a bundle's model takes on this computer"),
    ):
        action = _add(actions, name, "model", text)
        action.add_argument("name")
        action.add_argument("version")
    action.add_argument("--runs", type=_count, default=50, metavar="N", help="0 to 1000 (%(default)s)")
    action.add_argument("--threads", type=int, default=1, metavar="N", help="CPU threads (%(default)s)")
    _add(actions, "rollback", "model", "let the bundle drive that drove before the last activation")
    text = "make a bundle of a folder that LeRobot saved a policy in, and try it"
    action = _add(actions, "import", "model_import", text)
    action.add_argument("folder", type=Path, metavar="DIR", help="it holds config.json and model.safetensors")
    action.add_argument("name", type=_name)
    action.add_argument("version", type=_name)
    action.add_argument(
        "--rate", type=_rate, required=True, metavar="HZ", help="of the data that the policy learned from"
    )
    action.add_argument("--config", type=Path, metavar="FILE", help="settings (/etc/vlad/vlad.toml)")


def _record(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add(actions, "status", "record", "show what the black box holds, and whether it writes")
    _add(actions, "list", "record", "show the recordings on this computer")
    mark = _add(actions, "mark", "record", "record what was around this moment")
    mark.add_argument("note", nargs="*", help="what is worth a look")
    _add(actions, "start", "record", "record until record stop")
    _add(actions, "stop", "record", "end what record start, or the mode continuous, began")


def _maintenance(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add(actions, "list", "maintenance", "show the tasks, what came of each, and when they are next due")
    show = _add(
        actions, "show", "maintenance", "show what a task does, and all that it found when it last ran"
    )
    run = _add(actions, "run", "maintenance", "run a task now, and wait for its result")
    for action in (show, run):
        action.add_argument("name", type=_name, metavar="TASK", help="its name, as `list` shows it")
    text = "calibration_check only: take what is measured as the reference from now on"
    run.add_argument("--reference", action="store_true", help=text)
    restore = _add(actions, "restore", "maintenance", "put a backup back, while the daemon is down")
    text = "the backup, a folder with manifest.json; `show backup` tells where the newest are"
    restore.add_argument("folder", type=Path, metavar="DIR", help=text)
    restore.add_argument("--config", type=Path, metavar="FILE", help="settings (/etc/vlad/vlad.toml)")
    text = "put it there (paths.state_dir of the settings)"
    restore.add_argument("--state-dir", type=Path, metavar="DIR", help=text)
    restore.add_argument("--settings", action="store_true", help="also the settings, where they came from")
    restore.add_argument("--dry-run", action="store_true", help="only say what would be done")


def _offline(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    doctor = _add(commands, "doctor", "doctor", "look for what is wrong, and say how to mend it")
    doctor.add_argument("--config", type=Path, metavar="FILE", help="settings (/etc/vlad/vlad.toml)")
    check = _add(commands, "check-config", "check_config", "report every mistake in the settings")
    check.add_argument("file", nargs="?", type=Path, help="settings (/etc/vlad/vlad.toml)")
    keys = _add(commands, "keys", "keys", "make CURVE keys for drivers that connect over TCP")
    keys.add_argument("folder", type=Path, metavar="DIR")
    keys.add_argument("drivers", nargs="*", metavar="DRIVER", help="also a key for each of these drivers")
    completion = _add(commands, "completion", "completion", "print shell completion, to be sourced")
    completion.add_argument("shell", choices=["bash"])


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        raise argparse.ArgumentTypeError("must be letters, digits, points, dashes and underscores")
    return text


def _rate(text: str) -> float:
    rate = float(text)
    if not 0.1 <= rate <= 1_000:
        raise argparse.ArgumentTypeError("must be 0.1 to 1000")
    return rate


def _count(text: str) -> int:
    count = int(text)
    if not 0 <= count <= 1_000:
        raise argparse.ArgumentTypeError("must be 0 to 1000")
    return count
