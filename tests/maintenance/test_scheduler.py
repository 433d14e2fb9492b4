"""The scheduler with a clock of the test's, a stand-in for the daemon, and real processes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from vlad.clock import FakeClock
from vlad.config import Settings
from vlad.maintenance.scheduler import Maintenance, MaintenanceError
from vlad.maintenance.store import Store
from vlad.messages import Level, Mode
from vlad.robot import Robot

DAY_S = 86_400.0
YEAR_S = 365 * DAY_S
HERE = Path(__file__).parent
QUIET = {
    name: {"schedule": "off"}
    for name in ("health_check", "clean_up", "vacuum", "calibration_check", "hardware_check", "security_scan",
                 "performance_review")
}  # fmt: skip
AXIS = {"velocity": 1.0, "acceleration": 1.0}


class Machine:
    """A robot's computer. Only the task `backup` has a schedule, unless `maintenance` says otherwise."""

    def __init__(self, folder: Path, clock: FakeClock | None = None, **maintenance: Any) -> None:
        self.folder = folder
        self.clock = clock or FakeClock()
        self.mode = Mode.DISARMED
        self.alerts: list[dict[str, Any]] = []
        self.events: list[tuple[Level, str]] = []
        settings = Settings.model_validate(
            {
                "robot": {"limits": folder / "robot.toml"},
                "paths": {"run_dir": folder, "state_dir": folder},
                "signals": {},
                "maintenance": QUIET | maintenance,
            }
        )
        robot = Robot.model_validate(
            {"name": "r", "type": "rover", "command": "twist", "axes": {"linear_x": AXIS, "angular_z": AXIS}}
        )
        daemon: Any = SimpleNamespace(
            settings=settings, robot=robot, clock=self.clock, config=folder / "vlad.toml",
            started_ns=self.clock.now_ns(), kernel=self,
            health=SimpleNamespace(report=lambda: {"alerts": self.alerts}),
            acts=SimpleNamespace(status=lambda: {"mode": self.mode.value}),
            events=SimpleNamespace(put=lambda kind, level, text, **data: self.events.append((level, text))),
        )  # fmt: skip
        self.maintenance = Maintenance(daemon, (sys.executable, str(HERE / "stand_in.py"), str(folder)))

    def do(self, name: str, what: str) -> None:
        (self.folder / f"{name}.do").write_text(what)

    async def look(self) -> int:
        """Everything that is to be run; how many that were."""
        count = 0
        while await self.maintenance.look():
            count += 1
        return count

    def runs(self, name: str = "backup") -> list[dict[str, Any]]:
        path = self.folder / f"{name}.told"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def task(self, name: str = "backup") -> dict[str, Any]:
        row: dict[str, Any] = self.maintenance.details()["tasks"][name]
        return row


async def started(folder: Path, clock: FakeClock | None = None, **maintenance: Any) -> Machine:
    machine = Machine(folder, clock, **maintenance)
    await machine.maintenance.memory.recall()
    return machine


async def until(what: Callable[[], Any]) -> Any:
    for _ in range(2_000):
        if found := what():
            return found
        await asyncio.sleep(0.01)
    pytest.fail("not seen in time")


async def test_what_is_due_runs_once_and_its_process_is_told_all(tmp_path: Path) -> None:
    machine = await started(tmp_path)
    assert await machine.look() == 0
    machine.clock.advance(2 * DAY_S)
    machine.do("backup", "ok 3 files")
    assert await machine.look() == 1
    (told,) = machine.runs()
    assert Settings.model_validate_json(told["settings"]).paths.state_dir == tmp_path
    assert Robot.model_validate_json(told["robot"]).name == "r"
    assert (told["config"], told["params"], told["status"]) == (
        str(tmp_path / "vlad.toml"), {}, {"mode": "disarmed"},
    )  # fmt: skip
    assert told["wall_ns"] == machine.clock.wall_ns()
    assert machine.events == [(Level.SAFE, "backup: ok: 3 files")]
    task = machine.task()
    assert (task["verdict"], task["rows"], task["failures"]) == ("ok", [{"what": "stand-in"}], 0)
    assert task["due_wall_ns"] > machine.clock.wall_ns()


@pytest.mark.parametrize("jump_s", [-YEAR_S, YEAR_S, -3600.0, 3600.0])
async def test_a_wall_clock_that_is_set_by_a_year_neither_repeats_nor_loses_it(
    tmp_path: Path, jump_s: float
) -> None:
    machine = await started(tmp_path)
    machine.clock.advance(2 * DAY_S)
    assert await machine.look() == 1
    machine.clock.jump_wall(jump_s)
    assert await machine.look() == 0
    again = await started(tmp_path, machine.clock)
    assert await again.look() == 0, "neither after a restart"
    machine.clock.advance(1.3 * DAY_S)
    assert await again.look() == 1


async def test_a_failure_is_told_once_and_again_when_it_works(tmp_path: Path) -> None:
    machine = await started(tmp_path)
    machine.clock.advance(2 * DAY_S)
    machine.do("backup", "failed no disk")
    for _ in range(4):
        assert await machine.look() == 1
        assert await machine.look() == 0, "not at once"
        machine.clock.advance(6 * 3_600)
    machine.do("backup", "ok 3 files")
    assert await machine.look() == 1
    assert machine.events == [
        (Level.WARNING, "backup: failed: no disk"),
        (Level.SAFE, "backup: ok (after 4 failures): 3 files"),
    ]


@pytest.mark.parametrize(
    ("priority", "worst"), [("low", 0.0), ("normal", 0.0), ("high", 0.75), ("critical", 1.0)]
)
async def test_a_failure_that_matters_is_one_of_health_until_it_was_done(
    tmp_path: Path, priority: str, worst: float
) -> None:
    machine = await started(tmp_path, backup={"priority": priority})
    machine.clock.advance(2 * DAY_S)
    machine.do("backup", "failed no disk")
    await machine.look()
    figures = machine.maintenance.figures()
    assert figures.worst == worst
    assert figures.text == ("backup failed: no disk" if worst else "")
    again = await started(tmp_path, machine.clock, backup={"priority": priority})
    assert again.maintenance.figures() == figures, "also after a restart"
    machine.do("backup", "ok")
    again.clock.advance(600)
    await again.look()
    assert again.maintenance.figures().worst == 0


@pytest.mark.parametrize(
    ("what", "why"),
    [("die", "ended with status 3 and without a result"), ("nonsense", "JSONDecodeError")],
)
async def test_a_process_that_says_nothing_of_use_has_failed(tmp_path: Path, what: str, why: str) -> None:
    machine = await started(tmp_path)
    machine.do("backup", what)
    machine.maintenance.order("backup", {})
    await machine.look()
    assert machine.task()["verdict"] == "failed"
    assert why in machine.task()["summary"]


async def test_a_program_that_is_not_there_has_failed(tmp_path: Path) -> None:
    machine = await started(tmp_path)
    machine.maintenance._words = ("/nowhere/at/all",)
    machine.maintenance.order("backup", {})
    await machine.look()
    assert "/nowhere/at/all" in machine.task()["summary"]


async def test_one_that_takes_too_long_is_killed_and_told(tmp_path: Path) -> None:
    machine = await started(tmp_path, backup={"time_limit_s": 60.0})
    machine.do("backup", "hang")
    machine.maintenance.order("backup", {})
    looking = asyncio.create_task(machine.look())
    await until(lambda: (tmp_path / "pid").exists())
    running = await until(lambda: machine.maintenance.report()["running"])
    assert (running["name"], running["progress"], running["text"]) == ("backup", 0.25, "hanging")
    machine.clock.advance(61)
    assert await looking == 1
    assert machine.events == [(Level.WARNING, "backup: failed: took longer than 60 s, and was ended")]
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


async def test_armed_it_waits_and_when_the_robot_is_armed_meanwhile_it_is_put_back(tmp_path: Path) -> None:
    machine = await started(tmp_path, backup={"only_disarmed": True})
    machine.clock.advance(2 * DAY_S)
    machine.mode = Mode.ACTIVE
    assert await machine.look() == 0
    machine.mode = Mode.DISARMED
    machine.do("backup", "hang")
    looking = asyncio.create_task(machine.maintenance.look())
    await until(lambda: (tmp_path / "pid").exists())
    machine.mode = Mode.ACTIVE
    await looking
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    assert machine.events[-1][1].startswith("backup: ended because the robot was armed")
    assert await machine.look() == 0
    machine.mode = Mode.DISARMED
    machine.do("backup", "ok")
    assert await machine.look() == 1
    assert machine.task()["failures"] == 0


async def test_what_was_ordered_and_put_back_keeps_its_parameters(tmp_path: Path) -> None:
    machine = await started(tmp_path, vacuum={"schedule": "off", "only_disarmed": True})
    machine.do("vacuum", "hang")
    machine.maintenance.order("vacuum", {"deep": True})
    looking = asyncio.create_task(machine.maintenance.look())
    await until(lambda: (tmp_path / "pid").exists())
    machine.mode = Mode.ACTIVE
    await looking
    assert machine.maintenance.report()["ordered"] == ["vacuum"]
    machine.mode = Mode.DISARMED
    machine.do("vacuum", "ok")
    assert await machine.look() == 1
    assert [run["params"] for run in machine.runs("vacuum")] == [{"deep": True}] * 2


async def test_an_alert_runs_what_runs_on_a_warning_but_not_one_of_maintenance(tmp_path: Path) -> None:
    machine = await started(tmp_path, health_check={"schedule": "warning"})
    machine.alerts = [{"id": "a", "component": "maintenance", "level": "DANGER"}]
    assert await machine.look() == 0
    machine.alerts += [{"id": "b", "component": "cpu", "level": "CAUTION"}]
    assert await machine.look() == 0
    machine.alerts += [{"id": "c", "component": "disk", "level": "WARNING"}]
    assert await machine.look() == 1
    assert len(machine.runs("health_check")) == 1


async def test_what_cannot_be_ordered_says_why(tmp_path: Path) -> None:
    machine = await started(tmp_path)
    with pytest.raises(MaintenanceError, match=r"there is no task 'nothing'; backup, .*clean_up"):
        machine.maintenance.order("nothing", {})
    machine.maintenance.order("backup", {})
    with pytest.raises(MaintenanceError, match="runs already, or is about to"):
        machine.maintenance.order("backup", {})


async def test_a_corrupt_memory_is_told_and_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "maintenance.db").write_bytes(b"nonsense" * 1_000)
    machine = await started(tmp_path)
    assert "is corrupt" in machine.events[0][1]
    machine.clock.advance(2 * DAY_S)
    assert await machine.look() == 1
    assert machine.maintenance.memory.problem == ""


@pytest.fixture(params=["a folder in its place", "a folder that is mounted read-only"])
def unwritable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A state folder whose maintenance.db cannot be written, and what mends that."""
    if request.param == "a folder in its place":
        (tmp_path / "maintenance.db").mkdir()
        yield tmp_path, (tmp_path / "maintenance.db").rmdir
        return
    mount = subprocess.run(["mount", "--bind", tmp_path, tmp_path], capture_output=True, check=False)
    if mount.returncode != 0:
        pytest.skip("only root may mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", tmp_path], check=True)
        yield tmp_path, lambda: subprocess.run(["mount", "-o", "remount,bind,rw", tmp_path], check=True)
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


async def test_what_cannot_be_saved_is_told_once_and_saved_as_soon_as_it_can_be(
    unwritable: tuple[Path, Callable[[], None]],
) -> None:
    folder, mend = unwritable
    machine = await started(folder)
    for _ in range(3):
        assert await machine.look() == 0
    problem = machine.maintenance.memory.problem
    assert problem.startswith(f"{folder}/maintenance.db: ")
    assert machine.events == [(Level.WARNING, problem)]
    mend()
    assert await machine.look() == 0
    assert machine.maintenance.memory.problem == ""
    assert machine.events[1:] == [(Level.SAFE, f"{folder}/maintenance.db: can be written again")]
    assert set(Store(folder / "maintenance.db").load()[0]) == set(machine.maintenance.report()["tasks"])


async def test_a_task_runs_though_nothing_can_be_saved_and_its_end_is_saved_later(tmp_path: Path) -> None:
    (tmp_path / "maintenance.db").mkdir()
    machine = await started(tmp_path)
    machine.clock.advance(2 * DAY_S)
    machine.do("backup", "ok 3 files")
    assert await machine.look() == 1
    assert machine.maintenance.memory.problem
    (tmp_path / "maintenance.db").rmdir()
    assert await machine.look() == 0
    assert Store(tmp_path / "maintenance.db").load()[0]["backup"].summary == "3 files"
    again = await started(tmp_path, machine.clock)
    assert await again.look() == 0, "it is not done a second time"


async def test_what_is_on_a_disk_that_comes_late_is_remembered_but_for_what_ran_since(tmp_path: Path) -> None:
    """A state folder that was not there at the start, such as one on a disk that is mounted late."""
    late = await started(tmp_path, vacuum={"schedule": "off"})
    late.do("backup", "ok of yesterday")
    late.maintenance.order("backup", {})
    late.maintenance.order("vacuum", {})
    assert await late.look() == 2
    (tmp_path / "maintenance.db").rename(tmp_path / "kept")
    (tmp_path / "maintenance.db").mkdir()
    machine = await started(tmp_path, late.clock, vacuum={"schedule": "off"})
    assert machine.task()["verdict"] is None
    machine.do("backup", "ok of today")
    machine.maintenance.order("backup", {})
    assert await machine.look() == 1
    (tmp_path / "maintenance.db").rmdir()
    (tmp_path / "kept").rename(tmp_path / "maintenance.db")
    assert await machine.look() == 0
    assert machine.maintenance.memory.problem == ""
    assert machine.task()["summary"] == "of today"
    assert machine.task("vacuum")["verdict"] == "ok"
    saved, _ = Store(tmp_path / "maintenance.db").load()
    assert (saved["backup"].summary, saved["vacuum"].verdict) == ("of today", "ok")


async def test_the_daemon_ends_its_task_when_it_stops_and_it_runs_again_at_the_next_start(
    tmp_path: Path,
) -> None:
    machine = await started(tmp_path)
    machine.clock.advance(2 * DAY_S)
    machine.do("backup", "hang")
    running = asyncio.create_task(machine.maintenance.run())
    await until(lambda: (tmp_path / "pid").exists())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    machine.do("backup", "ok")
    again = await started(tmp_path, machine.clock)
    assert await again.look() == 1
    assert await again.look() == 0
