"""Alerts: raised once, ended once, and never for a moment."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vlad.clock import NS_PER_S as S
from vlad.health.alerts import Alerts
from vlad.health.judge import Judge
from vlad.health.reading import Reading
from vlad.messages import Level

SCALE = (0.70, 0.85, 0.95)


class Watched:
    """A computer whose memory is read once a second."""

    def __init__(self, raise_s=10.0, clear_s=10.0):
        self.alerts = Alerts(raise_s, clear_s)
        self.judge = Judge()
        self.second = 0

    def read(self, *values):
        """What is told of these readings."""
        told = []
        for value in values:
            components = {} if value is None else {
                "memory": (Reading("used", value, f"{value:.0%} used", SCALE, "close something"),)
            }  # fmt: skip
            changes = self.alerts.update(self.judge.judge(self.second * S, components))
            told += [
                (self.second, "over" if change.over else "begins", change.alert.level.name)
                for change in changes
            ]
            self.second += 1
        return told


def test_an_alert_begins_after_its_time_and_ends_after_its_time():
    memory = Watched()
    assert memory.read(*[0.5] * 5, *[0.75] * 30, *[0.5] * 30) == [
        (15, "begins", "CAUTION"), (45, "over", "CAUTION"),
    ]  # fmt: skip


def test_an_alert_says_what_and_what_to_do_and_how_long_it_lasted():
    memory = Watched(raise_s=0, clear_s=0)
    report = lambda value: memory.judge.judge(  # noqa: E731
        memory.second * S,
        {"memory": (Reading("used", value, f"{value:.0%} used", SCALE, "close something"),)},
    )
    (begin,) = memory.alerts.update(report(0.9))
    assert memory.alerts.active == (begin.alert,)
    assert (begin.alert.component, begin.alert.text, begin.alert.action) == (
        "memory", "90% used", "close something",
    )  # fmt: skip
    memory.second = 7
    (end,) = memory.alerts.update(report(0.1))
    assert (end.alert.id, end.over, end.lasted_s, end.now) == (begin.alert.id, True, 7.0, Level.SAFE)
    assert memory.alerts.active == ()


def test_a_peak_is_no_alert():
    assert Watched().read(*([0.5] * 5 + [0.99] * 9) * 5) == []


def test_an_alert_holds_while_the_reading_is_but_a_little_better():
    memory = Watched()
    memory.read(*[0.75] * 20)
    assert memory.read(*[0.68] * 100) == []
    assert memory.read(*[0.66] * 20) == [(130, "over", "CAUTION")]


def test_what_swings_around_a_threshold_is_told_once():
    assert len(Watched().read(*[0.72] * 11, *[0.69, 0.71] * 300)) == 1


def test_a_dip_that_is_shorter_than_its_time_ends_nothing():
    memory = Watched()
    memory.read(*[0.75] * 20)
    assert memory.read(*([0.1] * 9 + [0.75]) * 5) == []


def test_another_level_ends_the_alert_and_begins_another():
    memory = Watched()
    assert memory.read(*[0.75] * 20, *[0.99] * 20, *[0.75] * 20) == [
        (10, "begins", "CAUTION"),
        (30, "over", "CAUTION"), (30, "begins", "DANGER"),
        (50, "over", "DANGER"), (50, "begins", "CAUTION"),
    ]  # fmt: skip


def test_what_jumps_to_the_top_is_one_alert_not_three():
    assert Watched().read(*[0.99] * 30) == [(10, "begins", "DANGER")]


def test_what_is_not_known_begins_and_ends_nothing():
    memory = Watched()
    nan = float("nan")
    assert memory.read(*[0.99] * 8, *[nan] * 20, *[0.99] * 9) == []
    memory.read(*[0.99] * 5)
    assert memory.read(*[nan] * 100) == []
    assert memory.alerts.active


def test_what_is_gone_is_over():
    memory = Watched()
    memory.read(*[0.99] * 20)
    assert memory.read(*[None] * 20) == [(30, "over", "DANGER")]


def test_the_worst_alert_comes_first():
    alerts, judge = Alerts(0, 0), Judge()
    parts = {
        name: (Reading("used", value, "", SCALE),) for name, value in (("a", 0.7), ("b", 0.99), ("c", 0.9))
    }
    alerts.update(judge.judge(0, parts))
    assert [alert.component for alert in alerts.active] == ["b", "c", "a"]


@given(st.lists(st.sampled_from([0.1, 0.69, 0.72, 0.84, 0.88, 0.94, 0.99, float("nan"), None]), max_size=200),
       st.integers(0, 5), st.integers(0, 5))  # fmt: skip
def test_each_alert_begins_once_and_ends_before_the_next(values, raise_s, clear_s):
    told = Watched(raise_s, clear_s).read(*values)
    assert [what for _, what, _ in told] == (["begins", "over"] * len(told))[: len(told)]
    for (_, what, level), (_, _, following) in pairwise(told):
        if what == "begins":
            assert following == level
