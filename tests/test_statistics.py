"""Percentiles of the newest values."""

from math import isnan

from vlad.statistics import Window


def test_of_nothing_there_are_none():
    assert Window(4).percentiles(50, 99) == [None, None]


def test_they_are_those_of_what_was_added():
    window = Window(200)
    for value in range(101):
        window.add(value)
    assert window.percentiles(0, 50, 99, 100) == [0, 50, 99, 100]


def test_the_part_above_a_limit_is_that_of_the_newest():
    window = Window(4)
    assert isnan(window.above(1))
    for value in (9, 1, 2, 3, 4):
        window.add(value)
    assert window.above(2) == 0.5
    assert window.above(4) == 0.0


def test_only_the_newest_values_count():
    window = Window(3)
    for value in (1000, 1000, 1, 2, 3):
        window.add(value)
    assert window.percentiles(0, 50, 100) == [1, 2, 3]
    assert window.count == 5
