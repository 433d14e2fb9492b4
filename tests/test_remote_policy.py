"""A daemon whose policy runs on a server, and what it does on the server's bad days."""

import signal
import time

import pytest

from tests.test_daemon import CAMERA, FEED, UNLOCKED, await_command, await_events, await_status
from tools.benchmarks.rig import rig, write_policy, write_remote_policy
from tools.policy_servers.process import ServerProcess
from vlad.driver import CommandReceiver
from vlad.messages import CommandMode

KINDS = ("openpi", "groot", "kserve-http", "kserve-grpc")
PATIENT_S = 20.0


class Served:
    """A daemon on a bundle for a policy server, the server itself, a camera, and a motor driver."""

    def __init__(self, made, server):
        self.made, self.server = made, server
        folder = made.folder / "models" / "bench"
        made.policy |= {
            "bundle": str(write_remote_policy(folder, server.backend, "camera", (48, 64))),
            "server": {"address": server.address},
        }

    def start(self):
        self.daemon = len(self.made.processes)
        self.made.start_daemon("vlad", "--config", self.made.write_settings())
        self.made.feed(FEED)

    def drive(self):
        self.made.arm()
        self.await_command(CommandMode.RUN)

    def await_command(self, *modes):
        return await_command(self.made, *modes, timeout_s=PATIENT_S)

    def await_status(self, what):
        return await_status(self.made, what, timeout_s=PATIENT_S)

    def await_well(self):
        """The policy is there again, the robot goes on by itself."""
        self.await_status(lambda status: status["policy"]["state"] == "running" and not status["faults"])
        self.await_command(CommandMode.RUN)


@pytest.fixture(params=KINDS)
def served(request):
    with rig(CAMERA, realtime=UNLOCKED) as made, ServerProcess(request.param) as server:
        served = Served(made, server)
        with CommandReceiver(made.commands) as made.motor:
            yield served


def has_fault(name):
    return lambda status: name in [fault["id"] for fault in status["faults"]]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["kill", "freeze"])
def test_a_server_that_dies_or_freezes_stops_the_robot_which_goes_on_when_it_is_back(served, end):
    served.server.start()
    served.start()
    served.drive()
    if end == "kill":
        served.server.kill()
    else:
        served.server.send(signal.SIGSTOP)
    served.await_command(CommandMode.HOLD)
    status = served.await_status(has_fault("policy_lost"))
    assert status["policy"]["state"] == "lost"
    assert str(served.server.port) in status["policy"]["error"]
    assert status["parts"]["inference"]["state"] in ("running", "restarting")
    if end == "kill":
        served.server.start()
    else:
        served.server.send(signal.SIGCONT)
    served.await_well()
    assert await_events(served.made, lambda event: event["text"].startswith("policy_lost: policy"))
    assert await_events(served.made, lambda event: event["text"].startswith("over: policy_lost"))
    failed = [event for event in served.made.call("events", limit=100) if event["kind"] == "part_failed"]
    assert len(failed) <= 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "name", "said"),
    [
        ("nan", "chunk_not_finite", "NaN or infinity"),
        ("shape", "policy_lost", "(1, 19, 2), not float32 (1, 20, 2)"),
        ("error", "policy_lost", "CUDA error: out of memory"),
    ],
)
def test_a_server_that_talks_nonsense_is_not_followed_and_well_again_when_it_stops(served, fault, name, said):
    served.server.start("--fault", fault)
    served.start()
    served.drive()
    served.server.send(signal.SIGUSR1)
    served.await_command(CommandMode.HOLD)
    status = served.await_status(has_fault(name))
    assert said in next(row["detail"] for row in status["faults"] if row["id"] == name)
    served.server.send(signal.SIGUSR1)
    served.await_well()


def await_twist(served, axis, speed):
    """Until the motors are told this speed."""
    end_s = time.monotonic() + PATIENT_S
    while time.monotonic() < end_s:
        command = served.await_command(CommandMode.RUN)
        if command.values[axis] == pytest.approx(speed, abs=1e-3):
            return
    pytest.fail(f"the last command was {command}; {served.made.call('status')['policy']}")


def stops(made):
    """Why the robot was stopped, other than by a computer that was too busy for the tick."""
    changes = made.call("events", limit=100, kinds=["mode"])
    return [
        event["text"] for event in changes if "stopping" in event["text"] and "overrun" not in event["text"]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("end", ["kill", "freeze", "nan", "shape", "error"])
def test_with_a_fallback_the_robot_moves_on_when_the_server_is_lost_and_goes_back_to_it(served, end):
    folder = served.made.folder / "state" / "models" / "calm" / "2"
    folder.parent.mkdir(parents=True)
    write_policy(folder, "camera", 32, rounds=0, twist=(0.1, 0.0), version="2")
    served.made.policy |= {"fallback": "calm/2", "failback_s": 0.5}
    options = () if end in ("kill", "freeze") else ("--fault", end)
    served.server.start(*options)
    served.start()
    served.drive()
    await_twist(served, 1, 0.05)
    {"kill": served.server.kill, "freeze": lambda: served.server.send(signal.SIGSTOP)}.get(
        end, lambda: served.server.send(signal.SIGUSR1)
    )()
    await_twist(served, 0, 0.1)
    status = served.await_status(has_fault("policy_fallback"))
    assert status["policy"]["version"] == "2"
    assert (status["policy"]["fallback"]["state"], status["policy"]["fallback"]["in_place_of"]) == (
        "driving", "bench/1",
    )  # fmt: skip
    if end == "kill":
        served.server.start()
    else:
        served.server.send(signal.SIGCONT if end == "freeze" else signal.SIGUSR1)
    await_twist(served, 0, 0.05)
    served.await_status(lambda status: not has_fault("policy_fallback")(status))
    told = [event["text"] for event in served.made.call("events", limit=100, kinds=["model"])]
    assert {text.split(":")[0] for text in told} == {
        "bench/2 drives in place of bench/1", "bench/1 drives again",
    }  # fmt: skip
    assert stops(served.made) == []


def test_a_fallback_that_cannot_run_is_told_with_its_reasons_and_the_robot_is_not_armed(served):
    served.made.policy["fallback"] = "calm/2"
    served.server.start()
    served.start()
    status = served.await_status(lambda status: status["policy"]["inferences"] > 0)
    assert status["policy"]["fallback"]["state"] == "refused"
    assert "calm/2/policy.toml: cannot be read" in status["policy"]["fallback"]["error"]
    refusals = served.made.call("arm")["refusals"]
    assert ("part_failed", "fallback") in [(row["id"], row["subject"]) for row in refusals]


@pytest.mark.slow
def test_a_daemon_without_its_server_gets_ready_says_why_it_cannot_be_armed_and_gets_well(served):
    served.start()
    status = served.await_status(has_fault("policy_lost"))
    assert status["policy"]["state"] == "lost"
    refusals = served.made.call("arm")["refusals"]
    assert ("policy_lost", "policy") in [(row["id"], row["subject"]) for row in refusals]
    assert f"127.0.0.1:{served.server.port}" in next(
        row["detail"] for row in refusals if row["id"] == "policy_lost"
    )
    served.server.start()
    served.await_status(lambda status: status["policy"]["state"] == "running" and not status["refusals"])
    served.drive()


@pytest.mark.slow
def test_a_server_that_takes_long_for_its_first_answer_is_waited_for(served):
    served.server.start("--slow-s", "1.0")
    served.start()
    served.drive()
    assert not [event for event in served.made.call("events", limit=100) if event["kind"] == "bundle_refused"]


def test_without_an_address_the_bundle_is_refused_with_what_to_write(served):
    del served.made.policy["server"]
    served.start()
    status = served.made.call("status")
    assert status["policy"]["state"] == "refused"
    scheme = served.server.address.partition(":")[0].replace("grpc", "http")
    example = f'write [policy.server] with address = "{scheme}://HOST:PORT"'
    assert example in status["policy"]["error"]


def test_sigterm_ends_a_daemon_whose_server_is_frozen(served):
    served.server.start()
    served.start()
    served.await_status(lambda status: status["policy"]["inferences"] > 0)
    served.server.send(signal.SIGSTOP)
    served.await_status(lambda status: status["policy"]["state"] == "lost")
    served.made.stop(served.daemon)
    assert served.made.processes[served.daemon].returncode == 0
