import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlad.messages import Chunk, Kind
from vlad.policy.follower import Follower
from vlad.policy_settings import PolicySettings

MS = 1_000_000
STEP_NS = 100 * MS
BLEND_NS = 80 * MS
WAYS = ("latest", "ensemble", "blend", "rtc")
DECAY = 0.01


def follow(way="blend", blend_ns=BLEND_NS):
    return Follower(PolicySettings(follow=way, blend_s=blend_ns / 1e9))


def chunk(rows, stamp_ns=0, seq=1, kind=Kind.TWIST, names=None, collision=None, step_ns=STEP_NS):
    actions = np.array(rows, np.float32).reshape(len(rows), -1)
    names = names or tuple(f"axis{index}" for index in range(actions.shape[1]))
    return Chunk(seq, stamp_ns, stamp_ns, step_ns, kind, names, actions, "", 0, collision)


def value(follower, now_ns):
    return float(follower.step(now_ns).values[0])


def told(rows, stamp_ns, now_ns):
    """What a chunk that nothing was planned before says."""
    fresh = follow("latest")
    fresh.put(chunk(rows, stamp_ns), now_ns)
    return value(fresh, now_ns)


plans = st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=12)
moments = st.integers(-3 * STEP_NS, 15 * STEP_NS)
arrivals = st.lists(st.tuples(plans, st.integers(1, 400), st.integers(0, 400)), min_size=1, max_size=8)
"""Chunks: their rows, how long after the one before their frame was taken, and how long they took [ms]."""
ways = pytest.mark.parametrize("way", WAYS)


def play(follower, arrivals, kind=Kind.TWIST):
    """Put the chunks when they come; yields the moment of each."""
    stamp_ns = now_ns = 0
    for seq, (rows, gap_ms, taken_ms) in enumerate(arrivals):
        stamp_ns += gap_ms * MS
        now_ns = max(now_ns, stamp_ns + taken_ms * MS)
        follower.put(chunk(rows, stamp_ns, seq, kind), now_ns)
        yield now_ns


def test_nothing_is_due_without_a_chunk():
    assert follow().step(0) is None


@ways
@given(plan=plans)
def test_a_row_is_reached_exactly_when_it_is_meant(way, plan):
    follower = follow(way)
    follower.put(chunk(plan, stamp_ns=7), 7)
    for index, row in enumerate(plan):
        assert value(follower, 7 + (index + 1) * STEP_NS) == np.float32(row)


def test_between_rows_it_is_linear():
    follower = follow()
    follower.put(chunk([[0, 10], [1, 30]]), 0)
    np.testing.assert_allclose(follower.step(STEP_NS + STEP_NS // 4).values, [0.25, 15])


@pytest.mark.parametrize(
    ("way", "kind"),
    [*((way, Kind.JOINT_POSITION) for way in WAYS), ("latest", Kind.TWIST), ("ensemble", Kind.TWIST)],
)
@given(arrivals=arrivals, later_ms=st.integers(0, 500))
def test_what_is_said_lies_within_what_the_chunks_say(way, kind, arrivals, later_ms):
    follower = follow(way)
    said = [value(follower, now_ns + later_ms * MS) for now_ns in play(follower, arrivals, kind)]
    rows = [row for plan, _, _ in arrivals for row in plan]
    assert min(rows) - 1e-5 <= min(said) <= max(said) <= max(rows) + 1e-5


@ways
@given(arrivals=arrivals, skipped=st.integers(2, 10), wrong=st.floats(-9, 9, width=32))
def test_positions_whose_time_has_passed_are_never_taken(way, arrivals, skipped, wrong):
    """Only the last of them counts, for the way from it to the next."""
    late = [float(row) for row in range(skipped + 4)]
    followers = [follow(way), follow(way)]
    for follower, rows in zip(followers, (late, [wrong] * (skipped - 1) + late[skipped - 1 :]), strict=True):
        *_, now_ns = play(follower, arrivals, Kind.JOINT_POSITION)
        follower.put(chunk(rows, now_ns, 99, Kind.JOINT_POSITION), now_ns + skipped * STEP_NS)
    for tick in range(60):
        at_ns = now_ns + skipped * STEP_NS + tick * 10 * MS
        assert value(followers[0], at_ns) == value(followers[1], at_ns)


def test_rows_that_passed_during_inference_are_skipped():
    follower = follow()
    follower.put(chunk([1, 2, 3, 4]), 3 * STEP_NS)
    assert value(follower, 3 * STEP_NS) == 3


def test_the_first_row_is_held_until_its_time():
    follower = follow()
    follower.put(chunk([5, 6]), 0)
    assert value(follower, 0) == value(follower, STEP_NS) == 5


@ways
def test_past_its_end_a_chunk_says_its_last_row_and_that_nothing_remains(way):
    follower = follow(way)
    follower.put(chunk([5, 6], stamp_ns=100, collision=0.25), 100)
    step = follower.step(100 + 2 * STEP_NS + 3)
    assert (step.remaining_ns, step.values.tolist(), step.stamp_ns, step.collision) == (-3, [6], 100, 0.25)
    assert follower.step(100 + STEP_NS).remaining_ns == STEP_NS


@ways
def test_a_chunk_whose_rows_have_all_passed_says_its_last_row(way):
    follower = follow(way)
    follower.put(chunk([5, 6]), 9 * STEP_NS)
    assert value(follower, 9 * STEP_NS) == value(follower, 10 * STEP_NS) == 6


@ways
@given(arrivals=arrivals, asked=st.lists(moments, max_size=5))
def test_what_was_asked_before_changes_nothing(way, arrivals, asked):
    curious, quiet = follow(way), follow(way)
    for now_ns, _ in zip(play(curious, arrivals), play(quiet, arrivals), strict=True):
        for at_ns in asked:
            curious.step(now_ns + abs(at_ns))
    assert value(curious, now_ns + MS) == value(quiet, now_ns + MS)


@ways
@given(arrivals=arrivals, rows=plans, back_ns=st.integers(0, 10**9))
def test_an_older_chunk_never_wins(way, arrivals, rows, back_ns):
    follower, undisturbed = follow(way), follow(way)
    *_, now_ns = play(follower, arrivals)
    list(play(undisturbed, arrivals))
    stamp_ns = follower.step(now_ns).stamp_ns
    assert not follower.put(chunk(rows, stamp_ns - back_ns, seq=-1), now_ns)
    for tick in range(50):
        assert value(follower, now_ns + tick * 10 * MS) == value(undisturbed, now_ns + tick * 10 * MS)


# latest -------------------------------------------------------------------------------------------------


@given(arrivals=arrivals)
def test_latest_says_what_the_newest_chunk_says(arrivals):
    follower = follow("latest")
    for (rows, _, _), now_ns in zip(arrivals, play(follower, arrivals), strict=True):
        assert value(follower, now_ns) == told(rows, follower.step(now_ns).stamp_ns, now_ns)


def test_without_a_time_to_blend_a_join_takes_effect_at_once():
    follower = follow(blend_ns=0)
    follower.put(chunk([0, 0]), 0)
    follower.put(chunk([1, 1], stamp_ns=1, seq=2), 10)
    assert value(follower, 10) == 1


# blend --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["blend", "rtc"])
@given(arrivals=arrivals)
def test_many_joins_in_a_row_never_jump(way, arrivals):
    """A chunk that comes before the last blend is over joins to what was said, not to the old chunk."""
    follower, before = follow(way), follow(way)
    behind = play(before, arrivals[:-1])
    for (rows, _, _), now_ns in zip(arrivals, play(follower, arrivals), strict=True):
        old = before.step(now_ns)
        going_on = old is not None and old.remaining_ns > -BLEND_NS
        wanted = float(old.values[0]) if going_on else told(rows, follower.step(now_ns).stamp_ns, now_ns)
        assert value(follower, now_ns) == pytest.approx(wanted, abs=1e-5)
        next(behind, None)


@given(plans, plans, st.integers(1, 11 * STEP_NS), st.integers(0, 3 * STEP_NS))
def test_a_join_is_continuous_and_its_slope_is_bounded(old, new, stamp_ns, delay_ns):
    """Around the join and through the whole blend no change exceeds the slopes of the chunks and the fade."""
    join_ns = stamp_ns + delay_ns
    follower = follow()
    follower.put(chunk(old, kind=Kind.JOINT_POSITION), 0)
    last = value(follower, join_ns)
    follower.put(chunk(new, stamp_ns, 2, Kind.JOINT_POSITION), join_ns)
    if join_ns - len(old) * STEP_NS >= BLEND_NS:
        last = value(follower, join_ns)
    slope = max(np.abs(np.diff(plan)).max(initial=0) for plan in (old, new)) / STEP_NS
    slope += (max(old + new) - min(old + new)) / BLEND_NS
    for now_ns in range(join_ns, join_ns + 3 * STEP_NS, MS):
        now = value(follower, now_ns)
        assert abs(now - last) <= slope * MS + 1e-5
        last = now


def test_positions_fade_in_and_count_alone_from_the_first_row_after_the_blend():
    follower = follow(blend_ns=2 * STEP_NS)
    follower.put(chunk([0] * 8, kind=Kind.JOINT_POSITION), 0)
    follower.put(chunk([1] * 7, STEP_NS, 2, Kind.JOINT_POSITION), STEP_NS)
    said = [value(follower, STEP_NS + half * STEP_NS // 2) for half in range(7)]
    assert said == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 1])


RATES = pytest.mark.parametrize("kind", [Kind.TWIST, Kind.JOINT_VELOCITY, Kind.JOINT_DELTA])


@RATES
@given(new=st.floats(-2, 2, width=32), part=st.floats(-1, 1), taken_ms=st.integers(0, 600))
def test_speeds_lead_where_the_chunk_would_have_led_without_its_delay(kind, new, part, taken_ms):
    """What the robot does from the frame on adds up to what the chunk would have done from the frame on."""
    old = new + part * new
    follower, stamp_ns, now_ns = follow(blend_ns=STEP_NS), STEP_NS, STEP_NS + taken_ms * MS
    follower.put(chunk([old] * 100, kind=kind, step_ns=10 * MS), 0)
    done = sum(value(follower, at_ns) for at_ns in range(stamp_ns, now_ns, MS))
    follower.put(chunk([new] * 220, stamp_ns, 2, kind, step_ns=10 * MS), now_ns)
    end_ns = stamp_ns + 22 * STEP_NS
    done += sum(value(follower, at_ns) for at_ns in range(now_ns, end_ns, MS))
    assert done == pytest.approx(new * (end_ns - stamp_ns) / MS, abs=1 + 4 * abs(new - old))
    assert value(follower, now_ns + STEP_NS + (2 * taken_ms + 10) * MS) == pytest.approx(new, abs=1e-5)


@ways
@RATES
@given(arrivals=arrivals, side=st.sampled_from([-1, 1]), later_ms=st.integers(0, 500))
def test_the_robot_never_goes_a_way_that_no_chunk_says(way, kind, arrivals, side, later_ms):
    """Told to stop it stops, however late: it does not go back to where it would have stopped in time."""
    follower = follow(way)
    forth = [([side * abs(row) for row in rows], *times) for rows, *times in arrivals]
    for now_ns in play(follower, forth, kind):
        assert side * value(follower, now_ns + later_ms * MS) >= 0


@pytest.mark.parametrize("way", ["blend", "rtc"])
@given(arrivals=arrivals)
def test_catching_up_is_bounded_however_many_chunks_join(way, arrivals):
    follower = follow(way)
    most = 7 * max(abs(row) for rows, _, _ in arrivals for row in rows)
    for now_ns in play(follower, arrivals):
        for tick in range(100):
            assert abs(value(follower, now_ns + tick * 10 * MS)) <= most + 1e-4


def test_a_chunk_that_ended_long_ago_is_not_joined():
    follower = follow()
    follower.put(chunk([1, 1]), 0)
    follower.put(chunk([0, 0], stamp_ns=9 * STEP_NS, seq=2), 9 * STEP_NS)
    assert value(follower, 9 * STEP_NS) == 0


# ensemble -----------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(-2, 2, width=32), min_size=6, max_size=6), min_size=1, max_size=9))
def test_an_ensemble_is_the_average_of_the_chunks_that_tell_about_a_moment_the_oldest_weighing_most(plans):
    follower = follow("ensemble")
    for number, rows in enumerate(plans):
        follower.put(chunk(rows, number * STEP_NS, number), number * STEP_NS)
    last = len(plans) - 1
    for row in range(6):
        telling = [rows[last - number + row] for number, rows in enumerate(plans) if last - number + row < 6]
        weights = [math.exp(-DECAY * index) for index in range(len(telling))]
        wanted = np.average(telling, weights=weights)
        assert value(follower, (last + 1 + row) * STEP_NS) == pytest.approx(wanted, abs=1e-4)


@given(arrivals=arrivals)
def test_at_a_join_an_ensemble_moves_at_most_halfway_to_the_new_chunk(arrivals):
    follower, before = follow("ensemble"), follow("ensemble")
    behind = play(before, arrivals[:-1])
    for (rows, _, _), now_ns in zip(arrivals, play(follower, arrivals), strict=True):
        old = before.step(now_ns)
        if old is not None and old.remaining_ns > 0:
            difference = told(rows, follower.step(now_ns).stamp_ns, now_ns) - float(old.values[0])
            moved = value(follower, now_ns) - float(old.values[0])
            assert -1e-5 <= moved * math.copysign(1, difference) <= abs(difference) / 2 + 1e-5
        next(behind, None)


# the rest -----------------------------------------------------------------------------------------------


@ways
@given(stamp_ns=st.integers(-1_000, 0), seq=st.integers(0, 1))
def test_a_repeated_chunk_is_ignored(way, stamp_ns, seq):
    follower = follow(way)
    assert follower.put(chunk([1, 1], stamp_ns=0, seq=1), 0)
    assert not follower.put(chunk([9, 9], stamp_ns=stamp_ns, seq=seq), 5)
    assert value(follower, 10) == 1


def test_a_second_chunk_from_the_same_frame_is_followed():
    follower = follow("latest")
    follower.put(chunk([1, 1], seq=1), 0)
    assert follower.put(chunk([9, 9], seq=2), 5)
    assert value(follower, 10) == 9


@ways
@pytest.mark.parametrize("other", [{"names": ("other",)}, {"kind": Kind.JOINT_VELOCITY}])
def test_chunks_of_other_meaning_are_not_mixed(way, other):
    follower = follow(way)
    follower.put(chunk([1, 1]), 0)
    follower.put(chunk([5, 5], stamp_ns=1, seq=2, **other), 10)
    assert value(follower, 10) == 5


@ways
def test_after_clear_nothing_is_due_and_nothing_is_joined(way):
    follower = follow(way)
    follower.put(chunk([1, 1]), 0)
    follower.clear()
    assert follower.step(5) is None
    assert follower.ahead(5, STEP_NS, 3) is None
    follower.put(chunk([4, 4], stamp_ns=-5, seq=0), 5)
    assert value(follower, 5) == 4


@ways
def test_chunks_of_other_lengths_and_steps_are_merged(way):
    follower = follow(way, blend_ns=STEP_NS)
    follower.put(chunk([0, 0, 0], kind=Kind.JOINT_POSITION), 0)
    follower.put(chunk([1] * 20, 1, 2, Kind.JOINT_POSITION, step_ns=STEP_NS // 5), 10)
    assert value(follower, 5 * STEP_NS) == 1
    assert 0 <= value(follower, STEP_NS // 2) <= 1


# what will be done --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["latest", "ensemble", "blend"])
def test_nothing_is_promised_but_for_real_time_chunking(way):
    follower = follow(way)
    follower.put(chunk([1, 1]), 0)
    assert follower.ahead(0, STEP_NS, 2) is None


def test_nothing_is_promised_without_a_plan_or_beyond_its_end():
    follower = follow("rtc")
    assert follower.ahead(0, STEP_NS, 2) is None
    follower.put(chunk([1, 1, 1]), 0)
    assert len(follower.ahead(STEP_NS, STEP_NS, 5).rows) == 2
    assert follower.ahead(2 * STEP_NS + 1, STEP_NS, 5) is None


@given(arrivals=arrivals, old_ms=st.integers(0, 400), count=st.integers(1, 12), step_ms=st.integers(10, 200))
def test_what_is_promised_is_what_is_done(arrivals, old_ms, count, step_ms):
    """Also what was done before now, since the newest frame, by however many chunks join each other."""
    follower, said, end_ns = follow("rtc"), {}, 0
    moments = list(play(follow("rtc"), arrivals))
    for until_ns in play(follower, arrivals):
        now_ns = until_ns
        if until_ns - end_ns >= BLEND_NS:
            said.clear()
        end_ns = until_ns + follower.step(until_ns).remaining_ns
        later = [at_ns for at_ns in moments if at_ns > until_ns]
        ends_ns = later[0] if later else until_ns + 20 * STEP_NS
        said |= {at_ns: value(follower, at_ns) for at_ns in range(until_ns // MS * MS, ends_ns, 10 * MS)}
    stamp_ns = max(follower.step(now_ns).stamp_ns, (now_ns // MS - old_ms) // 10 * 10 * MS)
    stamp_ns = -(-stamp_ns // (10 * MS)) * 10 * MS
    prefix = follower.ahead(stamp_ns, step_ms // 10 * 10 * MS, count)
    for row, values in enumerate(prefix.rows if prefix else ()):
        at_ns = stamp_ns + (row + 1) * (step_ms // 10 * 10 * MS)
        assert at_ns not in said or values[0] == pytest.approx(said[at_ns], abs=1e-5)


def test_as_many_rows_are_committed_as_the_slowest_of_the_last_ten_chunks_used_up():
    follower = follow("rtc")
    taken = [0, 250, 40, 120, *[40] * 8]
    for number, taken_ms in enumerate(taken):
        stamp_ns = number * 10 * STEP_NS
        follower.put(chunk([0] * 20, stamp_ns, number), stamp_ns + taken_ms * MS)
        slowest_ms = max(taken[max(0, number - 9) : number + 1])
        prefix = follower.ahead(stamp_ns + STEP_NS, STEP_NS, 9)
        assert prefix.committed == math.ceil(slowest_ms / 100)
        assert follower.ahead(stamp_ns, STEP_NS, 1).committed == min(1, prefix.committed)


def test_how_long_chunks_took_is_remembered_over_a_clear():
    follower = follow("rtc")
    follower.put(chunk([0] * 9), 250 * MS)
    follower.clear()
    follower.put(chunk([0] * 9, STEP_NS), STEP_NS)
    assert follower.ahead(STEP_NS, STEP_NS, 9).committed == 3


def test_a_chunk_that_was_made_in_the_knowledge_of_what_is_done_meanwhile_has_nothing_to_catch_up():
    follower, frame_ns = follow("rtc"), STEP_NS
    follower.put(chunk([0] * 20), 0)
    follower.ahead(frame_ns, STEP_NS, 5)
    follower.put(chunk([1] * 19, frame_ns, 2), 4 * STEP_NS)
    assert max(value(follower, 4 * STEP_NS + tick * 10 * MS) for tick in range(90)) == 1
    follower.put(chunk([0.5] * 19, 5 * STEP_NS, 3), 8 * STEP_NS)
    assert min(value(follower, 8 * STEP_NS + tick * 10 * MS) for tick in range(90)) < 0.4


def test_nothing_is_loaded_while_chunks_are_followed():
    """It would be loaded by the loop, in a tick, while the robot moves."""
    program = """
import sys
import numpy as np
from vlad.messages import Chunk, Kind
from vlad.policy.follower import Follower
from vlad.policy_settings import PolicySettings
known = set(sys.modules)
for way in ("latest", "blend", "ensemble", "rtc"):
    follower = Follower(PolicySettings(follow=way))
    for seq in (1, 2, 3):
        rows = np.full((8, 2), seq, np.float32)
        stamp_ns = seq * 100_000_000
        chunk = Chunk(seq, stamp_ns, stamp_ns, 50_000_000, Kind.TWIST, ("x", "y"), rows, "", 0)
        assert follower.put(chunk, stamp_ns + 20_000_000)
        assert follower.step(stamp_ns + 30_000_000) is not None
        follower.ahead(stamp_ns + 40_000_000, 50_000_000, 8)
print(sorted(set(sys.modules) - known))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
