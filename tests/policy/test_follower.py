import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlad.messages import Chunk, Kind
from vlad.policy.follower import Follower

MS = 1_000_000
STEP_NS = 100 * MS
BLEND_NS = 80 * MS


def chunk(rows, stamp_ns=0, seq=1, kind=Kind.TWIST, names=None, collision=None, step_ns=STEP_NS):
    actions = np.array(rows, np.float32).reshape(len(rows), -1)
    names = names or tuple(f"axis{index}" for index in range(actions.shape[1]))
    return Chunk(seq, stamp_ns, stamp_ns, step_ns, kind, names, actions, "", 0, collision)


def value(follower, now_ns):
    return float(follower.step(now_ns).values[0])


plans = st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=12)
moments = st.integers(-3 * STEP_NS, 15 * STEP_NS)


def test_nothing_is_due_without_a_chunk():
    assert Follower(BLEND_NS).step(0) is None


@given(plans)
def test_a_row_is_reached_exactly_when_it_is_meant(rows):
    follower = Follower(BLEND_NS)
    follower.put(chunk(rows, stamp_ns=7), 7)
    for index, row in enumerate(rows):
        assert value(follower, 7 + (index + 1) * STEP_NS) == np.float32(row)


def test_between_rows_it_is_linear():
    follower = Follower(BLEND_NS)
    follower.put(chunk([[0, 10], [1, 30]]), 0)
    np.testing.assert_allclose(follower.step(STEP_NS + STEP_NS // 4).values, [0.25, 15])


@given(plans, moments)
def test_it_never_extrapolates(rows, now_ns):
    follower = Follower(BLEND_NS)
    follower.put(chunk(rows), 0)
    assert min(rows) - 1e-6 <= value(follower, now_ns) <= max(rows) + 1e-6


def test_rows_that_passed_during_inference_are_skipped():
    follower = Follower(BLEND_NS)
    follower.put(chunk([1, 2, 3, 4]), 3 * STEP_NS)
    assert value(follower, 3 * STEP_NS) == 3


def test_the_first_row_is_held_until_its_time():
    follower = Follower(BLEND_NS)
    follower.put(chunk([5, 6]), 0)
    assert value(follower, 0) == value(follower, STEP_NS) == 5


def test_past_its_end_a_chunk_says_its_last_row_and_that_nothing_remains():
    follower = Follower(BLEND_NS)
    follower.put(chunk([5, 6], stamp_ns=100, collision=0.25), 100)
    step = follower.step(100 + 2 * STEP_NS + 3)
    assert (step.remaining_ns, step.values.tolist(), step.stamp_ns, step.collision) == (-3, [6], 100, 0.25)
    assert follower.step(100 + STEP_NS).remaining_ns == STEP_NS


def test_asking_twice_gives_the_same():
    follower = Follower(BLEND_NS)
    follower.put(chunk([1, 2]), 0)
    follower.put(chunk([3, 4], stamp_ns=MS, seq=2), 50 * MS)
    assert value(follower, 60 * MS) == value(follower, 60 * MS)


@given(plans, plans, st.integers(1, 11 * STEP_NS), st.integers(0, 3 * STEP_NS))
def test_a_join_is_continuous_and_its_slope_is_bounded(old, new, stamp_ns, delay_ns):
    """Around the join and through the whole blend no change exceeds the slopes of the chunk and the fade."""
    join_ns = stamp_ns + delay_ns
    follower = Follower(BLEND_NS)
    follower.put(chunk(old), 0)
    before = value(follower, join_ns)
    follower.put(chunk(new, stamp_ns=stamp_ns, seq=2), join_ns)
    fresh = Follower(0)
    fresh.put(chunk(new, stamp_ns=stamp_ns), join_ns)
    ended = join_ns - len(old) * STEP_NS >= BLEND_NS
    difference = 0 if ended else before - value(fresh, join_ns)
    last = value(follower, join_ns)
    assert last == pytest.approx(value(fresh, join_ns) if ended else before, abs=1e-5)
    tick_ns = MS
    slope = np.abs(np.diff(new)).max(initial=0) / STEP_NS + abs(difference) / BLEND_NS
    for now_ns in range(join_ns + tick_ns, join_ns + 2 * BLEND_NS, tick_ns):
        now = value(follower, now_ns)
        assert abs(now - last) <= slope * tick_ns + 1e-5
        last = now
    assert last == value(fresh, join_ns + 2 * BLEND_NS - tick_ns)


@given(st.lists(plans, min_size=2, max_size=6), st.integers(1, 60))
def test_many_joins_in_a_row_never_jump(rows, gap_ms):
    """A chunk that comes before the last blend is over joins to what was said, not to the old chunk."""
    follower = Follower(BLEND_NS)
    now_ns = 0
    follower.put(chunk(rows[0]), now_ns)
    for seq, plan in enumerate(rows[1:], start=2):
        now_ns += gap_ms * MS
        before = value(follower, now_ns)
        follower.put(chunk(plan, stamp_ns=now_ns - 1, seq=seq), now_ns)
        assert value(follower, now_ns) == pytest.approx(before, abs=1e-5)


def test_after_the_blend_only_the_new_chunk_counts():
    follower = Follower(BLEND_NS)
    follower.put(chunk([0, 0, 0, 0]), 0)
    follower.put(chunk([1, 1, 1], stamp_ns=STEP_NS, seq=2), STEP_NS)
    assert value(follower, STEP_NS + BLEND_NS // 2) == pytest.approx(0.5)
    assert value(follower, STEP_NS + BLEND_NS) == 1


def test_without_a_blend_a_join_takes_effect_at_once():
    follower = Follower(0)
    follower.put(chunk([0, 0]), 0)
    follower.put(chunk([1, 1], stamp_ns=1, seq=2), 10)
    assert value(follower, 10) == 1


def test_a_chunk_that_ended_long_ago_is_not_joined():
    follower = Follower(BLEND_NS)
    follower.put(chunk([1, 1]), 0)
    follower.put(chunk([0, 0], stamp_ns=9 * STEP_NS, seq=2), 9 * STEP_NS)
    assert value(follower, 9 * STEP_NS) == 0


@given(st.integers(-1_000, 0), st.integers(0, 1))
def test_an_older_or_repeated_chunk_is_ignored(stamp_ns, seq):
    follower = Follower(BLEND_NS)
    assert follower.put(chunk([1, 1], stamp_ns=0, seq=1), 0)
    assert not follower.put(chunk([9, 9], stamp_ns=stamp_ns, seq=seq), 5)
    assert value(follower, 10) == 1


def test_a_second_chunk_from_the_same_frame_is_followed():
    follower = Follower(0)
    follower.put(chunk([1, 1], seq=1), 0)
    assert follower.put(chunk([9, 9], seq=2), 5)
    assert value(follower, 10) == 9


@pytest.mark.parametrize("other", [{"names": ("other",)}, {"kind": Kind.JOINT_VELOCITY}])
def test_chunks_of_other_meaning_are_not_mixed(other):
    follower = Follower(BLEND_NS)
    follower.put(chunk([1, 1]), 0)
    follower.put(chunk([5, 5], stamp_ns=1, seq=2, **other), 10)
    assert value(follower, 10) == 5


def test_after_clear_nothing_is_due_and_nothing_is_joined():
    follower = Follower(BLEND_NS)
    follower.put(chunk([1, 1]), 0)
    follower.clear()
    assert follower.step(5) is None
    follower.put(chunk([4, 4], stamp_ns=-5, seq=0), 5)
    assert value(follower, 5) == 4


def test_a_negative_blend_is_an_error():
    with pytest.raises(ValueError, match="must not be negative"):
        Follower(-1)
