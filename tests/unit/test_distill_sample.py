"""Systems, traces and filters on a model that is a function, so that every right result is known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from influence.data.tasks.makers.judging import pair
from influence.data.tasks.task import Example
from influence.distill.filter import filter_traces
from influence.distill.lessons import read_lessons
from influence.distill.prompt_texts import Prompts, shipped
from influence.distill.sample import Plan, sample
from influence.distill.systems import SYSTEMS, merge, named_system, read_criteria, read_scores
from influence.distill.traces import read_traces
from influence.errors import InputError, StoreError
from influence.generate.request import Price, Reply, Request, Sampling


@dataclass
class Model:
    """A generator made of a function; counts what it is asked, and stops after `most` requests."""

    write: Callable[[str, int], str]
    most: int = 10**9
    asked: list[Request] = field(default_factory=list)
    name: str = "function"

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """A word is a token."""
        for number, request in reversed(list(enumerate(requests))):
            if len(self.asked) >= self.most:
                raise KeyboardInterrupt
            self.asked.append(request)
            text = self.write(request.prompt, request.sample)
            yield number, Reply(text, len(text.split()) + 1, len(request.prompt.split()))


ITEMS = [
    Example("0", 'Last letters of "big cat"?', answer="gt", fields={"words": "big cat"}),
    Example("1", 'Last letters of "red sun"?', answer="dn", fields={"words": "red sun"}),
    Example("2", 'Last letters of "old toe"?', fields={"words": "old toe"}),
]
PAIRS = [
    pair("0", "What is 2 + 2?", "4", "5", "A"),
    pair("1", "What is 3 + 3?", "7", "6", "B"),
    pair("2", "Say hi.", "hi", "hi hi", "B"),
]
ASK = Plan(samples=4)


def rephraser(prompt: str, number: int) -> str:
    """Rephrases by counting; right in 3 of 4 samples of the first item, in 2 of the second, silent on the third."""
    if "put more clearly: " not in prompt:
        return f" rephrased {number}: {prompt.splitlines()[0]}\n"
    assert f"put more clearly: rephrased {number}: Last letters" in prompt
    if "old toe" in prompt:
        return "I cannot say."
    right = "gt" if "big cat" in prompt else "dn"
    wrong = number == 0 if "big cat" in prompt else number < 2
    return f"So be it.\nAnswer: {'xx' if wrong else right}"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_two_steps_of_rephrasing_a_majority_and_its_pairs(tmp_path: Path) -> None:
    model = Model(rephraser)
    summary = sample(
        ITEMS,
        named_system("rar2"),
        model,
        tmp_path / "s",
        kind="letters",
        plan=ASK,
        price=Price(1e6, 0),
    )
    assert (summary.items, summary.samples, summary.replies) == (3, 12, 24)
    assert summary.cost == summary.prompt_tokens == sum(len(r.prompt.split()) for r in model.asked)
    traces = list(read_traces(tmp_path / "s"))
    assert [trace.item for trace in traces] == ITEMS
    assert summary.tokens_per_input == sum(trace.tokens for trace in traces) / 3
    first = traces[0].runs[2]
    assert [call.step for call in first.calls] == ["rephrase", "answer"]
    assert first.calls[0].text.strip() in first.calls[1].prompt
    assert first.text == first.calls[1].text
    assert (
        lines(tmp_path / "s/traces.jsonl")[0]["tokens"]
        == traces[0].tokens
        == sum(len(call.text.split()) + 1 for run in traces[0].runs for call in run.calls)
    )

    sums = filter_traces(tmp_path / "s", tmp_path / "p")
    assert (sums.kept, sums.ties, sums.abstentions, sums.target_accuracy) == (1, 1, 4, 1.0)
    (kept,) = lines(tmp_path / "p/pairs.jsonl")
    assert kept == {"id": "0", "prompt": f"{ITEMS[0].input}\n", "completion": "gt", "sample": 1}
    outcomes = lines(tmp_path / "p/outcomes.jsonl")
    assert [one["reason"] for one in outcomes] == ["majority", "tie", "no answer"]
    assert outcomes[1]["answers"] == ["xx", "xx", "dn", "dn"]
    assert [one["correct"] for one in outcomes] == [True, None, None]
    first_only = filter_traces(tmp_path / "s", tmp_path / "none", filter="none")
    assert (first_only.kept, first_only.target_accuracy) == (2, 0.0)
    with pytest.raises(InputError, match="Lower the minimum share"):
        filter_traces(tmp_path / "s", tmp_path / "strict", minimum_share=0.8)
    whole = filter_traces(tmp_path / "s", tmp_path / "response", target="response")
    assert whole.kept == 1
    assert lines(tmp_path / "response/pairs.jsonl")[0]["completion"] == "So be it.\nAnswer: gt"


@pytest.mark.parametrize("most", [1, 7, 12, 13, 23])
def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path, most: int) -> None:
    whole = Model(rephraser)
    sample(ITEMS, named_system("rar2"), whole, tmp_path / "whole", kind="letters", plan=ASK)
    stopped, second = Model(rephraser, most), Model(rephraser)
    with pytest.raises(KeyboardInterrupt):
        sample(ITEMS, named_system("rar2"), stopped, tmp_path / "s", kind="letters", plan=ASK)
    assert not (tmp_path / "s/traces.jsonl").exists()
    with pytest.raises(StoreError, match="unfinished"):
        filter_traces(tmp_path / "s", tmp_path / "p")
    with (tmp_path / "s/replies.jsonl").open("a") as file:
        file.write('{"key": "0')
    summary = sample(ITEMS, named_system("rar2"), second, tmp_path / "s", kind="letters", plan=ASK)
    assert len(second.asked) == 24 - most
    assert set(stopped.asked) | set(second.asked) == set(whole.asked)
    assert summary.replies == 24
    assert (tmp_path / "s/traces.jsonl").read_bytes() == (tmp_path / "whole/traces.jsonl").read_bytes()
    third = Model(rephraser)
    assert sample(ITEMS, named_system("rar2"), third, tmp_path / "s", kind="letters", plan=ASK) == summary
    assert third.asked == []


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    def again(**changes: Any) -> None:
        arguments: dict[str, Any] = {"items": ITEMS, "system": "rar2", "model": Model(rephraser), "plan": ASK}
        arguments |= changes
        system = named_system(arguments["system"], changes.get("prompts"))
        sample(
            arguments["items"],
            system,
            arguments["model"],
            tmp_path / "s",
            kind="letters",
            plan=arguments["plan"],
        )

    again()
    own = tmp_path / "own"
    Prompts().write(own)
    (own / "rar2-rephrase.txt").write_text("Again: $input")
    for change, what in (
        ({"items": ITEMS[:2]}, "items"),
        ({"system": "rar1"}, "system"),
        ({"model": Model(rephraser, name="other")}, "model"),
        ({"plan": Plan(samples=3)}, "samples"),
        ({"plan": Plan(samples=4, sampling=Sampling(temperature=1.0))}, "temperature"),
        ({"prompts": Prompts(own)}, "rar2-rephrase"),
    ):
        with pytest.raises(StoreError, match=what):
            again(**change)
    filter_traces(tmp_path / "s", tmp_path / "p")
    with pytest.raises(StoreError, match="minimum_share"):
        filter_traces(tmp_path / "s", tmp_path / "p", minimum_share=0.1)
    before = (tmp_path / "p/pairs.jsonl").stat().st_mtime_ns
    filter_traces(tmp_path / "s", tmp_path / "p")
    assert (tmp_path / "p/pairs.jsonl").stat().st_mtime_ns == before


# -- system 2 attention


BIASED = [
    Example(
        "0",
        "Is it 4? I think it is 5.",
        answer="four",
        choices=("four", "five"),
        fields={"question": "Is it 4?", "opinion": "5"},
    ),
    Example("1", "Is it 6? It must be 7.", answer="six", choices=("six", "seven")),
]


def attentive(prompt: str, number: int) -> str:
    """Drops the opinion; answers in different words; picks the third response of the first, none of the second."""
    if "lines of equals signs" in prompt:
        return re.sub(r"(\?).*", r"\1", prompt.split("==========\n")[1])
    if "was answered" in prompt:
        return "Response 3" if "Is it 4" in prompt else "None of them."
    assert "think" not in prompt
    assert "must" not in prompt
    return f"Number {number} says {'four' if 'Is it 4' in prompt else 'six'}."


def test_attention_answers_the_rewrite_alone_and_the_model_picks(tmp_path: Path) -> None:
    model = Model(attentive)
    sample(BIASED, named_system("s2a"), model, tmp_path / "s", kind="option", plan=ASK)
    traces = list(read_traces(tmp_path / "s"))
    assert [trace.pick.text if trace.pick else None for trace in traces] == ["Response 3", "None of them."]
    assert all("Response 4:\nNumber 3 says" in trace.pick.prompt for trace in traces if trace.pick)
    assert traces[0].tokens == sum(len(run.calls[0].text.split()) + 1 + 5 for run in traces[0].runs) + 3
    assert [request.sampling.temperature for request in model.asked][-2:] == [0, 0]
    sums = filter_traces(tmp_path / "s", tmp_path / "p")
    assert (sums.kept, sums.dropped_for, sums.target_accuracy) == (1, {"bad pick": 1}, 1.0)
    assert lines(tmp_path / "p/pairs.jsonl")[0]["completion"] == "Number 2 says four."
    voted = filter_traces(tmp_path / "s", tmp_path / "v", filter="majority", target="answer")
    assert voted.kept == 2


def test_responses_that_are_all_alike_need_no_pick(tmp_path: Path) -> None:
    def write(prompt: str, number: int) -> str:
        assert "was answered" not in prompt
        return "four"

    sample(BIASED, named_system("s2a"), Model(write), tmp_path / "s", kind="option", plan=ASK)
    assert filter_traces(tmp_path / "s", tmp_path / "p").reasons == {"unanimous": 2}


# -- branch, solve, merge


def judge(prompt: str, number: int) -> str:
    """Scores by length on one criterion, by sum on another; where lengths decide alone, by the order."""
    if "Name up to five" in prompt:
        return "Sure:\n1. It is short.\n2. **It is right.**\n"
    first, second = (
        prompt.split(f"[Response {letter}]\n")[1].split(f"\n[End of Response {letter}]")[0] for letter in "AB"
    )
    if "hi" in first:
        return "Score A: 5\nScore B: 1"  # whatever stands first
    if "short" in prompt:
        return "Both are.\nScore A: 3\nScore B: 3"
    good = {"4", "6"}
    return f"**Score A:** {5 if first in good else 1}\n**Score B:** {5 if second in good else 1}/5"


def test_a_judge_that_follows_the_order_is_dropped(tmp_path: Path) -> None:
    model = Model(judge)
    summary = sample(PAIRS, named_system("bsm"), model, tmp_path / "s", kind="verdict")
    assert summary.samples == 6
    assert summary.replies == 3 + 6 * 2  # criteria depend on the question alone: asked once for both orders
    traces = list(read_traces(tmp_path / "s"))
    assert [run.order for run in traces[0].runs] == [(0, 1), (1, 0)]
    assert [run.text for run in traces[0].runs] == ["[[A]]", "[[B]]"]
    assert [call.step for call in traces[0].runs[1].calls] == ["branch", "solve", "solve"]
    sums = filter_traces(tmp_path / "s", tmp_path / "p")
    assert (sums.kept, sums.reasons) == (2, {"agreement": 2, "disagreement": 1})
    assert sums.target_accuracy == 1
    pairs = lines(tmp_path / "p/pairs.jsonl")
    assert [one["completion"] for one in pairs] == ["[[A]]", "[[B]]"]
    assert "[Response A]\n7\n" in pairs[1]["prompt"]
    assert "Reply with [[A]]" in pairs[1]["prompt"]
    direct = sample(PAIRS, named_system("direct"), Model(lambda p, n: "[[A]]"), tmp_path / "d", kind="verdict",
                    plan=Plan(filter="orders", samples=2))  # fmt: skip
    assert direct.replies == 6
    with pytest.raises(InputError, match="order of the options"):
        filter_traces(tmp_path / "d", tmp_path / "dp")


def test_options_are_reordered_in_the_input(tmp_path: Path) -> None:
    items = [
        Example("0", "Which?\n(A) one\n(B) two\n(C) three", answer="two", choices=("one", "two", "three"))
    ]

    def first(prompt: str, number: int) -> str:
        return "(A)"

    def right(prompt: str, number: int) -> str:
        return next(line[:3] for line in prompt.splitlines() if line.endswith("two"))

    plan = Plan(filter="orders", samples=3)
    for name, write in (("first", first), ("right", right)):
        sample(items, named_system("direct"), Model(write), tmp_path / name, kind="option", plan=plan)
    with pytest.raises(InputError, match="1 disagreement"):
        filter_traces(tmp_path / "first", tmp_path / "p1")
    assert filter_traces(tmp_path / "right", tmp_path / "p2").target_accuracy == 1
    with pytest.raises(InputError, match="does not show its options"):
        sample([replace(items[0], input="Which?")], named_system("cot"), Model(first), tmp_path / "x", kind="option",
               plan=plan)  # fmt: skip
    with pytest.raises(InputError, match="nothing to reorder"):
        sample(ITEMS, named_system("cot"), Model(first), tmp_path / "x", kind="letters", plan=plan)
    assert not (tmp_path / "x").exists()


def test_criteria_and_scores_in_messy_text() -> None:
    assert read_criteria("Here:\n1) a\n 2. **b**\n- c\n* c\nand so on\n• d\n3. e\n4. f") == [
        "a",
        "b",
        "c",
        "d",
        "e",
    ]
    assert read_criteria("no list") == []
    assert read_scores("Score A: 1\nno:\nScore A: 4.5/5, Score B = 2") == (4.5, 2)
    assert read_scores("**Score A**: 3\n**Score B**: 4") == (3, 4)
    assert read_scores("Score for Response A is 3. Score for Response B is 1.") == (3, 1)
    assert read_scores("Score A: 3") is None
    assert read_scores("Score A: 9\nScore B: 1") is None
    assert merge([(3, 3), None, (5, 1)]) == "[[A]]"
    assert merge([(3.1, 3), (3, 3.1)]) == "[[C]]"
    assert merge([None]) == merge([]) == ""


def test_a_sample_whose_request_fails_has_no_answer_and_the_others_count(tmp_path: Path) -> None:
    class Picky(Model):
        def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
            for number, reply in super().replies(requests):
                refused = "red sun" in requests[number].prompt or requests[number].sample == 0
                yield number, Reply("", 0, 0, failure="refused", reason="told so") if refused else reply

    sums = sample(ITEMS, named_system("rar2"), Picky(rephraser), tmp_path / "s", kind="letters", plan=ASK)
    assert sums.failed == {"refused": 6}  # a refused rephrasing is not answered
    first, second, _ = read_traces(tmp_path / "s")
    assert [run.text == "" for run in first.runs] == [True, False, False, False]
    assert [call.failure for run in second.runs for call in run.calls] == ["refused"] * 4
    filter_traces(tmp_path / "s", tmp_path / "p")
    assert [pair["id"] for pair in lines(tmp_path / "p/pairs.jsonl")] == ["0"]


# -- what cannot be done is said


def test_a_model_that_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"all 12 replies of the step rephrase are empty"):
        sample(ITEMS, named_system("rar2"), Model(lambda p, n: " "), tmp_path / "s", kind="letters", plan=ASK)
    assert len(lines(tmp_path / "s/replies.jsonl")) == 12


def test_no_majority_anywhere_keeps_what_was_sampled(tmp_path: Path) -> None:
    def torn(prompt: str, number: int) -> str:
        return f"Answer: {'xy'[number % 2]}{'xy'[number % 2]}"

    sample(ITEMS, named_system("rar1"), Model(torn), tmp_path / "s", kind="letters", plan=ASK)
    for _ in range(2):  # and again: it stays an error
        with pytest.raises(InputError, match=r"kept none of 3 items(.|\n)*3 tie(.|\n)*odd number"):
            filter_traces(tmp_path / "s", tmp_path / "p")
    assert json.loads((tmp_path / "p/summary.json").read_text())["ties"] == 3
    assert len(lines(tmp_path / "p/outcomes.jsonl")) == 3
    assert not (tmp_path / "p/pairs.jsonl").exists()


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_a_missing_field_is_named_before_anything_is_asked(tmp_path: Path, system: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in shipped():
        if name not in ("pick", "direct-verdict"):
            (own / f"{name}.txt").write_text(shipped()[name] + "$hint")
    model = Model(rephraser)
    with pytest.raises(InputError, match=r"\$(hint|question).*lacks"):
        sample(ITEMS, named_system(system, Prompts(own)), model, tmp_path / "s", kind="letters")
    assert model.asked == []
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("rar2-answer", "Just $input", r"leaves out \$rephrased"),
        ("rar2-answer", "$input costs $", "lone"),
        ("rar3", "x", "no system uses"),
    ],
)
def test_prompts_that_cannot_be_used(tmp_path: Path, name: str, text: str, error: str) -> None:
    (tmp_path / f"{name}.txt").write_text(text)
    with pytest.raises(InputError, match=error):
        sample(
            ITEMS, named_system("rar2", Prompts(tmp_path)), Model(rephraser), tmp_path / "s", kind="letters"
        )
    with pytest.raises(InputError, match="no folder"):
        Prompts(tmp_path / "absent")


def test_what_is_put_into_a_prompt_is_not_looked_at_again() -> None:
    assert Prompts().fill("direct", Example("0", "Pay $rephrased or $$5?")) == "Pay $rephrased or $$5?\n"


@pytest.mark.parametrize(
    ("plan", "items", "error"),
    [
        (Plan(sampling=Sampling()), ITEMS, "At temperature 0 all 8 samples"),
        (Plan(samples=0), ITEMS, "1 sample at least"),
        (Plan(filter="orders", samples=1), ITEMS, "2 samples at least"),
        (Plan(), [], "no inputs"),
        (Plan(), [*ITEMS, ITEMS[0]], "same id"),
    ],
)
def test_plans_that_make_no_sense(tmp_path: Path, plan: Plan, items: list[Example], error: str) -> None:
    with pytest.raises(InputError, match=error):
        sample(items, named_system("rar2"), Model(rephraser), tmp_path / "s", kind="letters", plan=plan)
    assert not (tmp_path / "s").exists()


def test_filters_that_were_not_sampled_for(tmp_path: Path) -> None:
    sample(ITEMS, named_system("rar2"), Model(rephraser), tmp_path / "s", kind="letters", plan=ASK)
    for name in ("usc", "orders"):
        with pytest.raises(InputError, match="sampled for majority"):
            filter_traces(tmp_path / "s", tmp_path / "p", filter=name)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no effect"):
        filter_traces(tmp_path / "s", tmp_path / "p", filter="none", minimum_share=0.5)
    with pytest.raises(InputError, match="no system 'rar9'"):
        named_system("rar9")
    (tmp_path / "s/traces.jsonl").write_text('{"id": "0"}\n')
    with pytest.raises(StoreError, match=r"traces.jsonl is not the file"):
        filter_traces(tmp_path / "s", tmp_path / "p2")


def test_pairs_of_other_samples_are_refused(tmp_path: Path) -> None:
    for name in ("s", "other"):
        wrong = "" if name == "s" else " Look again."
        model = Model(lambda prompt, number, wrong=wrong: rephraser(prompt, number) + wrong)
        sample(ITEMS, named_system("rar2"), model, tmp_path / name, kind="letters", plan=ASK)
    filter_traces(tmp_path / "s", tmp_path / "p")
    assert len(read_lessons(tmp_path / "p", tmp_path / "s")) == 1
    with pytest.raises(StoreError, match="not of the samples") as caught:
        read_lessons(tmp_path / "p", tmp_path / "other")
    assert caught.value.fix


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"id": "0"}', "missing required"),
        (
            '{"id": "0", "tokens": 1, "item": {"id": "0", "input": "x", "mood": "bad"}}',
            "unknown field `$.item.mood`",
        ),
        ("[" * 9000, "depth"),
        ("{", "property name"),
    ],
)
def test_a_trace_of_another_form_is_refused(tmp_path: Path, line: str, says: str) -> None:
    good = (
        '{"id": "0", "tokens": 1, "item": {"id": "0", "input": "x", "fields": {}}, "runs": [], "pick": null}'
    )
    (tmp_path / "traces.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(StoreError, match=r"traces.jsonl:2 cannot be read") as caught:
        list(read_traces(tmp_path))
    assert says in str(caught.value.have)
