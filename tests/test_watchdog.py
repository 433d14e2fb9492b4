"""The safety tick: what it samples, when it runs between two ticks, and what it refuses to follow."""

import asyncio
import time

import numpy as np
import pytest
import zmq

from vlad.clock import FakeClock, SystemClock
from vlad.command import CommandWriter
from vlad.config import PathSettings, Settings
from vlad.driver import CommandReceiver
from vlad.ingest import TopicCounters
from vlad.messages import Chunk, CommandMode, EStop, Image, Instruction, Kind, Mode, Request, Sample
from vlad.policy.follower import Follower
from vlad.policy_settings import PolicySettings
from vlad.queues import Latest
from vlad.realtime import Collector
from vlad.robot import Axis, Robot
from vlad.safety.kernel import Kernel
from vlad.safety.view import Computer, GuardReport
from vlad.watchdog import Watchdog

AXES = {"linear_x": Axis(velocity=1, acceleration=100), "angular_z": Axis(velocity=1, acceleration=100)}
COMPUTER = Computer(0, 0.1, 0.2, float("nan"), 0.3, 40.0)
ROBOT = Robot(name="bench", type="rover", command=Kind.TWIST, axes=AXES)


class Bench:
    def __init__(self, folder, clock):
        self.clock = clock
        self.settings = Settings.model_validate(
            {
                "robot": {"limits": "unused"},
                "paths": PathSettings(run_dir=folder, state_dir=folder),
                "signals": {"estop": {"type": "estop", "required": False}},
                "safety": {"arm_ramp_s": 0},
            }
        )
        self.context = zmq.Context()
        self.samples = {"estop": Latest()}
        self.chunks = Latest()
        self.verdicts = []
        self.lost = self.fallback = self.reading = ""
        self.late_samples = []
        self.counters = {"estop": TopicCounters()}
        self.watchdog = Watchdog(
            kernel=Kernel(ROBOT, self.settings, None),
            follower=Follower(PolicySettings(follow="latest")),
            writer=CommandWriter(self.context, self.settings, clock),
            samples=self.samples,
            catch_up=lambda: [self.samples[sample.topic].put(sample) for sample in self.late_samples],
            chunks=self.chunks,
            clock=clock,
            tick_hz=100,
            collector=Collector(),
            on_verdict=lambda tick, verdict: self.verdicts.append(verdict),
            inference_since_ns=lambda: None,
            policy_lost=lambda: self.lost,
            fallback=lambda: self.fallback,
            reading=lambda: self.reading,
            failed_parts=lambda: (),
            counts=self.counters,
            overflows=lambda: 4,
            computer=lambda: COMPUTER,
            guard=lambda: GuardReport(clock.now_ns(), "watching"),
        )

    def sample(self, data, topic="estop"):
        now_ns = self.clock.now_ns()
        return Sample(topic, 1, now_ns, now_ns, "", data)

    def chunk(self, task, speed=0.5, stamp_ns=None):
        now_ns = self.clock.now_ns()
        actions = np.full((20, 2), speed, np.float32)
        stamp_ns = now_ns if stamp_ns is None else stamp_ns
        return Chunk(1, stamp_ns, now_ns, 100_000_000, Kind.TWIST, tuple(AXES), actions, task, 1)

    def close(self):
        self.watchdog.writer.close()
        self.context.destroy(linger=0)


@pytest.fixture
def still(tmp_path):
    """A watchdog whose time stands still; nothing runs."""
    bench = Bench(tmp_path, FakeClock())
    yield bench
    bench.close()


@pytest.fixture
async def running(tmp_path):
    """A watchdog that ticks in real time, armed, with a task."""
    bench = Bench(tmp_path, SystemClock())
    motor = CommandReceiver(f"ipc://{tmp_path}/commands.sock")
    task = asyncio.create_task(bench.watchdog.run())
    while not bench.verdicts or not bench.watchdog.writer.listeners:
        await asyncio.sleep(0.005)
    bench.watchdog.set_task("go")
    assert bench.watchdog.kernel.arm(bench.watchdog.sample()) == ()
    yield bench
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    motor.close()
    bench.close()


def test_a_chunk_for_the_standing_task_becomes_the_step(still):
    still.watchdog.set_task("go")
    still.chunks.put(still.chunk("go"))
    assert still.watchdog.sample().step.values.tolist() == [0.5, 0.5]


def test_a_judgement_first_takes_in_what_came_while_nobody_listened(still):
    press = still.sample(EStop(pressed=True))
    still.late_samples = [press]
    assert still.watchdog.sample().samples == {"estop": press}


def test_a_judgement_knows_what_the_other_parts_know(still):
    still.lost, still.fallback = "the server is gone", "another drives"
    inputs = still.watchdog.sample()
    assert inputs.fallback == "another drives"
    assert (inputs.listeners, inputs.overflows, inputs.policy_lost) == (0, 4, "the server is gone")
    assert (inputs.counts, inputs.computer) == (still.counters, COMPUTER)


async def test_the_heartbeat_asks_what_the_faults_ask_each_once(running, tmp_path):
    with CommandReceiver(f"ipc://{tmp_path}/commands.sock") as motor:
        running.watchdog.kernel.estop("by test")
        while motor.heartbeat is None or not motor.heartbeat.requests:
            motor.receive()
            await asyncio.sleep(0.005)
        assert motor.heartbeat.requests == (Request.CANCEL_ACTION,)


def test_a_chunk_that_was_made_for_another_task_is_not_followed(still):
    still.watchdog.set_task("go to the ball")
    still.chunks.put(still.chunk("go to the box"))
    assert still.watchdog.sample().step is None


def test_a_new_task_forgets_the_plan_for_the_old_one(still):
    still.watchdog.set_task("go")
    still.chunks.put(still.chunk("go"))
    assert still.watchdog.sample().step is not None
    still.watchdog.set_task("stay")
    assert still.watchdog.sample().step is None


def test_a_chunk_with_a_nan_is_not_followed(still):
    still.watchdog.set_task("go")
    still.chunks.put(still.chunk("go", speed=float("nan")))
    assert still.watchdog.sample().step is None


async def test_an_estop_button_is_acted_on_between_two_ticks(running, tmp_path):
    for _ in range(20):
        running.watchdog.counts.early = 0
        before = running.watchdog.counts.count
        running.watchdog.notice(running.sample(EStop(True)))
        while running.watchdog.counts.early == 0 and running.watchdog.counts.count - before < 3:
            await asyncio.sleep(0)
        assert running.verdicts[-1].mode is Mode.ESTOP
        if running.watchdog.counts.count == before:
            return
    pytest.fail("in 20 tries the e-stop was never judged before the next tick")


async def test_a_press_that_was_released_before_the_next_judgement_is_not_lost(running):
    running.watchdog.notice(running.sample(EStop(True)))
    running.samples["estop"].put(running.sample(EStop(False)))
    await asyncio.sleep(0.05)
    assert running.verdicts[-1].mode is Mode.ESTOP


@pytest.mark.parametrize(
    "data", [Image("mono8", np.zeros((2, 2), np.uint8)), Instruction("go"), EStop(False)]
)
def test_ordinary_samples_wait_for_the_tick(still, data):
    woken = []
    still.watchdog.ticker.wake = lambda: woken.append(1)
    still.watchdog.notice(still.sample(data))
    assert not woken


async def test_commands_reach_a_motor_driver_and_follow_the_plan(running, tmp_path):
    with CommandReceiver(f"ipc://{tmp_path}/commands.sock", context=running.context) as motor:
        for _ in range(200):
            running.chunks.put(running.chunk("go"))
            running.watchdog.ticker.wake()
            await asyncio.sleep(0.01)
            command = motor.receive()
            if command.mode is CommandMode.RUN and motor.heartbeat is not None:
                break
        assert command.mode is CommandMode.RUN
        assert motor.heartbeat is not None
        assert command.source_stamp_ns > 0


async def test_a_command_held_up_after_its_judgement_is_stamped_with_the_moment_that_it_was_judged_for(
    running,
):
    """From stamp to stamp it keeps the limits that it was judged by, and it runs out no later."""
    judge, judged_ns = running.watchdog.kernel.judge, []

    def slow_judge(inputs):
        verdict = judge(inputs)
        judged_ns.append(inputs.now_ns)
        time.sleep(0.002)
        return verdict

    running.watchdog.kernel.judge = slow_judge
    while len(judged_ns) < 3:
        await asyncio.sleep(0.01)
    assert running.watchdog.writer.last.stamp_ns == judged_ns[-1]
    assert running.watchdog.writer.sent_ns >= judged_ns[-1] + 2_000_000


async def test_a_command_that_the_writer_refuses_is_an_estop(running):
    names, nan = tuple(AXES), np.full(2, np.nan, np.float32)
    running.watchdog.writer.send(CommandMode.RUN, Kind.TWIST, names, nan, 0, 1)
    await asyncio.sleep(0.05)
    assert running.verdicts[-1].mode is Mode.ESTOP
    assert running.watchdog.writer.last.mode is CommandMode.STOP0


async def test_the_last_resort_is_a_stop_without_numbers(running, tmp_path):
    with CommandReceiver(f"ipc://{tmp_path}/commands.sock", context=running.context) as motor:
        while motor.receive().mode is CommandMode.STOP1:
            await asyncio.sleep(0.01)
        running.watchdog.last_resort()
        assert running.watchdog.writer.last.mode is CommandMode.STOP1
        assert len(running.watchdog.writer.last.values) == 0
