import asyncio
import logging
import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.policy.bundles import make_bundle, observations, sample
from vlad.clock import FakeClock, SystemClock
from vlad.messages import Image, Instruction, LaserScan
from vlad.policy.backends import BackendError, Model, load_backend
from vlad.policy.bundle import load_bundle
from vlad.policy.model_thread import ModelThread
from vlad.policy.policy import Policy
from vlad.policy.worker import InferenceLoop
from vlad.policy_settings import PolicySettings
from vlad.queues import Latest


class Held:
    """The real backend, but that a run waits until it is let go, or fails as it is told."""

    def __init__(self, backend):
        self.backend = backend
        self.go = threading.Event()
        self.go.set()
        self.failure = None
        self.closed = threading.Event()
        self.runs = 0

    def describe(self):
        return self.backend.describe()

    def warm_up(self, inputs):
        self.backend.warm_up(inputs)

    def run(self, inputs):
        self.runs += 1
        assert self.go.wait(10)
        if self.failure is not None:
            raise self.failure
        return self.backend.run(inputs)

    def close(self):
        self.backend.close()
        self.closed.set()


def never(*_):
    """Nothing is promised about what will be done."""


class Rig:
    """An inference loop with its slots, as the daemon builds it."""

    def __init__(self, folder, clock, rate_hz=1e6, **options):
        bundle = load_bundle(folder)
        self.backend = Held(load_backend("onnx", Model(bundle.model, "float32", ("actions", "collision"), 1)))
        self.clock = clock
        self.policy = Policy(bundle, clock, backend=self.backend)
        self.latest = {topic: Latest() for topic in (*self.policy.topics, "imu", "spare")}
        self.chunks = Latest()
        self.came = asyncio.Event()
        settings = PolicySettings(rate_hz=rate_hz, **options)
        self.sources, self.estimates = {}, {}
        standing_in = (self.sources, self.estimates)
        self.loop = InferenceLoop(
            ModelThread(self.policy), self.latest, self.chunks, clock, settings, self.came.set, *standing_in,
            never,
        )  # fmt: skip
        self.task = asyncio.create_task(self.loop.run())

    def put(self, made):
        self.latest[made.topic].put(made)
        self.loop.notify(made)

    def put_states(self, text="go to the ball"):
        for topic, made in observations(text=text).items():
            if topic != "camera":
                self.put(made)

    def put_frame(self, stamp_ns=1_000, level=0):
        made = sample("camera", Image("rgb8", np.full((12, 16, 3), level, np.uint8)), stamp_ns)
        self.put(made)

    async def chunk(self):
        await asyncio.wait_for(self.came.wait(), 10)
        self.came.clear()
        return self.chunks.take()

    async def idle(self):
        """Until the worker has answered."""
        async with asyncio.timeout(10):
            while self.loop.inference_since_ns is not None:
                await asyncio.sleep(0.001)

    async def close(self):
        self.backend.go.set()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.loop.close()


@pytest.fixture
async def rig(tmp_path):
    made = []

    async def build(clock=None, **options):
        made.append(Rig(make_bundle(tmp_path / f"b{len(made)}"), clock or SystemClock(), **options))
        await asyncio.sleep(0)
        return made[-1]

    yield build
    for one in made:
        await one.close()


async def test_a_new_frame_becomes_a_chunk_with_its_time(rig):
    rig = await rig()
    rig.put_states()
    rig.put_frame(stamp_ns=4_000, level=255)
    chunk = await rig.chunk()
    assert chunk.stamp_ns == 4_000
    np.testing.assert_allclose(chunk.actions[0], [2 * 0.5 + 1, 2 * 4 + 2])
    report = rig.loop.report()
    assert (report["inferences"], report["error"]) == (1, "")
    assert report["collision"] == pytest.approx(0.5)
    assert report["latency_p99_ms"] >= report["latency_p50_ms"] > 0
    assert report["rate_hz"] == 0.5


async def test_each_frame_is_used_once_and_other_signals_start_nothing(rig):
    rig = await rig()
    rig.put_states()
    rig.put_frame()
    await rig.chunk()
    rig.put_states()
    rig.put(sample("imu", None))
    await rig.idle()
    assert rig.backend.runs == 1


@pytest.mark.parametrize("missing", ["camera", "laser", "instruction"])
async def test_nothing_runs_while_an_input_is_missing(rig, missing):
    rig = await rig()
    for topic, made in observations().items():
        if topic != missing:
            rig.put(made)
    assert rig.loop.inference_since_ns is None
    assert rig.loop.report()["waits_for"] == [missing]


async def test_nothing_runs_without_a_standing_instruction(rig):
    rig = await rig()
    rig.put_states(text=" ")
    rig.put_frame()
    assert rig.loop.inference_since_ns is None
    assert rig.loop.report()["waits_for"] == ["instruction"]
    rig.put(sample("instruction", Instruction("go to the ball")))
    assert rig.loop.report()["waits_for"] == []
    rig.put_frame(2_000)
    assert (await rig.chunk()).instruction == "go to the ball"


async def test_a_frame_that_comes_while_the_model_runs_is_used_next_and_the_newest_wins(rig):
    rig = await rig()
    rig.backend.go.clear()
    rig.put_states()
    for stamp_ns in (1_000, 2_000, 3_000):
        rig.put_frame(stamp_ns)
    rig.backend.go.set()
    stamps = [(await rig.chunk()).stamp_ns]
    await rig.idle()
    stamps.append(rig.chunks.peek().stamp_ns)
    assert stamps[-1] == 3_000
    assert rig.backend.runs == 2
    assert rig.latest["camera"].dropped == 1


async def test_a_hanging_model_shows_since_when_and_its_late_chunk_has_its_own_time(rig):
    clock = FakeClock()
    rig = await rig(clock)
    rig.backend.go.clear()
    rig.put_states()
    began_ns = clock.now_ns()
    rig.put_frame(stamp_ns=4_000)
    clock.advance(30)
    assert rig.loop.inference_since_ns == began_ns
    rig.backend.go.set()
    chunk = await rig.chunk()
    assert (chunk.stamp_ns, chunk.ready_ns - began_ns) == (4_000, 30_000_000_000)
    assert rig.loop.inference_since_ns is None


async def frames_used(rig, clock, camera_hz, count):
    """Feed `count` frames of a camera and say how many were used."""
    rig.put_states()
    for number in range(count):
        rig.put_frame(stamp_ns=number + 1)
        await rig.idle()
        clock.advance(1 / camera_hz)
    return rig.backend.runs


@pytest.mark.parametrize(
    ("camera_hz", "rate_hz", "used"), [(30, 10, 20), (30, 20, 40), (30, 30, 60), (29, 30, 60), (5, 10, 60)]
)
async def test_the_rate_limit_leaves_out_frames_and_never_those_of_a_slower_camera(
    rig, camera_hz, rate_hz, used
):
    clock = FakeClock()
    made = await rig(clock, rate_hz=rate_hz)
    assert await frames_used(made, clock, camera_hz, 60) == pytest.approx(used, abs=1)


async def test_a_jittering_camera_at_the_limit_loses_no_frame(rig):
    clock = FakeClock()
    made = await rig(clock, rate_hz=30)
    made.put_states()
    random = np.random.default_rng(0)
    late_s = 0.0
    for number in range(60):
        next_late_s = random.uniform(0, 0.012)
        clock.advance(1 / 30 + next_late_s - late_s)
        late_s = next_late_s
        made.put_frame(stamp_ns=number + 1)
        await made.idle()
    assert made.backend.runs == 60


async def test_a_bad_observation_is_counted_and_shown_and_the_next_frame_is_used(rig, caplog):
    rig = await rig(FakeClock())
    rig.put_states()
    good = rig.latest["laser"].peek()
    rig.put(sample("laser", LaserScan(0, 1, 0, 8, np.ones(3, np.float32))))
    with caplog.at_level(logging.WARNING):
        for stamp_ns in (1, 2, 3):
            rig.clock.advance(0.1)
            rig.put_frame(stamp_ns)
            await rig.idle()
    report = rig.loop.report()
    assert report["bad_observations"] == 3
    assert "too few for the 4 sectors" in report["error"]
    assert len(caplog.records) == 1
    assert not rig.task.done()
    rig.put(good)
    rig.clock.advance(0.1)
    rig.put_frame(4)
    await rig.chunk()
    assert rig.loop.report()["error"] == ""


async def test_a_failing_model_ends_the_run_for_the_supervisor_and_can_be_run_again(rig):
    rig = await rig()
    rig.backend.failure = BackendError("out of memory")
    rig.put_states()
    rig.put_frame(1)
    with pytest.raises(BackendError, match="out of memory"):
        await asyncio.wait_for(rig.task, 10)
    assert rig.loop.report()["error"] == "out of memory"
    assert rig.loop.inference_since_ns is None
    assert rig.loop.lost == "out of memory"
    rig.put_frame(2)
    assert rig.loop.inference_since_ns is None
    rig.backend.failure = None
    rig.task = asyncio.create_task(rig.loop.run())
    assert (await rig.chunk()).stamp_ns == 2
    assert rig.loop.lost == ""


async def test_a_model_that_failed_is_tried_out_and_gets_well_without_a_frame(rig):
    rig = await rig()
    rig.backend.failure = BackendError("the server is gone")
    rig.put_states()
    rig.put_frame(1)
    with pytest.raises(BackendError):
        await asyncio.wait_for(rig.task, 10)
    rig.backend.failure = BackendError("the server is still gone")
    with pytest.raises(BackendError):
        await asyncio.wait_for(rig.loop.run(), 10)
    assert rig.loop.lost == rig.loop.report()["error"] == "the server is still gone"
    rig.backend.failure = None
    rig.task = asyncio.create_task(rig.loop.run())
    async with asyncio.timeout(10):
        while rig.loop.lost:
            await asyncio.sleep(0.001)
    assert rig.loop.report()["error"] == ""
    assert rig.loop.inferences == 0


async def test_what_is_lost_from_the_start_is_tried_out_before_a_frame_is_used(tmp_path):
    rig = Rig(make_bundle(tmp_path / "b"), SystemClock())
    rig.loop.lost = "the server is not there yet"
    rig.backend.go.clear()
    await asyncio.sleep(0)
    rig.put_states()
    rig.put_frame(7)
    assert rig.loop.inference_since_ns is None
    rig.backend.go.set()
    assert (await rig.chunk()).stamp_ns == 7
    assert rig.backend.runs == 2
    await rig.close()


@pytest.mark.parametrize("end", ["cancel", "retire"])
async def test_a_try_out_that_nobody_waits_for_any_more_hurts_nobody(tmp_path, end):
    rig = Rig(make_bundle(tmp_path / "b"), SystemClock())
    rig.loop.lost = "gone"
    rig.backend.go.clear()
    await asyncio.sleep(0)
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    rig.backend.failure = BackendError("still gone")
    rig.task.cancel() if end == "cancel" else rig.loop.retire()
    await asyncio.wait_for(asyncio.gather(rig.task, return_exceptions=True), 10)
    await rig.close()
    await asyncio.sleep(0)
    assert rig.backend.closed.is_set()
    assert problems == []


async def test_an_error_without_a_word_counts_as_lost_too(rig):
    rig = await rig()
    rig.backend.failure = MemoryError()
    rig.put_states()
    rig.put_frame(1)
    with pytest.raises(MemoryError):
        await asyncio.wait_for(rig.task, 10)
    assert rig.loop.lost == "MemoryError"


async def test_a_model_slower_than_asked_says_what_would_help(rig):
    rig = await rig(FakeClock(), rate_hz=20)
    rig.put_states()
    assert rig.loop.report()["advice"] == ""
    rig.backend.go.clear()
    rig.put_frame()
    rig.clock.advance(0.08)
    rig.backend.go.set()
    await rig.chunk()
    advice = rig.loop.report()["advice"]
    assert "each takes 80 ms, policy.rate_hz asks for at most 50 ms" in advice
    assert "more policy.threads" in advice


async def test_a_bad_observation_is_not_a_lost_policy(rig):
    rig = await rig()
    rig.put_states()
    rig.put(sample("laser", LaserScan(0, 1, 0, 8, np.ones(3, np.float32))))
    rig.put_frame()
    await rig.idle()
    assert (rig.loop.bad_observations, rig.loop.lost) == (1, "")


async def test_the_frames_of_a_backup_camera_start_inferences_and_those_of_the_failed_one_do_not(rig):
    rig = await rig()
    rig.put_states()
    rig.sources["camera"] = "spare"
    rig.put_frame(stamp_ns=1_000)
    await rig.idle()
    assert rig.backend.runs == 0
    rig.put(sample("spare", Image("rgb8", np.zeros((12, 16, 3), np.uint8)), 2_000))
    assert (await rig.chunk()).stamp_ns == 2_000
    del rig.sources["camera"]
    rig.put_frame(stamp_ns=3_000)
    assert (await rig.chunk()).stamp_ns == 3_000


async def test_what_is_estimated_is_what_the_policy_sees(rig):
    rig = await rig()
    rig.put_states()
    estimated = replace(rig.latest["laser"].peek(), seq=77)
    rig.estimates["laser"] = estimated
    seen = []
    infer = rig.policy.infer
    rig.policy.infer = lambda samples, prefix: seen.append(samples["laser"]) or infer(samples, prefix)
    rig.put_frame()
    await rig.chunk()
    assert seen == [estimated]


async def test_frames_before_the_run_are_used_when_it_starts(tmp_path):
    rig = Rig(make_bundle(tmp_path / "b"), SystemClock())
    rig.put_states()
    rig.put_frame(7)
    assert (await rig.chunk()).stamp_ns == 7
    await rig.close()


async def test_closing_ends_the_thread_and_closes_the_backend(rig):
    rig = await rig()
    rig.loop.close()
    assert rig.backend.closed.is_set()


async def test_a_hanging_model_does_not_hold_up_closing(rig, caplog, monkeypatch):
    monkeypatch.setattr("vlad.policy.model_thread._CLOSE_TIMEOUT_S", 0.05)
    rig = await rig()
    rig.backend.go.clear()
    rig.put_states()
    rig.put_frame()
    rig.loop.close()
    assert "tiny/1: the model did not return" in caplog.text
    assert not rig.backend.closed.is_set()
    rig.backend.go.set()
    await asyncio.to_thread(rig.backend.closed.wait, 10)
    assert rig.backend.closed.is_set()


async def test_a_policy_that_is_released_stays_open_for_another_loop(rig):
    rig = await rig()
    assert rig.loop.release() is rig.policy
    assert not rig.backend.closed.is_set()


async def test_a_policy_whose_model_hangs_is_not_released_and_closed_once_it_returns(rig, monkeypatch):
    monkeypatch.setattr("vlad.policy.model_thread._CLOSE_TIMEOUT_S", 0.05)
    rig = await rig()
    rig.backend.go.clear()
    rig.put_states()
    rig.put_frame()
    assert rig.loop.release() is None
    rig.backend.go.set()
    await asyncio.to_thread(rig.backend.closed.wait, 10)
    assert rig.backend.closed.is_set()


async def test_a_loop_that_sleeps_uses_no_frame_and_when_woken_the_newest_at_once(rig):
    rig = await rig()
    rig.put_states()
    rig.loop.sleep()
    rig.put_frame(stamp_ns=5_000)
    assert rig.loop.inference_since_ns is None
    rig.loop.deliver(rig.chunks, rig.came.set)
    rig.loop.wake()
    assert (await rig.chunk()).stamp_ns == 5_000


async def test_the_model_runs_in_one_thread_that_is_not_the_loops(rig):
    rig = await rig()
    threads = []
    run = rig.backend.run
    rig.backend.run = lambda inputs: threads.append(threading.current_thread()) or run(inputs)
    rig.put_states()
    for stamp_ns in (1, 2):
        rig.put_frame(stamp_ns)
        await rig.chunk()
        await rig.idle()
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon


async def test_the_model_is_given_what_the_follower_will_do_when_the_inference_starts(rig, monkeypatch):
    rig = await rig()
    told, promised = [], object()
    infer = rig.policy.infer
    monkeypatch.setattr(
        rig.policy, "prefix", lambda samples, ahead: (ahead is never, samples["camera"].stamp_ns, promised)
    )
    monkeypatch.setattr(rig.policy, "infer", lambda samples, prefix: told.append(prefix) or infer(samples))
    rig.put_states()
    rig.put_frame(stamp_ns=4_000)
    await rig.chunk()
    assert told == [(True, 4_000, promised)]
