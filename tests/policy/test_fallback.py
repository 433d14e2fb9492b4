"""A policy that stands in for one that is lost, with real models, and when the lost one may drive again."""

import asyncio

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.test_seat import again, bundle, observations, on_server, seat
from tests.policy.test_worker import Held
from vlad.clock import NS_PER_S
from vlad.messages import Level
from vlad.policy.backends import BackendError
from vlad.policy.fallback import Recovery

__all__ = ["seat"]

MS = NS_PER_S // 1000


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 700)), max_size=80))
def test_a_policy_is_well_after_five_seconds_and_ten_chunks_without_a_bad_one(answers):
    recovery, now_ns, good = Recovery(5.0), 0, []
    for is_good, after_ms in answers:
        now_ns += after_ms * MS
        if is_good:
            good.append(now_ns)
            assert recovery.good(now_ns) is (len(good) >= 10 and now_ns - good[0] >= 5 * NS_PER_S)
        else:
            good = []
            recovery.bad()


def spoil(loop, backend_error=None):
    """Put a backend that can be held up and that fails when told in front of the loop's own."""
    loop.policy._backend = held = Held(loop.policy._backend)
    held.failure = backend_error
    return held


def standing_by(rig, tmp_path):
    """tiny/1 drives at 0.25 m/s, tiny/2 stands by with 0.5 m/s."""
    rig.seat.stand_by(rig.open(bundle(tmp_path, "2", 0.5)))
    rig.sit(bundle(tmp_path, "1", 0.25))
    rig.tasks[0].cancel()
    rig.tasks[0] = asyncio.create_task(again(rig.seat))
    rig.tasks.append(asyncio.create_task(rig.seat.fallback.loop.run()))


async def until(what):
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.002)


async def test_where_the_model_fails_the_fallback_drives_at_once_and_the_robot_is_not_without_one(
    seat, tmp_path
):
    rig = seat()
    standing_by(rig, tmp_path)
    await rig.follows(0.25)
    assert rig.seat.fallback.loop.inferences == 0, "it sleeps"
    spoil(rig.seat.loop, BackendError("out of memory"))
    await rig.follows(0.5)
    assert rig.seat.check() == ""
    assert rig.seat.instead == "tiny/2 drives: out of memory"
    assert rig.told == [(Level.WARNING, "tiny/2 drives in place of tiny/1: out of memory")]
    report = rig.seat.fallback.report()
    assert (report["state"], report["in_place_of"]) == ("driving", "tiny/1")


async def test_the_frame_that_the_lost_one_failed_on_is_answered_by_the_fallback(seat, tmp_path):
    rig = seat()
    standing_by(rig, tmp_path)
    await rig.follows(0.25)
    rig.tasks[1].cancel()
    await asyncio.sleep(0.02)
    await until(lambda: rig.seat.loop.inference_since_ns is None)
    held = spoil(rig.seat.loop)
    held.go.clear()
    now_ns = rig.clock.now_ns()
    for topic, sample in observations(now_ns).items():
        rig.latest[topic].put(sample)
        rig.seat.notify(sample)
    await until(lambda: held.runs)
    rig.came.clear()
    held.failure = BackendError("gone")
    held.go.set()
    await rig.follows(0.5)
    assert rig.came[-1].stamp_ns == now_ns


async def test_the_lost_one_drives_again_once_it_was_well_for_long_enough(seat, tmp_path):
    rig = seat(failback_s=0.2)
    standing_by(rig, tmp_path)
    await rig.follows(0.25)
    held = spoil(rig.seat.loop, BackendError("out of memory"))
    await rig.follows(0.5)
    held.failure = None
    await rig.follows(0.25)
    assert rig.seat.instead == ""
    assert rig.told[-1] == (Level.SAFE, "tiny/1 drives again: it has been well for a while")
    before = rig.seat.fallback.loop.inferences
    rig.came.clear()
    await until(lambda: len(rig.came) > 10)
    assert {chunk.actions[0, 0] for chunk in rig.came if chunk} == {np.float32(0.25)}
    assert rig.seat.fallback.loop.inferences <= before + 1, "it sleeps again"


async def test_one_that_answers_badly_again_and_again_does_not_drive_again(seat, tmp_path):
    rig = seat(failback_s=0.1)
    standing_by(rig, tmp_path)
    await rig.follows(0.25)
    held = spoil(rig.seat.loop, BackendError("out of memory"))
    await rig.follows(0.5)
    for _ in range(5):
        held.failure = None
        await asyncio.sleep(0.05)
        held.failure = BackendError("once more")
        await asyncio.sleep(0.03)
    assert rig.seat.instead
    assert len(rig.told) == 1


async def test_numbers_that_are_not_finite_are_a_loss_where_there_is_a_fallback(seat, tmp_path):
    rig = seat()
    standing_by(rig, tmp_path)
    await rig.follows(0.25)
    policy = rig.seat.loop.policy
    run = policy._backend.run
    policy._backend.run = lambda inputs: {**run(inputs), "collision": np.full((1, 1), np.nan, np.float32)}
    await rig.follows(0.5)
    assert "'collision': was not finite" in rig.seat.instead


async def test_a_model_that_hangs_is_a_loss_after_the_deadline(seat, tmp_path):
    rig = seat(deadline_s=0.1)
    standing_by(rig, tmp_path)
    await rig.follows(0.25)
    held = spoil(rig.seat.loop)
    held.go.clear()
    await until(lambda: held.runs)
    await until(lambda: rig.seat.check() == "" and rig.seat.instead)
    assert "no answer for 0.1" in rig.seat.instead
    await rig.follows(0.5)
    held.go.set()


async def test_where_the_fallback_is_lost_too_both_reasons_are_told(seat, tmp_path):
    rig = seat()
    standing_by(rig, tmp_path)
    rig.tasks[2].cancel()
    rig.tasks[2] = asyncio.create_task(again(rig.seat.fallback.loop))
    await rig.follows(0.25)
    other = spoil(rig.seat.fallback.loop, BackendError("no better"))
    held = spoil(rig.seat.loop, BackendError("gone"))
    await until(lambda: "gone; the fallback tiny/2: no better" in rig.seat.check())
    assert rig.seat.fallback.report()["state"] == "lost"
    held.failure = None
    rig.came.clear()
    await rig.follows(0.25)
    assert rig.seat.check() == "", "the first that is well drives, without a wait"
    held.failure = BackendError("gone again")
    await until(lambda: rig.seat.check())
    other.failure = None
    await rig.follows(0.5)
    assert rig.seat.check() == ""


async def test_a_fallback_that_is_asked_and_does_not_answer_in_time_is_no_policy(seat, tmp_path):
    rig = seat(deadline_s=0.1)
    standing_by(rig, tmp_path)
    await rig.follows(0.25)
    held = spoil(rig.seat.fallback.loop)
    held.go.clear()
    spoil(rig.seat.loop, BackendError("gone"))
    await until(lambda: rig.seat.instead)
    await until(lambda: rig.seat.check() == "gone; the fallback tiny/2: no chunk in time")
    held.go.set()
    await until(lambda: rig.seat.check() == "")


async def test_a_server_that_is_not_there_from_the_start_is_stood_in_for(seat, tmp_path):
    rig = seat(server={"address": "ws://127.0.0.1:1"})
    rig.seat.stand_by(rig.open(bundle(tmp_path, "2", 0.5)))
    rig.sit(on_server(tmp_path, "1"))
    rig.tasks.append(asyncio.create_task(rig.seat.fallback.loop.run()))
    assert rig.seat.check() == ""
    await rig.follows(0.5)
    assert "Connection refused" in rig.seat.instead


async def test_a_new_bundle_drives_in_place_of_the_lost_one_and_its_fallback(seat, tmp_path):
    rig = seat()
    standing_by(rig, tmp_path)
    await rig.follows(0.25)
    spoil(rig.seat.loop, BackendError("gone"))
    await rig.follows(0.5)
    await rig.seat.activate(bundle(tmp_path, "3", 0.75))
    await rig.follows(0.75)
    assert (rig.seat.instead, rig.seat.check()) == ("", "")
    spoil(rig.seat.loop, BackendError("gone too"))
    await rig.follows(0.5)
    assert rig.told[-1][1] == "tiny/2 drives in place of tiny/3: gone too"
