"""Chains re-compute to their answers, orders hold each problem once, and lines come back as they were written."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from influence.data.tasks.folder import from_line
from influence.data.tasks.makers.multiplication import (
    STEP_PATTERNS,
    Chain,
    Multiplication,
    multiplication_lines,
)
from influence.data.tasks.makers.parity import Parity
from influence.data.tasks.makers.problems import ProblemOrder
from influence.data.tasks.makers.reachability import Reachability
from influence.data.tasks.task import Example, steps

few = settings(max_examples=40, deadline=None)
digits_of_operands = st.integers(1, 19)


def operands(digits: int) -> st.SearchStrategy[int]:
    return st.integers(10 ** (digits - 1), 10**digits - 1)


problems = digits_of_operands.flatmap(
    lambda digits: st.tuples(
        st.just(digits), st.lists(st.tuples(operands(digits), operands(digits)), min_size=1, max_size=5)
    )
)


def reversed_digits(number: int, width: int) -> str:
    """The digits, least significant first, padded with zeros: must fit."""
    text = str(number).zfill(width)
    assert len(text) == width
    return " ".join(reversed(text))


def rows_line(a: int, b: int, digits: int) -> str:
    """A line of the rows chain, from whole numbers."""
    partial = [a * int(digit) * 10**i for i, digit in enumerate(reversed(str(b)))]
    chain = reversed_digits(partial[0], digits + 1)
    for i in range(1, digits):
        chain += " + " + reversed_digits(partial[i], digits + 1 + i)
        if i < digits - 1:
            chain += " ( " + reversed_digits(sum(partial[: i + 1]), digits + 1 + i) + " )"
    problem = f"{reversed_digits(a, digits)} * {reversed_digits(b, digits)}"
    return f"{problem}||{chain} #### {reversed_digits(a * b, 2 * digits)}"


def number(text: str) -> int:
    return int("".join(reversed(text.split())))


def made(a_and_b: list[tuple[int, int]], digits: int, chain: Chain) -> list[str]:
    a, b = (np.array(column, np.uint64) for column in zip(*a_and_b, strict=True))
    text = multiplication_lines(a, b, digits, chain).decode()
    assert text.endswith("\n")
    return text[:-1].split("\n")


@given(problems)
@few
def test_rows_lines_are_those_of_whole_numbers(problem: tuple[int, list[tuple[int, int]]]) -> None:
    digits, pairs = problem
    assert made(pairs, digits, "rows") == [rows_line(a, b, digits) for a, b in pairs]


@given(problems)
@few
def test_each_level_of_a_tree_sums_to_the_product(problem: tuple[int, list[tuple[int, int]]]) -> None:
    digits, pairs = problem
    for line, (a, b) in zip(made(pairs, digits, "tree"), pairs, strict=True):
        example = from_line(line, "line-0", "line")
        levels = [
            [number(part) for part in level.split("+")]
            for level in re.split(r"[()]", example.chain)
            if level.strip()
        ]
        assert levels[0] == [a * int(digit) * 10**i for i, digit in enumerate(reversed(str(b)))]
        for lower, upper in itertools.pairwise(levels):
            assert upper == [sum(lower[at : at + 2]) for at in range(0, len(lower), 2)]
        assert len(levels[-1]) <= 2
        assert sum(levels[-1]) == number(example.answer) == a * b
        widths = {
            len(part.split()) for level in re.split(r"[()]", example.chain) for part in level.split("+")
        } - {0}
        assert widths <= set(range(digits + 1, 2 * digits + 1))


@given(problems, st.sampled_from(["rows", "tree"]))
@few
def test_steps_cover_a_chain(problem: tuple[int, list[tuple[int, int]]], chain: Chain) -> None:
    digits, pairs = problem
    text = from_line(made(pairs[:1], digits, chain)[0], "line-0", "line").chain
    spans = steps(text, STEP_PATTERNS[chain])
    assert "".join(text[start:end] for start, end in spans).replace(" ", "") == text.replace(" ", "")
    assert all(text[start:end] == text[start:end].strip() for start, end in spans)
    if chain == "rows":
        assert len(spans) == digits
        assert all(("+" in text[start:end]) == (at > 0) for at, (start, end) in enumerate(spans))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(), st.data())
@few
def test_an_order_holds_every_pair_once_and_knows_its_place(
    lefts: int, rights: int, seed: int, data: st.DataObject
) -> None:
    order = ProblemOrder(lefts, rights, seed)
    cut = data.draw(st.integers(0, order.size))
    left, right = (
        np.concatenate(halves)
        for halves in zip(order.pairs(0, cut), order.pairs(cut, order.size + 9), strict=True)
    )
    assert sorted(zip(left.tolist(), right.tolist(), strict=True)) == [
        (a, b) for a in range(lefts) for b in range(rights)
    ]
    bound = data.draw(st.integers(0, order.size))
    np.testing.assert_array_equal(order.stand_before(left, right, bound), np.arange(order.size) < bound)


@given(st.sampled_from([10**18 * 9, 2**62, 2**32 + 1]), st.integers(0, 2**63), st.integers())
@few
def test_places_of_large_orders_are_found_again(size: int, start: int, seed: int) -> None:
    order = ProblemOrder(size, size, seed)
    left, right = order.pairs(start, start + 3)
    assert (left < size).all()
    assert (right < size).all()
    for at in range(3):
        one = left[at : at + 1], right[at : at + 1]
        assert order.stand_before(*one, start + at + 1)
        assert not order.stand_before(*one, start + at)


def texts_of(maker: Multiplication | Parity | Reachability) -> dict[str, list[Example]]:
    return {
        split: [from_line(line, split, split) for line in b"".join(lines).decode().splitlines()]
        for split, (_, lines) in maker.splits().items()
    }


@given(st.sampled_from([2, 3, 10, 19]), st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_multiplication_splits_share_no_problem_in_either_order(
    digits: int, valid: int, test: int, seed: int
) -> None:
    train = None if digits == 2 else 5000
    splits = texts_of(Multiplication(digits, train, valid, test, seed))
    assert len(splits["valid"]) == valid
    assert len(splits["test"]) == test
    asked = {split: [example.input for example in examples] for split, examples in splits.items()}
    everything = [text for texts in asked.values() for text in texts]
    assert len(set(everything)) == len(everything)
    for split, texts in asked.items():
        swapped = {" * ".join(reversed(text.split(" * "))) for text in texts}
        assert not swapped & {text for other in asked if other != split for text in asked[other]}
    if digits == 2:  # all that is left: a problem is missing only where its swapped one is held out
        lost = 90 * 90 - len(everything)
        assert 0 <= lost <= valid + test


@given(st.integers(2, 9), st.integers(2, 10), st.integers(0, 99), st.data())
@few
def test_running_sums(bits: int, modulus: int, seed: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(2, bits))
    held_out = min(20, (modulus**bits - 1) // 2)
    maker = Parity(bits, k, modulus, min(50, modulus**bits - 2 * held_out), held_out, held_out, seed)
    assert len(set(maker.positions)) == k
    splits = texts_of(maker)
    everything = [example.input for examples in splits.values() for example in examples]
    assert len(set(everything)) == len(everything)
    for example in splits["train"]:
        digits = [int(text) for text in example.input.split()]
        assert len(digits) == bits
        assert max(digits) < modulus
        sums = [sum(digits[at] for at in maker.positions[: end + 1]) % modulus for end in range(k)]
        assert [int(text) for text in [*example.chain.split(), example.answer]] == sums


@given(st.integers(1, 5), st.integers(0, 6), st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_a_path_is_the_only_one_and_leads_to_the_answer(hops: int, further: int, seed: int) -> None:
    nodes = 2 * (hops + 1) + further
    for example in texts_of(Reachability(hops, nodes, train=14, valid=5, test=5, seed=seed))["train"]:
        graph, question = example.input.split(" ? ")
        edges = [tuple(edge.split()) for edge in graph.split(" , ")]
        assert len(set(edges)) == len(edges) == 2 * hops + 2 * further
        assert {len(node) for edge in edges for node in edge} == {len(str(nodes - 1))}
        root, two = question.split(" : ")
        (other,) = set(two.split()) - {example.answer}

        def paths(start: str, end: str, edges: list[tuple[str, ...]] = edges) -> list[list[str]]:
            if start == end:
                return [[end]]
            return [[start, *path] for a, b in edges if a == start for path in paths(b, end, edges)]

        assert paths(root, example.answer) == [[root, *example.chain.split(), example.answer]]
        assert paths(root, other) == []


texts = st.text(st.characters(exclude_characters="\r\n|#", exclude_categories=["Cs"]), max_size=30)
said = texts.filter(lambda text: bool(text.strip()))


@given(said, texts, said)
def test_a_line_reads_back(question: str, chain: str, answer: str) -> None:
    example = Example("line-0", question, chain, answer)
    assert from_line(example.line(), "line-0", "line") == example


@given(st.text(max_size=40))
def test_without_a_pattern_a_chain_is_one_step(chain: str) -> None:
    spans = steps(chain, None)
    assert [chain[start:end] for start, end in spans] == ([chain.strip()] if chain.strip() else [])


@pytest.mark.parametrize("digits", [2, 6])
def test_operands_are_spread_evenly(digits: int) -> None:
    examples = texts_of(Multiplication(digits, train=3000, valid=5, test=5))["train"]
    for place in range(2 * digits):
        values = [example.input.replace(" * ", " ").split()[place] for example in examples]
        highest = place % digits == digits - 1
        counts = np.bincount([int(value) for value in values], minlength=10)[1 if highest else 0 :]
        expected = 3000 / len(counts)
        # chi-squared with 8 or 9 degrees of freedom: below 35 but once in 10,000 times
        assert ((counts - expected) ** 2 / expected).sum() < 35
