"""The simulated robot: `python -m tools.sim --run-dir DIR --seed N`. Its drivers are processes of their own.

They connect to the sockets of a vlad that runs (or will) in the same run folder, as any robot's drivers do.
DIR/sim.sock is the simulator's own control socket (tools.sim.remote). SIGTERM or Ctrl-C ends it.
`--inject camera=stuck@5:2` lets the camera be stuck for 2 s, 5 s after the start; the drivers then run behind
a proxy of tools/inject in DIR/inject, which `tools/inject set --listen DIR/inject` can be used on as well.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

# One thread for each driver is all they need: set before NumPy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from tools.injection.plan import planned, run_planned
from tools.injection.remote import InjectionError, check_allowed
from tools.sim.base import Base
from tools.sim.eyes import CAMERA_HZ, LASER_HZ, CameraEye, LaserEye, watch
from tools.sim.shared import SharedPlacement

_PR_SET_PDEATHSIG = 1
_END_S = 5.0


class Stopping:
    """Becomes true on SIGTERM or Ctrl-C."""

    def __init__(self) -> None:
        self.now = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        self.now = True

    def going_on(self) -> bool:
        return not self.now


def _driver(parent: int, body: Callable[[Callable[[], bool]], None]) -> None:
    """In a child: die with the parent, whatever kills it, and end in order on SIGTERM."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    stopping = Stopping()
    if os.getppid() == parent:
        body(stopping.going_on)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.sim", description="The simulated rover's drivers.")
    parser.add_argument(
        "--run-dir", type=Path, required=True, help="run folder of vlad, where its sockets are"
    )
    parser.add_argument("--seed", type=int, default=3_000_000, help="of the world (default: %(default)s)")
    parser.add_argument(
        "--inject",
        type=planned,
        action="append",
        default=[],
        metavar="TOPIC=KIND@START_S[:SECONDS]",
        help="let a topic go wrong; may be given several times",
    )
    arguments = parser.parse_args()
    if arguments.inject:
        try:
            check_allowed(arguments.run_dir)
        except InjectionError as error:
            parser.error(str(error))
    return arguments


def _bodies(arguments: argparse.Namespace) -> dict[str, Callable[[Callable[[], bool]], None]]:
    """What each driver does in its process."""
    run_dir, shared = arguments.run_dir.resolve(), SharedPlacement()
    run_dir.mkdir(parents=True, exist_ok=True)
    wire_dir = run_dir / "inject" if arguments.inject else run_dir
    bodies: dict[str, Callable[[Callable[[], bool]], None]] = {
        "base": lambda going_on: Base(run_dir, wire_dir, arguments.seed, shared).run(going_on),
        "camera": lambda going_on: watch(run_dir, wire_dir, "camera", CAMERA_HZ, CameraEye, shared, going_on),
        "laser": lambda going_on: watch(run_dir, wire_dir, "laser", LASER_HZ, LaserEye, shared, going_on),
    }
    if arguments.inject:
        bodies["proxy"] = lambda going_on: run_planned(run_dir, wire_dir, arguments.inject, going_on)
    return bodies


def main() -> int:
    bodies = _bodies(_arguments())
    forking = multiprocessing.get_context("fork")
    stopping = Stopping()
    drivers = [
        forking.Process(target=_driver, args=(os.getpid(), body), name=name) for name, body in bodies.items()
    ]
    for driver in drivers:
        driver.start()
    while stopping.going_on():
        multiprocessing.connection.wait([driver.sentinel for driver in drivers], timeout=0.2)
        ended = [driver.name for driver in drivers if not driver.is_alive()]
        if ended:
            break
    for driver in drivers:
        driver.terminate()
    for driver in drivers:
        driver.join(_END_S)
        driver.kill()
    if stopping.now:
        return 0
    print(f"tools.sim: the driver of the {' and '.join(ended)} ended by itself; see above", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
