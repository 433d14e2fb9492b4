"""One bundle after another in the driver's seat, with real models."""

import asyncio
import contextlib
import os
import signal
import sys
import threading

import numpy as np
import psutil
import pytest

from tests.policy.bundles import (
    HORIZON,
    ROBOT,
    SIGNALS,
    image_input,
    instruction_input,
    laser_input,
    make_bundle,
    manifest,
    observations,
)
from tests.policy.torch_models import Tiny, make_torch_bundle
from vlad.clock import SystemClock
from vlad.config import Settings
from vlad.messages import LaserScan, Sample
from vlad.policy.backends import BackendError
from vlad.policy.bundle import BundleRefused, load_bundle, write_manifest
from vlad.policy.opening import open_policy
from vlad.policy.policy import Policy
from vlad.policy.seat import Seat
from vlad.policy.shadow import Shadowed, Trial
from vlad.queues import Latest
from vlad.safety.failover import Sources
from vlad.safety.view import Rules


class Rig:
    """A seat whose samples come in from a task, and the chunks that would be followed."""

    def __init__(self, **policy):
        self.settings = Settings.model_validate(
            {"robot": {"limits": "none.toml"}, "signals": SIGNALS, "policy": {"rate_hz": 200.0, **policy}}
        )
        self.clock = SystemClock()
        self.latest = {topic: Latest() for topic in SIGNALS}
        self.chunks = Latest()
        self.came, self.told = [], []
        self.armed = False
        self.range_m = 3.0
        self.seat = Seat(
            self.settings, ROBOT, self.clock, self.latest, Sources(Rules(ROBOT, self.settings)), self.chunks,
            lambda: self.came.append(self.chunks.take()), lambda: self.armed,
            ahead=lambda *_: None, tell=lambda level, text: self.told.append((level, text)),
        )  # fmt: skip
        self.tasks = [asyncio.create_task(self.seat.run()), asyncio.create_task(self.feed())]

    async def feed(self):
        """Frames, and what belongs to them, every 5 ms, as of now."""
        while True:
            now_ns = self.clock.now_ns()
            for topic, sample in observations(now_ns).items():
                data = sample.data
                if topic == "laser":
                    data = LaserScan(0, 1, 0, 8, np.full(8, self.range_m, np.float32))
                self.latest[topic].put(Sample(topic, 0, now_ns, now_ns, "", data))
                self.seat.notify(self.latest[topic].peek())
            await asyncio.sleep(0.005)

    def sit(self, folder):
        self.seat.take(self.open(folder))

    def open(self, folder):
        return open_policy(load_bundle(folder), self.settings, self.clock)

    async def follows(self, value):
        """Until the newest chunk says this."""
        async with asyncio.timeout(10):
            while not (self.came and self.came[-1] is not None and self.came[-1].actions[0, 0] == value):
                await asyncio.sleep(0.002)

    async def close(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.seat.close()


@pytest.fixture
async def seat(tmp_path):
    made = []

    def build(**policy):
        made.append(Rig(**policy))
        return made[-1]

    yield build
    for rig in made:
        await rig.close()


def bundle(tmp_path, version, speed, **changes):
    """A bundle that says `speed` [m/s] at black pictures, and nothing for the turn rate."""
    plan = np.full((1, HORIZON, 2), (speed - 1.0) / 0.5 + 2, np.float32)
    plan[..., 1] = 1.5
    return make_bundle(tmp_path / "models" / "tiny" / version, plan, version=version, **changes)


def threads():
    return sum(thread.name == "inference" for thread in threading.enumerate())


async def test_another_bundle_drives_after_it_was_tried_in_the_shadow(seat, tmp_path):
    rig = seat()
    rig.sit(bundle(tmp_path, "1", 0.25))
    await rig.follows(0.25)
    shadowed = await rig.seat.activate(bundle(tmp_path, "2", 0.5))
    assert shadowed.chunks >= 10
    assert shadowed.latency_p50_ms > 0
    await rig.follows(0.5)
    await asyncio.sleep(0.1)
    speeds = [chunk.actions[0, 0] for chunk in rig.came if chunk]
    assert speeds == sorted(speeds), "nothing of the old one comes after the new one's first"
    assert set(speeds) == {np.float32(0.25), np.float32(0.5)}
    assert str(rig.seat.loop.policy.bundle) == "tiny/2"
    assert threads() == 1, "the old model's thread has ended"
    assert rig.seat.phase == ""


async def test_where_none_drove_the_first_may_come_later(seat, tmp_path):
    rig = seat()
    await rig.seat.activate(bundle(tmp_path, "1", 0.5))
    await rig.follows(0.5)


async def test_without_samples_the_warm_up_must_do(seat, tmp_path, monkeypatch):
    monkeypatch.setattr("vlad.policy.shadow._SHADOW_S", 0.1)
    rig = seat()
    rig.tasks[1].cancel()
    assert await rig.seat.activate(bundle(tmp_path, "1", 0.5)) == Shadowed(0, None)
    assert rig.seat.loop is not None


async def refusal(rig, folder):
    """Why it may not drive, while the one that drives goes on."""
    with pytest.raises(BundleRefused) as refused:
        await rig.seat.activate(folder)
    assert rig.seat.phase == ""
    if rig.seat.loop is not None:
        rig.came.clear()
        await rig.follows(0.25)
        assert threads() == 1
    return str(refused.value)


async def test_what_the_robot_may_not_follow_is_refused_and_the_other_goes_on(seat, tmp_path):
    rig = seat()
    rig.sit(bundle(tmp_path, "1", 0.25))
    assert "chunk_bounds: linear_x reaches 9" in await refusal(rig, bundle(tmp_path, "2", 9.0))


async def test_a_changed_file_is_refused_and_the_other_goes_on(seat, tmp_path):
    rig = seat()
    rig.sit(bundle(tmp_path, "1", 0.25))
    other = bundle(tmp_path, "2", 0.5)
    (other / "model.onnx").write_bytes(b"changed")
    assert "was changed" in await refusal(rig, other)


async def test_a_bundle_that_cannot_use_the_samples_is_refused(seat, tmp_path):
    rig = seat()
    rig.sit(bundle(tmp_path, "1", 0.25))
    narrow = laser_input(angles=[100.0, 100.1])
    inputs = [image_input(), narrow, instruction_input()]
    assert "no beam is within the angles" in await refusal(rig, bundle(tmp_path, "2", 0.5, inputs=inputs))


async def test_a_bundle_that_is_refused_at_warm_up_is_closed_again(seat, tmp_path, monkeypatch):
    rig = seat()
    rig.sit(bundle(tmp_path, "1", 0.25))
    closed = []
    close = Policy.close
    monkeypatch.setattr(Policy, "close", lambda policy: (closed.append(policy.bundle.version), close(policy)))
    assert "was not finite" in await refusal(rig, bundle(tmp_path, "2", float("nan")))
    assert closed == ["2"]


async def test_a_model_slower_than_the_deadline_is_refused(seat, tmp_path):
    rig = seat(deadline_s=1e-6)
    rig.sit(bundle(tmp_path, "1", 0.25))
    assert "use a faster model or more threads" in await refusal(rig, bundle(tmp_path, "2", 0.5))


@pytest.mark.parametrize("budget_mb", [10, 0])
async def test_a_bundle_larger_than_memory_is_refused_before_it_is_loaded(
    seat, tmp_path, monkeypatch, budget_mb
):
    rig = seat(memory_mb=budget_mb)
    rig.sit(bundle(tmp_path, "1", 0.25))
    other = bundle(tmp_path, "2", 0.5)
    (other / "weights.bin").write_bytes(bytes(20_000_000))
    write_manifest(other, manifest(version="2"))
    if not budget_mb:
        free = psutil.virtual_memory()._replace(available=10_500_000)
        monkeypatch.setattr("vlad.policy.opening.psutil.virtual_memory", lambda: free)
    monkeypatch.setattr("vlad.policy.opening.Policy", None)
    text = await refusal(rig, other)
    assert "takes 20.0 MB of memory, and may take 10." in text
    assert "use a smaller model" in text


async def test_what_a_bundle_takes_when_it_has_run_counts_too(seat, tmp_path, monkeypatch):
    rig = seat(memory_mb=40)
    rig.sit(bundle(tmp_path, "1", 0.25))
    kept = []
    warm_up = Policy.warm_up

    def greedy(policy):
        kept.append(np.ones(60_000_000, np.uint8))
        return warm_up(policy)

    monkeypatch.setattr(Policy, "warm_up", greedy)
    assert "and may take 40.0" in await refusal(rig, bundle(tmp_path, "2", 0.5))


async def test_a_signal_that_may_be_missing_is_not_enough_for_a_new_bundle(seat, tmp_path):
    rig = seat()
    rig.sit(bundle(tmp_path, "1", 0.25))
    optional = SIGNALS["laser"].model_copy(update={"required": False})
    rig.settings.signals["laser"] = optional
    text = await refusal(rig, bundle(tmp_path, "2", 0.5))
    assert "reads 'laser', which the settings do not require" in text
    assert "signals.laser.required = true" in text


async def test_a_bundle_that_gives_nothing_is_refused_with_what_it_waits_for(seat, tmp_path, monkeypatch):
    monkeypatch.setattr("vlad.policy.shadow._SHADOW_S", 0.1)
    rig = seat()
    rig.sit(bundle(tmp_path, "1", 0.25))
    rig.settings.signals["order"], rig.latest["order"] = SIGNALS["instruction"], Latest()
    inputs = [image_input(), laser_input(), instruction_input(signal="order")]
    text = await refusal(rig, bundle(tmp_path, "2", 0.5, inputs=inputs))
    assert text.endswith("no chunk in 0.1 s, while the running policy gave some; it waits for order")


APART = "in a process of its own"


def torch_bundle(tmp_path, version, speed):
    """As `bundle`, a program of torch's."""
    net = Tiny(plan=(speed - 1.0) / 0.5 + 2)
    return make_torch_bundle(tmp_path / "models" / "tiny" / version, net, version)


@pytest.mark.parametrize("armed", [False, True])
async def test_an_armed_robot_does_not_wait_for_a_runtime_to_be_loaded(seat, tmp_path, monkeypatch, armed):
    rig = seat()
    rig.sit(bundle(tmp_path, "1", 0.25))
    rig.armed = armed
    monkeypatch.delitem(sys.modules, "vlad.policy.backends.onnx")
    await rig.seat.activate(bundle(tmp_path, "2", 0.5))
    await rig.follows(0.5)
    assert (APART in rig.seat.loop.policy.device) == armed
    assert ("vlad.policy.backends.onnx" not in sys.modules) == armed


@pytest.mark.parametrize("armed", [False, True])
async def test_a_model_of_torch_s_is_read_by_another_process_while_the_robot_is_armed(seat, tmp_path, armed):
    rig = seat()
    rig.sit(bundle(tmp_path, "1", 0.25))
    rig.armed = armed
    await rig.seat.activate(torch_bundle(tmp_path, "2", 0.5))
    await rig.follows(0.5)
    assert (APART in rig.seat.loop.policy.device) == armed


@pytest.mark.parametrize("armed", [False, True])
async def test_it_is_told_while_a_bundle_is_read_in_this_process_and_no_longer(
    seat, tmp_path, monkeypatch, armed
):
    rig = seat()
    rig.sit(bundle(tmp_path, "1", 0.25))
    rig.armed = armed
    told = []
    for kind, name in ((Policy, "warm_up"), (Trial, "watch")):
        real = getattr(kind, name)
        telling = lambda *args, real=real: (told.append(rig.seat.reading), real(*args))[1]  # noqa: E731
        monkeypatch.setattr(kind, name, telling)
    await rig.seat.activate(bundle(tmp_path, "2", 0.5))
    assert told == ["" if armed else "tiny/2", ""]
    with pytest.raises(BundleRefused):
        await rig.seat.activate(bundle(tmp_path, "3", float("nan")))
    assert told[2:] == ["" if armed else "tiny/3"]
    assert rig.seat.reading == ""


async def test_an_activation_that_is_cancelled_lasts_until_the_bundle_is_read(seat, tmp_path, monkeypatch):
    rig = seat()
    rig.sit(bundle(tmp_path, "1", 0.25))
    reading, go_on, closed = threading.Event(), threading.Event(), []
    real_warm_up, real_close = Policy.warm_up, Policy.close
    monkeypatch.setattr(
        Policy, "warm_up", lambda *args: (reading.set(), go_on.wait(10), real_warm_up(*args))[-1]
    )
    monkeypatch.setattr(Policy, "close", lambda policy: (closed.append(policy), real_close(policy))[-1])
    activation = asyncio.create_task(rig.seat.activate(bundle(tmp_path, "2", 0.5)))
    await asyncio.to_thread(reading.wait)
    activation.cancel()
    await asyncio.wait([activation], timeout=0.05)
    assert rig.seat.reading == "tiny/2"
    assert rig.seat.phase
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await activation
    assert rig.seat.reading == rig.seat.phase == ""
    assert [policy.bundle.version for policy in closed] == ["2"]


async def test_what_a_model_takes_in_its_own_process_counts(seat, tmp_path):
    rig = seat(memory_mb=40)
    rig.sit(bundle(tmp_path, "1", 0.25))
    rig.armed = True
    before = children()
    assert "and may take 40.0" in await refusal(rig, torch_bundle(tmp_path, "2", 0.5))
    assert children() == before


async def test_a_model_whose_process_ended_is_lost_and_comes_back(seat, tmp_path):
    rig = seat()
    before = children()
    rig.armed = True
    await rig.seat.activate(torch_bundle(tmp_path, "1", 0.5))
    await rig.follows(0.5)
    (pid,) = children() - before
    os.kill(pid, signal.SIGKILL)
    while not rig.seat.loop.lost:
        await asyncio.sleep(0.001)
    assert "the process that runs it ended by SIGKILL" in rig.seat.check()
    rig.came.clear()
    rig.tasks[0] = asyncio.create_task(again(rig.seat))
    await rig.follows(0.5)
    assert rig.seat.check() == ""


def children():
    return {child.pid for child in psutil.Process().children()}


def on_server(tmp_path, version):
    """A bundle whose model is on a server that is not there."""
    folder = tmp_path / "models" / "tiny" / version
    folder.mkdir(parents=True)
    values = manifest(backend="openpi", version=version, inputs=[image_input(), instruction_input()])
    del values["model"], values["inputs"][1]["tokenizer"], values["inputs"][1]["shape"]
    write_manifest(folder, values)
    return folder


async def test_a_policy_whose_server_is_lost_is_not_given_the_robot(seat, tmp_path):
    rig = seat(server={"address": "ws://127.0.0.1:1"})
    rig.sit(bundle(tmp_path, "1", 0.25))
    assert "127.0.0.1:1: Connection refused" in await refusal(rig, on_server(tmp_path, "2"))
    assert threads() == 1


async def test_a_policy_whose_server_is_lost_gives_its_seat_to_another(seat, tmp_path):
    rig = seat(server={"address": "ws://127.0.0.1:1"})
    rig.sit(on_server(tmp_path, "1"))
    while "Connection refused" not in rig.seat.loop.lost or not rig.tasks[0].done():
        await asyncio.sleep(0.001)
    rig.tasks[0] = asyncio.create_task(again(rig.seat))
    await rig.seat.activate(bundle(tmp_path, "2", 0.5))
    await rig.follows(0.5)
    assert rig.seat.loop.lost == ""


async def again(seat):
    """As its supervisor runs it."""
    while True:
        with contextlib.suppress(BackendError):
            await seat.run()
        await asyncio.sleep(0.01)


async def test_one_activation_at_a_time(seat, tmp_path):
    rig = seat()
    rig.sit(bundle(tmp_path, "1", 0.25))
    first = asyncio.create_task(rig.seat.activate(bundle(tmp_path, "2", 0.5)))
    await asyncio.sleep(0)
    with pytest.raises(BundleRefused, match="another bundle is being activated"):
        await rig.seat.activate(bundle(tmp_path, "3", 0.5))
    await first
    assert str(rig.seat.loop.policy.bundle) == "tiny/2"


async def test_an_activation_that_is_cancelled_leaves_nothing_behind(seat, tmp_path):
    rig = seat()
    rig.sit(bundle(tmp_path, "1", 0.25))
    activation = asyncio.create_task(rig.seat.activate(bundle(tmp_path, "2", 0.5)))
    while "shadowing" not in rig.seat.phase:
        await asyncio.sleep(0.001)
    activation.cancel()
    with pytest.raises(asyncio.CancelledError):
        await activation
    assert (rig.seat.phase, threads()) == ("", 1)
    rig.came.clear()
    await rig.follows(0.25)
