"""What is given back when memory is short: the steps themselves, pure."""

from math import nan

from hypothesis import given
from hypothesis import strategies as st

from vlad.clock import NS_PER_S
from vlad.policy.pressure import FALL_S, GAP, RISE_S, Relief, Step, relief

ALL = (Step.CACHES, Step.RESOLUTION, Step.FALLBACK)
START = 0.9


def judge(readings, possible=ALL, returns=0.0, state=None, first_s=0):
    """A reading each second; the state at the end, and (second, steps) for each change."""
    state, changes = state or Relief(), []
    for second, used in enumerate(readings, first_s):
        before = state.steps
        state = relief(state, used, START, possible, returns, second * NS_PER_S)
        if state.steps != before:
            changes.append((second, state.steps))
    return state, changes


def test_the_steps_are_taken_one_by_one_while_memory_stays_short():
    _, changes = judge([0.95] * 20)
    assert [steps for _, steps in changes] == [ALL[:1], ALL[:2], ALL]
    times_s = [second for second, _ in changes]
    assert times_s == [2, 5, 8]


def test_a_step_that_would_give_nothing_back_is_left_out():
    assert judge([0.95] * 20, possible=(Step.CACHES, Step.FALLBACK))[0].steps == (Step.CACHES, Step.FALLBACK)
    assert judge([0.95] * 20, possible=())[0].steps == ()


def test_what_became_possible_later_is_not_taken_out_of_order():
    state, _ = judge([0.95] * 20, possible=(Step.CACHES, Step.FALLBACK))
    assert judge([0.95] * 20, state=state, first_s=20)[0].steps == (Step.CACHES, Step.FALLBACK)


def test_they_are_taken_back_one_by_one_the_last_first():
    state, _ = judge([0.95] * 20)
    _, changes = judge([0.5] * 200, state=state, first_s=20)
    assert [steps for _, steps in changes] == [ALL[:2], ALL[:1], ()]
    assert changes[0][0] - 20 >= FALL_S


def test_a_step_is_kept_while_what_it_gave_back_would_not_fit_in_again():
    state, _ = judge([0.95] * 20)
    assert judge([0.6] * 500, returns=0.3, state=state, first_s=20)[1] == []
    assert judge([0.5] * 500, returns=0.3, state=state, first_s=20)[0].steps == ()


def test_what_is_not_measured_changes_nothing():
    state, _ = judge([0.95] * 20)
    assert judge([nan] * 500, state=state, first_s=20)[1] == []
    assert judge([0.95, 0.95, nan] * 50)[1] == []


def test_a_step_that_is_needed_again_soon_is_taken_back_after_longer_and_longer():
    state, waits, second = Relief(), [], 0
    for _ in range(4):
        state, _ = judge([0.95] * 4, (Step.CACHES,), state=state, first_s=second)
        second += 4
        state, changes = judge([0.5] * 600, (Step.CACHES,), state=state, first_s=second)
        (freed_s, _), *_ = changes
        waits.append(freed_s - second)
        state, second = relief(state, nan, START, ALL, 0.0, freed_s * NS_PER_S), freed_s + 1
    assert waits == [30, 60, 120, 240]


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 60)), max_size=30), st.floats(0, 0.5))
def test_it_never_flaps_and_never_leaves_its_order(phases, returns):
    state, second, last_s = Relief(), 0, None
    for used, seconds in phases:
        state, changes = judge([used] * seconds, ALL, returns, state, second)
        second += seconds
        for at_s, steps in changes:
            assert steps == ALL[: len(steps)]
            assert last_s is None or at_s - last_s >= RISE_S
            last_s = at_s
        if changes:
            assert used >= START or used + returns < START - GAP
