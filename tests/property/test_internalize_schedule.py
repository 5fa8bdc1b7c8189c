"""Schedules: every token is removed once and in order, and draws follow their law."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence.errors import InputError
from influence.train.stepwise.schedule import (
    Linear,
    Place,
    Recovery,
    Schedule,
    check_pace,
    draw_removed,
    every_level,
    geometric_levels,
    smoothing_law,
    up_to,
)


def _run(schedule: Schedule, accuracies: list[float] | None = None) -> list[int]:
    """The removed amount of every step of a run."""
    place, step, removed = Place(), 0, []
    while not schedule.finished(place, step):
        removed.append(schedule.removed(place))
        step += 1
        accuracy = accuracies[step % len(accuracies)] if accuracies else None
        place = schedule.advance(place, step, accuracy)
        assert step <= schedule.most_steps
    return removed


@given(st.integers(1, 30), st.integers(1, 50), st.data(), st.integers(0, 20), st.integers(1, 20))
def test_the_linear_schedule_is_the_floor_of_its_line(
    total: int, steps: int, data: st.DataObject, explicit: int, after: int
) -> None:
    delta = data.draw(st.one_of(st.integers(1, steps), st.sampled_from([0.5, 0.1, 0.3])))
    schedule = Schedule(every_level(total), total, Linear(delta, steps), explicit, after)
    removed = _run(schedule)
    line = [
        min(total, max(0, int(Fraction(str(delta)) * (t - explicit) / steps))) for t in range(len(removed))
    ]
    assert removed == line
    assert sorted(set(removed)) == list(range(total + 1))  # each token goes once, none is jumped over
    assert len(removed) == schedule.most_steps
    assert removed.count(total) == after


@given(
    st.integers(1, 20),
    st.lists(st.floats(0, 1), min_size=1, max_size=9),
    st.integers(1, 4),
    st.integers(1, 9),
)
def test_recovery_hits_every_level_once_and_never_stays_longer_than_its_cap(
    total: int, accuracies: list[float], patience: int, cap: int
) -> None:
    removed = _run(Schedule(every_level(total), total, Recovery(0.5, patience, cap), after=3), accuracies)
    assert removed == sorted(removed)
    assert sorted(set(removed)) == list(range(total + 1))
    assert all(removed.count(level) <= cap for level in range(total))


def test_recovery_waits_for_its_patience_in_a_row() -> None:
    schedule = Schedule((0, 1), 1, Recovery(0.9, patience=2, cap=100), explicit=2, after=50)
    place = Place()
    for step, accuracy in [(1, 1.0), (2, 1.0), (3, 0.95), (4, None), (5, 0.5), (6, 0.9), (7, None)]:
        place = schedule.advance(place, step, accuracy)
        assert place.level == 0  # explicit, once, nothing measured, not again, once, nothing measured
    place = schedule.advance(place, 8, 0.92)
    assert place == Place(1, 8)
    assert not schedule.finished(place, 9)
    for step in (10, 11):
        place = schedule.advance(place, step, 1.0)
    assert schedule.finished(place, 11)


def test_a_cap_is_remembered() -> None:
    schedule = Schedule((0, 1, 2), 2, Recovery(0.9, patience=1, cap=3))
    place = schedule.advance(Place(), 3, 0.1)
    assert place == Place(1, 3, capped=True)
    assert schedule.advance(place, 4, 0.95) == Place(2, 4)


@given(st.integers(0, 500), st.sampled_from([1.0, 1.5, 2.0, 3.0]))
def test_geometric_levels_rise_to_everything(last: int, ratio: float) -> None:
    levels = geometric_levels(last, ratio)
    assert levels[0] == 0
    assert levels[-1] == last
    assert all(b > a for a, b in pairwise(levels))
    chunks = np.diff(levels)[:-1]
    assert all(np.diff(chunks) >= 0)


def test_geometric_chunks_double() -> None:
    assert geometric_levels(10) == (0, 1, 3, 7, 10)


def test_everything_goes_beyond_the_threshold() -> None:
    schedule = Schedule(up_to(every_level(100), 3), 100, Linear(1, 10), after=2)
    assert _run(schedule) == [0] * 10 + [1] * 10 + [2] * 10 + [100] * 2
    assert up_to(every_level(5), 9) == every_level(5)


@pytest.mark.parametrize(("levels", "removed"), [((0,), 0), ((24,), 24)])
def test_baselines_are_schedules_of_one_level(levels: tuple[int, ...], removed: int) -> None:
    assert _run(Schedule(levels, 24, Linear(1, 5), after=7)) == [removed] * 7


@given(st.floats(0, 8), st.integers(0, 60))
def test_the_smoothing_law_is_renormalised_not_lumped(smoothing: float, most: int) -> None:
    law = smoothing_law(smoothing, most)
    assert law.sum() == pytest.approx(1)
    assert np.allclose(law[1:], law[:-1] * np.exp(-smoothing))  # the same ratio down to the very last


@pytest.mark.parametrize(("smoothing", "total"), [(4.0, 30), (0.7, 6), (0.1, 5)])
def test_draws_follow_the_law(smoothing: float, total: int) -> None:
    count, scheduled = 200_000, 2
    drawn = draw_removed(np.random.default_rng(0), count, scheduled, total, smoothing=smoothing)
    law = smoothing_law(smoothing, total - scheduled)
    seen = np.bincount(drawn - scheduled, minlength=len(law)) / count
    assert len(seen) == len(law)
    assert np.all(np.abs(seen - law) <= 5 * np.sqrt(law * (1 - law) / count) + 1e-12)


def test_the_paper_s_smoothing_leaves_98_of_100_alone() -> None:
    assert smoothing_law(4.0, 50)[0] == pytest.approx(0.98, abs=0.002)


def test_draws_without_smoothing_and_with_a_random_cut() -> None:
    rng = np.random.default_rng(0)
    assert draw_removed(rng, 5, 3, 9, smoothing=None).tolist() == [3] * 5
    assert draw_removed(rng, 5, 9, 9, smoothing=4.0).tolist() == [9] * 5
    cut = draw_removed(rng, 40_000, 3, 9, smoothing=4.0, random_cut=True)
    assert np.allclose(np.bincount(cut) / 40_000, 0.25, atol=0.02)
    assert draw_removed(rng, 5, 9, 9, smoothing=None, random_cut=True).tolist() == [9] * 5


@pytest.mark.parametrize("delta", [0, -1, 26])
def test_a_pace_that_jumps_over_tokens_is_refused(delta: float) -> None:
    with pytest.raises(InputError, match="at most the optimizer steps of an epoch"):
        check_pace(Linear(delta, 25))
