"""What is asked of the kernel is reported as applied, off, or refused with the reason and the remedy."""

import errno
import gc
import json
import os
import subprocess
import sys
import threading
import uuid

from vlad.realtime import Collector, Wakefulness, _heaps, favour_threads, start_threads

ASK = """
import json, os, sys
from vlad.config import RealtimeSettings
from vlad.realtime import apply
if sys.argv[1] == "unprivileged":
    os.setgid(65534); os.setuid(65534)
result = apply(RealtimeSettings(**json.loads(sys.argv[2])))
result["policy"] = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
print(json.dumps(result))
"""


def ask(who="same", **settings):
    """In a process of its own: the scheduler and locked memory of the test run stay as they are."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, who, json.dumps(settings)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


HUGE = """
import json, re, sys
from pathlib import Path
from vlad.realtime import use_huge_pages
kept = [bytes([k % 251]) * 300 for k in range(40_000)]
print(json.dumps({
    "said": use_huge_pages(),
    "huge_kb": int(re.search(r"AnonHugePages: +([0-9]+)", Path("/proc/self/smaps_rollup").read_text())[1]),
    "kept": all(block == bytes([k % 251]) * 300 for k, block in enumerate(kept)),
}))
"""


def test_the_heap_lies_on_huge_pages_where_the_kernel_can():
    done = subprocess.run([sys.executable, "-c", HUGE], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["kept"]
    if found["said"] == "applied":
        assert found["huge_kb"] >= 8192
    else:
        assert found["said"] == "off" or found["said"].startswith("refused: ")


SPARE = """
import json, resource, sys
from vlad.realtime import lock_memory, prefault_heap
lock_memory()
if sys.argv[1] == "prefault":
    prefault_heap()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
waiting = [bytes(50_000) for _ in range(60)]
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
"""


def test_what_waits_for_a_slow_process_takes_no_page_that_is_not_there_yet():
    faults = {}
    for spare in ("none", "prefault"):
        words = [sys.executable, "-c", SPARE, spare]
        faults[spare] = int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert faults["none"] > 500
    assert faults["prefault"] < 50


NAMES = """
import json, resource, sys
from vlad.realtime import lock_memory, prefault_names
kept = [sys.intern(f"of a module {number}") for number in range(25_000)]
lock_memory()
if sys.argv[1] == "prefault":
    prefault_names()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for number in range(30_000):
    sys.intern(f"{number}.mcap")
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
"""


def test_the_names_of_many_files_take_no_page_that_is_not_there_yet():
    faults = {}
    for spare in ("none", "prefault"):
        words = [sys.executable, "-c", NAMES, spare]
        faults[spare] = int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert faults["none"] > 300
    assert faults["prefault"] < 50


WAITING = """
import json, resource, sys
import zmq
from vlad.realtime import lock_memory, prefault_heap, prefault_receiver
lock_memory()
prefault_heap()
context = zmq.Context()
if sys.argv[1] == "prefault":
    prefault_receiver(context)
receiver, sender = context.socket(zmq.PULL), context.socket(zmq.PUSH)
receiver.bind("ipc://@" + sys.argv[2])
sender.connect("ipc://@" + sys.argv[2])
message = bytes(20_000)
sender.send(message)
receiver.recv(copy=False)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    sender.send(message)
waiting = [receiver.recv(copy=False) for _ in range(100)]
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
context.destroy(linger=0)
"""


def test_what_waits_to_be_read_takes_no_page_that_is_not_there_yet():
    faults = {}
    for spare in ("none", "prefault"):
        words = [sys.executable, "-c", WAITING, spare, f"vlad-test-{uuid.uuid4().hex}"]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        faults[spare] = int(done.stdout)
    assert faults["none"] > 300
    assert faults["prefault"] < 50


def test_only_whole_huge_pages_of_writable_memory_of_no_file_are_taken():
    maps = """\
00400000-00a00000 rw-p 00000000 00:00 0                                  [heap]
00b00000-00f00000 rw-p 00000000 00:00 0
01000000-01400000 r--p 00000000 00:00 0
02000000-02400000 rw-p 00000000 fe:00 99                                 /lib/a file.so
03000000-03100000 rw-p 00000000 00:00 0
10000000-90000000 rw-p 00000000 00:00 0
7ff00000-7ff80000 rw-p 00000000 00:00 0                                  [stack]
"""
    assert _heaps(maps) == [(0x400000, 0xA00000), (0xC00000, 0xE00000)]


def test_nothing_asked_is_off_and_leaves_the_ordinary_scheduler():
    assert ask(fifo_priority=0, lock_memory=False) == {
        "fifo": "off",
        "memory": "off",
        "cpus": "off",
        "policy": 0,
    }


def test_a_cpu_that_is_not_there_is_refused_with_those_that_are():
    assert ask(fifo_priority=0, lock_memory=False, cpus=[4095])["cpus"].startswith("refused: ")


def test_each_request_says_what_became_of_it():
    result = ask(fifo_priority=5, lock_memory=True, cpus=[0])
    assert result["cpus"] == "applied"
    assert (result["fifo"] == "applied") == (result["policy"] == 1)
    for request in ("fifo", "memory"):
        assert result[request] == "applied" or "give the service CAP_" in result[request]


def test_the_collector_freezes_what_start_up_made_and_thaws_it_again():
    collector = Collector()
    collector.freeze()
    try:
        assert gc.get_freeze_count() > 0
        assert not gc.isenabled()
        ring: list = []
        ring.append(ring)
        for _ in range(50):
            collector.after_tick(at_rest=True)
    finally:
        collector.thaw()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_cpus_are_kept_awake_only_while_the_robot_is_armed(tmp_path):
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    wakefulness = Wakefulness(20, device)
    assert wakefulness.state == "applied"
    for armed in (False, True, True, False):
        wakefulness.hold(armed=armed)
    wakefulness.close()
    written = device.read_bytes()
    assert [int.from_bytes(written[at : at + 4], sys.byteorder) for at in (0, 4)] == [20, 2_000_000_000]
    assert len(written) == 8


def test_a_device_that_may_not_be_opened_is_refused_with_the_remedy(tmp_path):
    wakefulness = Wakefulness(0, tmp_path / "none" / "device")
    assert wakefulness.state.startswith("refused: ")
    assert "let the service write to" in wakefulness.state
    wakefulness.hold(armed=True)
    wakefulness.close()


def test_latency_minus_one_leaves_the_cpus_alone(tmp_path):
    assert Wakefulness(-1, tmp_path / "none").state == "off"


def test_all_threads_of_a_pool_run_before_there_is_work():
    before = threading.active_count()
    with start_threads(3, "test") as pool:
        assert threading.active_count() == before + 3
        at_once = threading.Barrier(3)
        assert sorted(pool.map(lambda number: (at_once.wait(10), number)[1], range(3))) == [0, 1, 2]
        assert threading.active_count() == before + 3


FAVOURED = """
import json, os, subprocess, sys, threading
from vlad import realtime
def nice():
    return os.getpriority(os.PRIO_PROCESS, 0)
def look():
    child = [sys.executable, "-c", "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"]
    started = []
    inner = threading.Thread(target=lambda: started.append(nice()))
    inner.start()
    inner.join()
    return [nice(), *started, int(subprocess.run(child, capture_output=True, check=True).stdout)]
fifo = realtime.fifo(int(sys.argv[1]))
with realtime.start_threads(1, "test") as pool:
    said = [realtime.favour_threads(), realtime.favour_threads()]
    found = pool.submit(look).result()
print(json.dumps({"fifo": fifo, "said": said, "thread, and its own": found, "loop": nice()}))
"""


def favoured(priority):
    words = [sys.executable, "-c", FAVOURED, str(priority)]
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def test_threads_beside_a_real_time_loop_are_favoured_and_what_they_start_is_not():
    found = favoured(1)
    favour = found["fifo"] == "applied"
    assert found["said"] == ["applied" if favour else "off"] * 2
    assert found["thread, and its own"] == [-10 if favour else 0, 0, 0]
    assert found["loop"] == 0


def test_threads_beside_an_ordinary_loop_stay_ordinary():
    found = favoured(0)
    assert (found["said"], found["thread, and its own"]) == (["off", "off"], [0, 0, 0])


def test_who_may_have_real_time_but_no_better_nice_is_told_how_to_get_it(monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_FIFO | os.SCHED_RESET_ON_FORK)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: None)
    monkeypatch.setattr(os, "setpriority", refuse)
    with start_threads(1, "test"):
        said = favour_threads()
    assert said == "refused: Permission denied; give the service CAP_SYS_NICE or LimitNICE=-10"
