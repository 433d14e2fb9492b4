"""Logging holds nobody up, loses nothing without telling, and says what the journal can be asked for."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlad import logs
from vlad.journald import JournalHandler, encode, sender
from vlad.logs import Logging, log_event, message_id

ROOT = Path(__file__).resolve().parents[1]


class Slow(logging.Handler):
    """A terminal that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.go.wait(20)
        self.lines.append(self.format(record))


@pytest.fixture
def slow() -> Iterator[tuple[Slow, Logging, logging.Logger]]:
    target = Slow()
    handler = Logging(target)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    yield target, handler, logger
    target.go.set()
    handler.close()


def test_who_logs_never_waits_and_what_is_lost_is_counted_and_told(slow) -> None:
    target, handler, logger = slow
    for number in range(logs._WAITING + 500):
        logger.info("message %d", number)
    assert 499 <= handler.dropped <= 500
    target.go.set()
    handler.close()
    assert target.lines[-2] == f"message {logs._WAITING + 499}"
    assert target.lines[-1].startswith(f"{handler.dropped} log messages were lost")
    assert len(target.lines) == logs._WAITING + 500 - handler.dropped + 1


def test_a_terminal_that_hangs_does_not_keep_the_process_from_ending(slow, monkeypatch) -> None:
    monkeypatch.setattr(logs, "_CLOSE_S", 0.05)
    _, handler, logger = slow
    logger.info("never shown")
    handler.close()


def test_an_error_comes_with_its_traceback(slow) -> None:
    target, handler, logger = slow
    try:
        raise ValueError("what happened")
    except ValueError:
        logger.exception("it failed")
    target.go.set()
    handler.close()
    assert target.lines[0].startswith("it failed\nTraceback")
    assert target.lines[0].endswith("ValueError: what happened")


def test_the_thread_that_writes_does_not_inherit_the_loops_scheduler() -> None:
    code = (
        "import os, threading\n"
        "from vlad import realtime\n"
        "from vlad.logs import start_logging\n"
        "print(realtime.fifo(10))\n"
        "handler = start_logging('info')\n"
        "print(os.sched_getscheduler(handler._writer.native_id) == os.SCHED_OTHER)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    applied, ordinary = done.stdout.splitlines()
    if applied != "applied":
        pytest.skip(applied)
    assert ordinary == "True"


def test_elsewhere_than_in_the_journal_it_is_a_readable_line() -> None:
    code = (
        "import logging\nfrom vlad.logs import log_event, start_logging\nlogs = start_logging('info')\n"
        "log_event({'id': 7, 'kind': 'fault', 'level': 'DANGER', 'text': 'camera', 'data': {}})\n"
        "logging.getLogger('vlad').debug('not this'); logs.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stderr == "ERROR vlad.events: fault: camera\n"


@pytest.fixture
def journal(tmp_path: Path, monkeypatch) -> Iterator[socket.socket]:
    monkeypatch.setitem(sys.modules, "systemd", None)  # as where systemd-python is not installed
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(str(tmp_path / "socket"))
        ours.settimeout(10)
        yield ours


def decode(message: bytes) -> dict[str, str]:
    fields = {}
    while message:
        line, _, message = message.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(message[:8], "little")
            value, message = message[8 : 8 + length], message[9 + length :]
        fields[name.decode()] = value.decode()
    return fields


def test_an_event_goes_to_the_journal_with_fields_to_ask_for(tmp_path: Path, journal) -> None:
    handler = JournalHandler(sender(str(tmp_path / "socket")))
    logs.log.addHandler(handler)
    try:
        data = {"fault": "signal_stale", "subject": "camera", "reaction": "stop2", "severity": 0.5}
        text = "signal_stale: camera\nsecond line"
        log_event({"id": 41, "kind": "fault", "level": "DANGER", "text": text, "data": data})
    finally:
        logs.log.removeHandler(handler)
    fields = decode(journal.recv(65536))
    assert fields["MESSAGE"] == f"fault: {text}"
    assert fields["MESSAGE_ID"] == message_id("fault")
    assert {name: fields[name] for name in ("FAULT", "SIGNAL", "SEQ", "LEVEL", "EVENT", "PRIORITY")} == {
        "FAULT": "signal_stale", "SIGNAL": "camera", "SEQ": "41", "LEVEL": "DANGER", "EVENT": "fault",
        "PRIORITY": "3",
    }  # fmt: skip


def test_systemd_python_is_taken_where_it_is_installed(monkeypatch) -> None:
    said: list[str] = []
    journal = types.SimpleNamespace(sendv=lambda *fields: said.extend(fields))
    monkeypatch.setitem(sys.modules, "systemd.journal", journal)
    sender()({"MESSAGE": "two\nlines", "CODE_LINE": "7"})
    assert said == ["MESSAGE=two\nlines", "CODE_LINE=7"]


def test_without_a_journal_the_message_is_on_stderr(tmp_path: Path, journal, capsys) -> None:
    handler = JournalHandler(sender(str(tmp_path / "nothing")))
    handler.emit(logging.makeLogRecord({"name": "vlad", "msg": "hello", "levelno": 20}))
    assert capsys.readouterr().err.startswith("hello (not in the journal: ")


@given(
    st.dictionaries(st.from_regex(r"[A-Z][A-Z_]{0,10}", fullmatch=True), st.text(max_size=200), max_size=6)
)
def test_whatever_is_said_is_read_as_it_was(fields: dict[str, str]) -> None:
    assert decode(encode(fields)) == fields


def test_a_value_too_long_for_a_datagram_is_cut() -> None:
    assert len(encode({"MESSAGE": "x" * 1_000_000})) < 40_000


def test_it_is_the_journal_only_if_stderr_is_what_systemd_says() -> None:
    code = "import os; from vlad.journald import stderr_is_journal; print(stderr_is_journal())"
    words = [sys.executable, "-c", code]
    read, write = os.pipe()
    status = os.fstat(write)
    for stream, expected in ((f"{status.st_dev}:{status.st_ino}", "True"), ("8:1", "False"), ("", "False")):
        done = subprocess.run(
            words, cwd=ROOT, env={**os.environ, "JOURNAL_STREAM": stream}, stdout=subprocess.PIPE,
            stderr=write, text=True, timeout=60,
        )  # fmt: skip
        assert done.stdout.strip() == expected
    os.close(read)
    os.close(write)


def test_a_kind_of_event_has_the_same_message_id_for_ever() -> None:
    assert message_id("fault") == "55aec12408a2566fbe8b68fbe52e1157"
    assert message_id("mode") == "b067a7b9aacc5844871ea0e4ee392e52"
