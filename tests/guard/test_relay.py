"""The relay's line: written once at each change, and again until it is written."""

import os
import pty

import pytest

from vlad.guard.relay import Relay


def test_a_file_holds_the_newest_word_whole(tmp_path):
    line = tmp_path / "value"
    line.write_bytes(b"something long")
    relay = Relay(line, b"stop", b"1")
    for run, word in ((True, b"1"), (False, b"stop"), (True, b"1")):
        relay.set(run=run)
        assert line.read_bytes() == word
        assert relay.problem == ""
    relay.close()
    assert line.read_bytes() == b"1"


def test_a_serial_line_gets_each_word_once():
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    os.set_blocking(theirs, False)
    try:
        relay = Relay(os.ttyname(theirs), b"\xa0\x01\x00\xa1", b"\xa0\x01\x01\xa2")
        for _ in range(3):
            relay.set(run=False)
        assert os.read(ours, 100) == b"\xa0\x01\x00\xa1"
        relay.set(run=True)
        assert os.read(ours, 100) == b"\xa0\x01\x01\xa2"
        relay.close()
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_line_that_is_cut_is_a_problem_until_it_can_be_written(tmp_path):
    line = tmp_path / "pipe"
    os.mkfifo(line)
    ours = os.open(line, os.O_RDONLY | os.O_NONBLOCK)
    relay = Relay(line, b"0", b"1")
    relay.set(run=True)
    assert os.read(ours, 10) == b"1"
    os.close(ours)
    relay.set(run=False)
    assert relay.problem == f"the relay {line} cannot be written (Broken pipe)"
    relay.set(run=False)
    assert relay.problem
    ours = os.open(line, os.O_RDONLY | os.O_NONBLOCK)
    relay.set(run=False)
    assert os.read(ours, 10) == b"0"
    assert relay.problem == ""
    relay.close()
    os.close(ours)


def test_a_line_that_takes_a_part_only_is_a_problem(tmp_path):
    line = tmp_path / "pipe"
    os.mkfifo(line)
    ours = os.open(line, os.O_RDONLY | os.O_NONBLOCK)
    relay = Relay(line, b"0" * 1_000_000, b"1")
    relay.set(run=False)
    assert "bytes" in relay.problem
    relay.close()
    os.close(ours)


def test_a_line_that_is_not_there_cannot_be_opened(tmp_path):
    with pytest.raises(FileNotFoundError):
        Relay(tmp_path / "none", b"0", b"1")
