"""Filters: what must hold for any answers."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence.distill.filter import Outcome, refuse_empty, summary
from influence.errors import InputError
from influence.filters import (
    agreement,
    as_given,
    consistency_prompt,
    majority,
    needs_pick,
    orders,
    read_pick,
    reordered,
    stated,
)

ANSWERS = st.lists(st.none() | st.sampled_from("abcd"), max_size=12)
SHARES = st.floats(0, 1)
RESPONSES = st.lists(st.sampled_from(["", " ", "yes", "no", "Response 3 is right", "a\nb"]), max_size=9)


@given(ANSWERS, SHARES, st.integers())
def test_majority_does_not_depend_on_the_order(answers: list[str | None], share: float, seed: int) -> None:
    other = answers.copy()
    random.Random(seed).shuffle(other)
    assert majority(answers, share) == majority(other, share)


@given(ANSWERS, st.permutations("abcd"))
def test_majority_does_not_depend_on_names(answers: list[str | None], names: list[str]) -> None:
    renamed = dict(zip("abcd", names, strict=True))
    vote = majority([None if answer is None else renamed[answer] for answer in answers])
    before = majority(answers)
    assert vote.winner == (None if before.winner is None else renamed[before.winner])
    assert (vote.reason, vote.abstentions) == (before.reason, before.abstentions)


@given(ANSWERS)
def test_majority_is_what_counting_says(answers: list[str | None]) -> None:
    vote = majority(answers)
    counts = Counter(answer for answer in answers if answer is not None)
    most = [answer for answer, count in counts.items() if count == max(counts.values())]
    assert vote.winner == (most[0] if len(most) == 1 else None)
    assert vote.reason == ("majority" if len(most) == 1 else "tie" if most else "no answer")
    assert vote.counts == counts
    assert vote.abstentions + sum(counts.values()) == len(answers)


@given(ANSWERS, SHARES)
def test_one_more_vote_for_the_winner_keeps_it(answers: list[str | None], share: float) -> None:
    vote = majority(answers, share)
    if vote.winner is not None:
        assert majority([*answers, vote.winner], share).winner == vote.winner
        assert vote.counts[vote.winner] / len(answers) >= share


@given(ANSWERS, st.integers(1, 5))
def test_samples_that_abstain_only_lower_the_share(answers: list[str | None], more: int) -> None:
    before, after = majority(answers), majority([*answers, *[None] * more])
    assert (before.winner, before.counts) == (after.winner, after.counts)
    assert after.abstentions == before.abstentions + more


def test_the_share_counts_all_samples() -> None:
    assert majority(["a"] * 3 + [None] * 27, 0.1).winner == "a"
    assert majority(["a"] * 3 + [None] * 28, 0.1).reason == "below share"
    assert majority(["a", "a", "b", None], 0.5).winner == "a"
    with pytest.raises(InputError, match="between 0 and 1"):
        majority(["a"], 1.5)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_orders_are_different_permutations(count: int, how_many: int, seed: int) -> None:
    if how_many > math.factorial(count):
        with pytest.raises(InputError, match="orders of"):
            orders(count, how_many, seed)
        return
    drawn = orders(count, how_many, seed)
    assert drawn[0] == tuple(range(count))
    assert len(set(drawn)) == how_many
    assert drawn == orders(count, how_many, seed)
    things = [f"option {n}" for n in range(count)]
    for order in drawn:
        shown = reordered(things, order)
        assert sorted(shown) == things
        assert [things[as_given(place, order)] for place in range(count)] == shown


@given(ANSWERS)
def test_agreement_is_symmetric_and_strict(answers: list[str | None]) -> None:
    agreed = agreement(answers)
    assert agreed == agreement(answers[::-1])
    if agreed.answer is not None:
        assert answers == [agreed.answer] * len(answers)
    assert (agreed.reason == "disagreement") == (len(set(answers) - {None}) > 1)
    assert agreed.abstentions == answers.count(None)


def test_a_swap_that_follows_the_order_disagrees() -> None:
    """A judge that always prefers the first response says A both times: A, and B in terms of the order as given."""
    given_order, swapped = orders(2, 2)
    assert [as_given(0, given_order), as_given(0, swapped)] == [0, 1]
    assert agreement(["0", "1"]).reason == "disagreement"


@given(RESPONSES, st.integers(-2, 12))
def test_a_pick_is_a_response_that_was_shown(responses: list[str], number: int) -> None:
    pick = read_pick(f"Response {number}", responses)
    shown = stated(responses)
    if not shown:
        assert (pick.place, pick.reason) == (None, "no answer")
    elif not needs_pick(responses):
        assert pick.reason == "unanimous"
        assert {responses[place].strip() for place in shown} == {responses[pick.place or 0].strip()}
    elif 1 <= number <= len(shown):
        assert (pick.place, pick.reason) == (shown[number - 1], "picked")
        assert f"Response {number}:\n{responses[shown[number - 1]].strip()}" in consistency_prompt(
            "q", responses
        )
    elif number == 0 or number > len(shown):
        assert (pick.place, pick.reason) == (None, "bad pick")


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("Response 2", 2),
        ("The most consistent one is response #2.", 2),
        ("**Response 2**", 2),
        ("Response: 2", 2),
        ("2", 2),
        ("[2].", 2),
        ("Response 2. As in Response 2, most say so.", 2),
        ("Response 1 or Response 2", None),
        ("Response 9", None),
        ("response two", None),
        ("Most responses (3 of 4) agree.", None),
        ("", None),
        ("2 of them", None),
    ],
)
def test_picks_in_messy_text(reply: str, place: int | None) -> None:
    responses = ["a", "", "b", "a"]
    pick = read_pick(reply, responses)
    assert (pick.place, pick.reason) == ((place, "picked") if place else (None, "bad pick"))


def test_nothing_is_lost_in_the_sums() -> None:
    outcomes = [
        Outcome("1", "a", "majority", 8, 1, True),
        Outcome("2", "b", "majority", 8, 0, False),
        Outcome("3", "b", "majority", 8, 0),
        Outcome("4", None, "tie", 8, 2),
        Outcome("5", None, "no answer", 8, 8),
    ]
    sums = summary(outcomes)
    assert (sums.items, sums.kept, sums.dropped, sums.ties) == (5, 3, 2, 1)
    assert (sums.samples, sums.abstentions) == (40, 11)
    assert (sums.known, sums.target_accuracy) == (2, 0.5)
    assert sums.reasons == {"majority": 3, "no answer": 1, "tie": 1}
    assert sums.line() == "3 of 5 kept, 2 dropped (1 no answer, 1 tie); target accuracy 50.0%"
    refuse_empty(outcomes)


@pytest.mark.parametrize(
    ("outcomes", "error"),
    [
        ([], "no items"),
        ([Outcome("1", None, "tie", 8), Outcome("2", None, "tie", 8)], "odd number"),
        ([Outcome("1", None, "tie", 8, 6), Outcome("2", None, "tie", 8, 6)], "Read some replies"),
        ([Outcome("1", None, "below share", 8)], "Lower the minimum share"),
        ([Outcome("1", None, "disagreement", 2)], "order of the options"),
        ([Outcome("1", None, "bad pick", 20)], "does not name a response"),
    ],
)
def test_an_empty_result_is_an_error_that_says_what_to_do(outcomes: list[Outcome], error: str) -> None:
    with pytest.raises(InputError, match=error):
        refuse_empty(outcomes)


@pytest.mark.parametrize(
    "template", ["$question", "$responses", "$question $responses $", "$question $responses $x"]
)
def test_a_prompt_that_cannot_ask(template: str) -> None:
    from string import Template

    with pytest.raises(InputError):
        consistency_prompt("q", ["a", "b"], Template(template))
    with pytest.raises(InputError, match="no two"):
        consistency_prompt("q", ["a", ""])
