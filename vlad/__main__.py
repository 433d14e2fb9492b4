"""`vlad`: parse the arguments, read the settings, run the daemon."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import uvloop

import vlad
from vlad.clock import SystemClock
from vlad.config import ConfigError, Settings, load_settings
from vlad.daemon import Daemon
from vlad.folders import AlreadyRunningError, StartError
from vlad.logs import start_logging
from vlad.reload import Read
from vlad.robot import Robot
from vlad.settings_files import DEFAULT_SETTINGS

EXIT_SETTINGS = 2
EXIT_ALREADY_RUNNING = 3


def make_parser() -> argparse.ArgumentParser:
    """What may stand on the command line."""
    parser = argparse.ArgumentParser(
        prog="vlad",
        description="Run a vision-language-action policy on a robot, and keep the robot safe while it runs.",
        epilog="exit status: 0 stopped in order, 1 a part failed, 2 settings or folders bad, 3 runs already",
    )
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_SETTINGS, metavar="FILE", help="settings (%(default)s)"
    )
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="in place of paths.run_dir")
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="in place of paths.state_dir")
    parser.add_argument("--verbose", action="store_true", help="log more")
    parser.add_argument("--version", action="version", version=f"vlad {vlad.__version__}")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run until a signal ends it; the exit status."""
    arguments = make_parser().parse_args(argv)
    given = {key: getattr(arguments, key) for key in ("run_dir", "state_dir") if getattr(arguments, key)}

    def read() -> tuple[Settings, Robot]:
        settings, robot = load_settings(arguments.config)
        return settings.model_copy(update={"paths": settings.paths.model_copy(update=given)}), robot

    try:
        settings, robot = read()
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"vlad: {problem}\n")
        return EXIT_SETTINGS
    logs = start_logging("debug" if arguments.verbose else settings.log.level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(settings, robot, read, arguments.config))
    except StartError as error:
        sys.stderr.write(f"vlad: {error}\n")
        return EXIT_ALREADY_RUNNING if isinstance(error, AlreadyRunningError) else EXIT_SETTINGS
    finally:
        logs.close()


async def _run(settings: Settings, robot: Robot, read: Read, config: Path) -> int:
    loop = asyncio.get_running_loop()
    if settings.realtime.slow_callback_s:
        loop.set_debug(True)
        loop.slow_callback_duration = settings.realtime.slow_callback_s
    return await Daemon(settings, robot, SystemClock(), read, config.absolute()).run()


if __name__ == "__main__":
    sys.exit(main())
