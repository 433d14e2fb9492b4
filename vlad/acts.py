"""What an operator may ask of the daemon (`Actions`). The event log has each act, and who did it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlad.messages import Instruction, Level, Sample, TaskResult
from vlad.metrics_report import metrics_report
from vlad.policy.bundle import BundleRefused, find_bundles, read_bundle
from vlad.policy.choice import Choice, write_choice
from vlad.safety.faults import active
from vlad.safety.kernel import Kernel
from vlad.safety.reaction import ActiveFault, Finding
from vlad.status import fault_rows, status_report

if TYPE_CHECKING:
    from vlad.daemon import Daemon


class Acts:
    """All on the loop's thread."""

    def __init__(self, daemon: Daemon) -> None:
        self.events = daemon.events
        self._daemon = daemon
        self._watchdog = daemon.watchdog
        self._clock = daemon.clock
        self._instruction_topic = next(
            (topic for topic, known in daemon.settings.signals.items() if known.type == "instruction"), ""
        )

    @property
    def _kernel(self) -> Kernel:
        """The one of now: new settings bring another."""
        return self._daemon.kernel

    async def room(self) -> None:
        wait_s = self._watchdog.ticker.room_in_s()
        if wait_s:
            await asyncio.sleep(wait_s)

    def status(self) -> dict[str, Any]:
        return status_report(self._daemon)

    def metrics(self) -> dict[str, Any]:
        return metrics_report(self._daemon)

    def arm(self, who: str) -> list[dict[str, Any]]:
        inputs = self._watchdog.sample()
        if self._daemon.stopping:
            finding = Finding("not_disarmed", "daemon", "vlad is stopping")
            return self._done("arm", who, (active(finding, inputs.now_ns),))
        return self._done("arm", who, self._kernel.arm(inputs))

    def reset(self, who: str) -> list[dict[str, Any]]:
        return self._done("reset", who, self._kernel.reset(self._watchdog.sample()))

    def disarm(self, who: str) -> None:
        self._kernel.disarm(f"by {who}")
        self._done("disarm", who, ())

    def estop(self, who: str, reason: str) -> None:
        self._kernel.estop(f"{reason} (by {who})" if reason else f"by {who}")
        self._watchdog.ticker.wake()
        self.events.put("act", Level.EMERGENCY, f"{who}: estop {reason}".rstrip(), who=who, act="estop")

    def task(self, text: str, who: str) -> None:
        """Give the robot an instruction, as a sample that the policy reads like any other; empty: none."""
        if not self._instruction_topic:
            raise ValueError("no signal of type instruction in the settings; add [signals.instruction]")
        self.put_task(text, who)

    async def reload(self, who: str) -> dict[str, Any]:
        """Read the settings again, and apply what may be applied now."""
        return asdict(await self._daemon.reloader.reload(who))

    async def models(self) -> list[dict[str, Any]]:
        """The bundles that are installed, and those that are loaded."""
        daemon = self._daemon
        return await asyncio.to_thread(
            find_bundles,
            daemon.settings.paths.state_dir / "models",
            daemon.seat.loaded(),
            daemon.robot,
            daemon.settings.signals,
        )

    async def model(self, name: str, version: str) -> dict[str, Any]:
        """All that the manifest of one bundle says."""
        return await asyncio.to_thread(read_bundle, self._bundle_folders(), name, version)

    async def activate(self, name: str, version: str, who: str) -> dict[str, Any]:
        """Let the bundle of this name and version drive. BundleRefused with every reason."""
        bundle = await asyncio.to_thread(read_bundle, self._bundle_folders(), name, version)
        return await self._activate(Path(bundle["folder"]), who)

    async def rollback(self, who: str) -> dict[str, Any]:
        """Let the bundle drive that did so before the last activation."""
        if self._daemon.choice.before is None:
            raise BundleRefused(["no other bundle drove before this one; activate one by its name"])
        return await self._activate(self._daemon.choice.before, who)

    async def _activate(self, folder: Path, who: str) -> dict[str, Any]:
        daemon = self._daemon
        try:
            shadowed = await daemon.seat.activate(folder)
        except BundleRefused as refused:
            for reason in refused.reasons:
                self.events.put("bundle_refused", Level.CAUTION, reason, folder=str(folder), who=who)
            raise
        daemon.policy_error = ""
        daemon.choice = Choice(folder, daemon.choice.bundle, daemon.settings.policy.bundle)
        text = f"{who}: {daemon.bundle} drives, after {shadowed.chunks} chunks in the shadow"
        self.events.put("model", Level.SAFE, text, who=who, folder=str(folder))
        try:
            await asyncio.to_thread(write_choice, daemon.choice_path, daemon.choice)
        except OSError as error:
            problem = (
                f"{daemon.choice_path}: {error.strerror}; after a restart the bundle of before will drive"
            )
            self.events.put("model", Level.WARNING, problem, folder=str(folder))
        return {"bundle": str(daemon.bundle), "folder": str(folder), **asdict(shadowed)}

    def _bundle_folders(self) -> list[Path]:
        """Those that are installed, and those that drive, drove or are meant to by the settings."""
        daemon = self._daemon
        known = (daemon.choice.bundle, daemon.choice.before, daemon.settings.policy.bundle)
        installed = sorted((daemon.settings.paths.state_dir / "models").glob("*/*"))
        return [*installed, *(folder for folder in known if folder is not None)]

    async def recordings(self) -> list[dict[str, Any]]:
        """What is in the folder of recordings, the oldest first."""
        return await asyncio.to_thread(self._daemon.blackbox.recordings)

    def record(self, what: str, note: str, who: str) -> None:
        """Mark this moment, or begin or end a recording; RecordError where nothing is recorded."""
        self._daemon.blackbox.order(what, note or who)
        self.events.put("act", Level.SAFE, f"{who}: record {what} {note}".rstrip(), who=who, act="record")

    def maintenance(self) -> dict[str, Any]:
        """Every task of maintenance, and what came of it."""
        return self._daemon.maintenance.details()

    def maintain(self, name: str, params: dict[str, Any], who: str) -> bool:
        """Run a task by hand; whether it waits for disarming. MaintenanceError where it cannot be run."""
        self._daemon.maintenance.order(name, params)
        self.events.put("act", Level.SAFE, f"{who}: maintenance {name}", who=who, act="maintain", task=name)
        return self._daemon.maintenance.waits(name)

    def put_task(self, text: str, who: str) -> None:
        """Set the task, and tell the policy where it reads one."""
        now_ns = self._clock.now_ns()
        if self._instruction_topic:
            sample = Sample(self._instruction_topic, 0, now_ns, now_ns, "", Instruction(text))
            self._daemon.ingest.put(sample)
        self.take_task(text, who)

    def take_task(self, text: str, who: str) -> None:
        """Set the task; the policy knows it already."""
        if text != self._watchdog.task:
            self._watchdog.set_task(text)
            self.events.put("task", Level.SAFE, f"{who}: {text or '(none)'}", who=who, task=text)
            self._daemon.operation.counts["tasks"] += bool(text)

    def end_task(self, result: TaskResult) -> None:
        """Somebody judged a task."""
        if self._daemon.operation.task_ended(result, self._clock.now_ns()):
            level, outcome = (Level.SAFE, "done") if result.success else (Level.CAUTION, "failed")
            text = f"{outcome}: {result.task}"
            self.events.put("task_result", level, text, task=result.task, success=result.success)

    def _done(self, act: str, who: str, refusals: tuple[ActiveFault, ...]) -> list[dict[str, Any]]:
        rows = fault_rows(refusals, self._clock.now_ns())
        outcome = "refused: " + "; ".join(f"{row['id']} {row['detail']}" for row in rows) if rows else "done"
        self.events.put(
            "act", Level.CAUTION if rows else Level.SAFE, f"{who}: {act}: {outcome}", who=who, act=act
        )
        self._watchdog.ticker.wake()
        return rows
