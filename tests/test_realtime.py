"""What is asked of the kernel is reported as applied, off, or refused with the reason and the remedy."""

import gc
import json
import subprocess
import sys

from vlad.realtime import Collector, Wakefulness

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
