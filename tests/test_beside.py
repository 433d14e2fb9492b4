import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from vlad.beside import Process

ECHO = """
import sys
for line in sys.stdin:
    print("heard", line.strip(), flush=True)
print("the end", flush=True)
sys.exit(7)
"""
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
time.sleep(600)
"""

GENEROUS = """
def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
large, small = [], []
for _ in range(400):
    large.append(b"x" * 100_000)
    small.append(b"x" * 1_000)
held = resident_mb()
large.clear()
print(held - resident_mb(), flush=True)
"""


def python(code, **values):
    return Process([sys.executable, "-c", code], **values)


class Heard:
    def __init__(self):
        self.lines = []
        self.more = asyncio.Event()

    def __call__(self, line):
        self.lines.append(line)
        self.more.set()

    async def wait(self, count):
        async with asyncio.timeout(30):
            while len(self.lines) < count:
                self.more.clear()
                await self.more.wait()
        return self.lines


async def test_it_is_told_lines_and_tells_lines():
    process, heard = python(ECHO), Heard()
    task = asyncio.create_task(process.run(heard, b"first\n"))
    assert await heard.wait(1) == [b"heard first\n"]
    process.send(b"second\n")
    assert (await heard.wait(2))[1] == b"heard second\n"
    assert process.pid is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert process.pid is None


async def test_what_it_frees_goes_back_to_the_computer_though_something_stays_in_between():
    heard = Heard()
    await python(GENEROUS).run(heard)
    (freed_mb,) = heard.lines
    assert float(freed_mb) > 35


async def test_its_exit_status_is_known():
    assert await python("import sys; sys.exit(7)").run(lambda _: None) == 7


async def test_a_first_line_may_be_as_long_as_a_status_is():
    heard = Heard()
    code = "import sys; print(len(sys.stdin.readline()), flush=True)"
    assert await python(code).run(heard, b"x" * 500_000 + b"\n") == 0
    assert heard.lines == [b"500001\n"]


async def test_a_line_that_might_be_torn_is_refused():
    with pytest.raises(ValueError, match="too long"):
        python(ECHO).send(b"x" * 5_000)


async def test_what_is_said_to_a_process_that_does_not_run_or_does_not_listen_is_lost():
    process = python("import time; print('up', flush=True); time.sleep(600)")
    process.send(b"nobody\n")
    heard = Heard()
    task = asyncio.create_task(process.run(heard))
    await heard.wait(1)
    for _ in range(1_000):
        process.send(b"x" * 4_000)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_cancelled_it_ends_with_all_that_it_started_though_it_does_not_want_to():
    heard = Heard()
    task = asyncio.create_task(python(STUBBORN, stop_s=0.2).run(heard))
    child = int((await heard.wait(1))[0])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text():
            await asyncio.sleep(0.01)


async def test_cancelled_while_it_starts_it_does_not_stay_behind():
    task = asyncio.create_task(python("import time; time.sleep(600)").run(lambda _: None))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not any("time.sleep(600)" in line for line in _children())


async def test_an_error_in_what_hears_it_ends_it():
    def refuse(line):
        raise RuntimeError(f"what is {line!r}?")

    process = python("import time; print(1, flush=True); time.sleep(600)")
    with pytest.raises(RuntimeError, match="what is"):
        await process.run(refuse)
    assert process.pid is None


async def test_a_program_that_is_not_there_is_an_error():
    with pytest.raises(FileNotFoundError):
        await Process(["/no/such/program"]).run(lambda _: None)


async def test_its_stdin_ends_when_the_one_who_started_it_is_killed():
    starter = f"""
import asyncio, sys
from vlad.beside import Process
code = {ECHO!r}
async def main():
    await Process([sys.executable, "-c", "import os; print(os.getpid())\\n" + code]).run(
        lambda line: print(line.decode(), end="", flush=True))
asyncio.run(main())
"""
    outer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", starter, stdout=asyncio.subprocess.PIPE
    )
    inner = int(await asyncio.wait_for(outer.stdout.readline(), 30))
    outer.send_signal(signal.SIGKILL)
    await outer.wait()
    async with asyncio.timeout(30):
        while _alive(inner):
            await asyncio.sleep(0.01)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _children():
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            if f"PPid:\t{os.getpid()}\n" in path.read_text():
                yield path.with_name("cmdline").read_text()
        except OSError:
            continue
