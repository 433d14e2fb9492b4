"""The event log tells each change of mode and each fault, once when it begins and once when it is over."""

from __future__ import annotations

from typing import Any

from tests.safety.rig import Rig
from vlad.clock import FakeClock
from vlad.messages import Battery, Level
from vlad.record.journal import Journal


class Log:
    def __init__(self) -> None:
        self.rows: list[tuple[str, Level, str]] = []
        self.data: list[dict[str, Any]] = []

    def put(self, kind: str, level: Level, text: str, **data: Any) -> None:
        self.rows.append((kind, level, text))
        self.data.append(data)


def test_a_fault_is_told_when_it_begins_and_when_it_is_over() -> None:
    log, clock, rig = Log(), FakeClock(), Rig().armed()
    journal = Journal(log, clock)
    journal.keep(rig.tick())
    assert log.rows == []
    rig.data["battery"] = Battery(0.15, 24.0, 0.0, 20.0)
    for _ in range(5):
        journal.keep(rig.tick())
    assert [row for row in log.rows if row[0] == "fault"] == [
        ("fault", Level.CAUTION, "battery_low: battery 15% left")
    ]
    assert log.data[0]["hint"]
    rig.data["battery"] = Battery(0.9, 24.0, 0.0, 20.0)
    for _ in range(1100):
        journal.keep(rig.tick())
    kind, level, text = log.rows[-2]
    assert (kind, level) == ("fault_over", Level.SAFE)
    assert text.startswith("over: battery_low: battery after ")


def test_each_change_of_mode_is_told_with_its_cause() -> None:
    log, rig = Log(), Rig().armed()
    journal = Journal(log, FakeClock())
    rig.kernel.disarm("by test")
    for _ in range(50):
        journal.keep(rig.tick())
    assert [text for kind, _, text in log.rows if kind == "mode"][-1].startswith("stopping -> disarmed")
