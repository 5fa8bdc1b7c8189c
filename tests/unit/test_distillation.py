"""The whole distillation with a pretended System 2 and a tiny model; lessons, evaluation, controls, and the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pretended import Pretender
from tiny import tiny_model

from influence.analysis.distillation import differences, judges, measures, sensitivity, verdict, wordings
from influence.data.tasks.makers.judging import pair
from influence.data.tasks.makers.last_letter import last_letter
from influence.data.tasks.task import Example
from influence.distill.evaluate import of_traces
from influence.distill.lessons import Lesson, before_answer, read_lessons
from influence.distill.prompt_texts import Prompts, Wordings
from influence.distill.run import distil
from influence.distill.sample import Plan
from influence.distill.settings import Recipe, TuneSettings
from influence.distill.systems import named_system
from influence.distill.traces import Made, Run, Trace
from influence.errors import InputError, StoreError
from influence.store.formats.distillation import AS_LONG, CONTEXT, MODELS, STEPWISE, Answer, read_answers

TASK = last_letter(0, {"train": 8, "test": 4})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "base"
    model = tiny_model(dtype=torch.float32, max_position_embeddings=256)
    model.tokenizer.eos_token = model.tokenizer.bos_token
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


def run(base: Path, out: Path, generator: Any = None, **changes: Any) -> dict[str, Any]:
    recipe = Recipe(
        **{"plan": Plan(samples=3), "tune": TuneSettings(epochs=1), "answer_tokens": 4, **changes}  # type: ignore[arg-type]
    )
    system = named_system("rar2")
    words = Wordings(system.prompts)
    return distil(TASK, system, generator or Pretender(wrong_every=3), base, out, recipe, words)


def test_from_unlabelled_inputs_to_tables(base: Path, tmp_path: Path) -> None:
    summary = run(base, tmp_path / "run")
    assert (summary.filter.kept, summary.filter.target_accuracy) == (8, 1.0)
    answers = read_answers(tmp_path / "run")
    table = measures(answers).set_index("model")
    assert list(table.index) == [name for name in MODELS if name not in (STEPWISE, CONTEXT, AS_LONG)]
    accuracy = table["accuracy"].to_dict()
    assert (accuracy["System 1"], accuracy["System 2"]) == (0, 1)
    assert accuracy["System 2, one sample"] < 1
    assert table["tokens"]["System 2"] == pytest.approx(3 * table["tokens"]["System 2, one sample"])
    lessons = read_lessons(tmp_path / "run" / "pairs", tmp_path / "run" / "samples")
    assert "Which letters" in lessons[0].trace
    assert lessons[0].context.endswith('So the letters give "')
    spread = sensitivity(wordings(answers)).set_index("model")
    assert spread["spread"]["System 1"] == 0
    assert spread["wordings"]["distilled"] == 5
    for control in ("no-filter", "system-1", "gold"):
        assert (tmp_path / "run" / "controls" / control / "model" / "config.json").exists()

    def never(*arguments: Any) -> Any:
        raise AssertionError("asked again")

    class Deaf(Pretender):
        replies = never

    again = run(base, tmp_path / "run", Deaf(wrong_every=3))
    assert again == summary
    with pytest.raises(StoreError, match="other arguments"):
        run(base, tmp_path / "run", answer_tokens=5)


def test_controls_without_a_trace_are_tuned_on_answers_alone(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """System 1's own answers and the right ones have no trace to remove; all else is tuned in the run's own way."""
    ways: dict[str, str] = {}
    with_trace: dict[str, bool] = {}

    def noted(model: Any, lessons: list[Lesson], out: Path, settings: TuneSettings) -> None:
        name = str(out.relative_to(tmp_path / "run"))
        ways[name] = settings.way
        with_trace[name] = all(lesson.trace.strip() for lesson in lessons)

    monkeypatch.setattr("influence.distill.run.internalise", noted)
    monkeypatch.setattr("influence.distill.run.evaluate_models", lambda *arguments, **more: None)
    run(base, tmp_path / "run", tune=TuneSettings(way="stepwise", epochs=1, delta=1.0))
    assert ways == {
        "model": "stepwise",
        "controls/no-filter/model": "stepwise",
        "controls/system-1/model": "answer-only",
        "controls/gold/model": "answer-only",
    }
    assert [name for name, has in with_trace.items() if has] == ["model", "controls/no-filter/model"]


def test_a_model_that_writes_nothing_is_an_error_and_leaves_its_replies(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wrote nothing"):
        run(base, tmp_path / "run", Pretender(silent=True))
    assert (tmp_path / "run" / "samples" / "replies.jsonl").read_text().count("\n") == 24


def test_a_filter_that_keeps_nothing_is_an_error(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="kept none of 8"):
        run(base, tmp_path / "run", Pretender(wrong_every=2), plan=Plan(samples=2))
    assert not (tmp_path / "run" / "model").exists()


def test_test_inputs_need_answers(base: Path, tmp_path: Path) -> None:
    from influence.data.tasks.task import Task

    task = Task("own", "text", {"train": (Example("1", "a"),), "test": (Example("1", "b"),)})
    with pytest.raises(InputError, match="no right answer"):
        distil(
            task,
            named_system("rar2"),
            Pretender(),
            base,
            tmp_path / "run",
            Recipe(),
            Wordings(Prompts()),
        )
    assert not (tmp_path / "run").exists()


def test_what_stands_before_the_answer() -> None:
    assert before_answer('It is "no", so the answer is "no".', "no") == 'It is "no", so the answer is "'
    assert before_answer("Yes it is", "no") == ""


def rows(right: dict[str, list[int]], **more: Any) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "model": model,
                "wording": "as tuned",
                "swapped": False,
                "id": str(number),
                "answer": "x",
                "right": bool(one),
                "tokens": 10,
                "text": "",
                **more,
            }
            for model, marks in right.items()
            for number, one in enumerate(marks)
        ]
    )


@pytest.mark.parametrize(
    ("right", "outcome"),
    [
        ((10, 90, 88), "internalised"),
        ((10, 90, 20), "failed"),
        ((10, 90, 60), "partly"),
        ((0, 100, 49), "failed"),  # the thresholds are half and nine tenths of the way
        ((0, 100, 50), "partly"),
        ((0, 100, 89), "partly"),
        ((0, 100, 90), "internalised"),
        ((50, 52, 52), "nothing to gain"),
        ((90, 10, 90), "nothing to gain"),
    ],
)
def test_the_verdict(right: tuple[int, int, int], outcome: str) -> None:
    marks = {
        model: [1] * count + [0] * (100 - count)
        for model, count in zip(("System 1", "System 2", "distilled"), right, strict=True)
    }
    said = verdict(rows(marks), "answer-only")
    assert said.outcome == outcome
    assert ("--way stepwise" in said.text) == (outcome == "failed")


@pytest.mark.parametrize(
    ("way", "gold", "says"),
    [
        ("answer-only", 80, "Answers alone do not teach"),
        ("answer-only", 12, "The tuning failed"),
        ("stepwise", 12, "The tuning failed"),
        ("stepwise", 80, "more slowly"),
        ("context", 80, "Its own answers"),
    ],
)
def test_a_failure_is_that_of_what_was_run(way: str, gold: int, says: str) -> None:
    counts = {"System 1": 10, "System 2": 90, "distilled": 20, "gold labels": gold}
    marks = {model: [1] * count + [0] * (100 - count) for model, count in counts.items()}
    text = verdict(rows(marks), way).text
    assert says in text
    assert ("Answers alone" in text) == (says == "Answers alone do not teach")


def test_no_verdict_without_answers() -> None:
    with pytest.raises(StoreError, match="distilled"):
        verdict(rows({"System 1": [1], "System 2": [1]}), "context")


def test_differences_are_paired() -> None:
    marks = {"System 1": [0, 0, 1, 1], "distilled": [1, 0, 1, 1]}
    (record,) = differences(rows(marks)).to_dict("records")
    assert record["minus"] == "System 1"
    assert record["difference"] == 0.25
    assert record["low"] <= 0.25 <= record["high"]


def verdicts(model: str, said: list[tuple[str | None, str | None]]) -> pd.DataFrame:
    """Answers as given and swapped, in terms of the order as given; A is right."""
    parts = []
    for swapped in (False, True):
        answers = [pair[swapped] for pair in said]
        part = rows({model: [int(one == "A") for one in answers]}, swapped=swapped)
        part["answer"] = answers
        parts.append(part)
    return pd.concat(parts)


def test_judges_agree_and_contradict_themselves() -> None:
    teacher = verdicts("System 2", [("A", "A"), ("A", "B"), ("B", "B"), ("A", None)])
    student = verdicts("distilled", [("A", "A"), ("A", "A"), ("B", "A"), ("A", "B")])
    table = judges(pd.concat([teacher, student])).set_index(["model", "pairs_are"])
    assert table.loc[("System 2", "all"), "inconsistent"] == 0.5
    assert table.loc[("System 2", "all"), "agreement"] == np.mean([1, 0.5, 0, 0.5])
    assert table.loc[("System 2", "all"), "unread"] == 1 / 8
    hard = table.loc[("distilled", "System 2 contradicts itself")]
    assert (hard["n"], hard["agreement"], hard["inconsistent"]) == (2, 0.75, 0.5)
    easy = table.loc[("distilled", "System 2 is consistent")]
    assert (easy["n"], easy["inconsistent"]) == (2, 0.5)


def test_judges_are_asked_in_both_orders_of_the_trace() -> None:
    item = pair("p", "Q", "good", "bad", "A")
    call = Made("solve 1", "prompt", "[[A]]", 7, 3, True)
    runs = (Run(0, "[[A]]", (call,), (0, 1)), Run(1, "[[A]]", (call, call), (1, 0)))
    first, second = of_traces([Trace(item, runs)], "verdict", "orders")
    assert (first.swapped, first.answer, first.right, first.tokens) == (False, "A", True, 7)
    assert (second.swapped, second.answer, second.right, second.tokens) == (True, "B", False, 14)
    assert isinstance(first, Answer)


def test_wordings(tmp_path: Path) -> None:
    item = TASK.split("test")[0]
    worded = Wordings(Prompts()).of(item)
    assert next(iter(worded)) == "as tuned"
    assert len(worded) == 5  # the plain one is how pairs are made
    assert all(item.input in text for text in worded.values())
    assert len(Wordings(Prompts(), None).of(item)) == 1
    with pytest.raises(InputError, match="no wording"):
        Wordings(Prompts(), tmp_path)
    (tmp_path / "bad.txt").write_text("$question?")
    with pytest.raises(InputError, match="not usable"):
        Wordings(Prompts(), tmp_path)


def test_answers_are_read_in_order_of_models(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no answers"):
        read_answers(tmp_path)
    json.dumps(rows({"distilled": [1]}).to_dict("records"))
