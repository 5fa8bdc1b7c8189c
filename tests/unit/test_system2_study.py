"""Text, vocabulary and tables of the reproduction of System 2 distillation; its command has a test of its own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from influence.data.tasks.makers.multiplication import Multiplication
from influence.data.tasks.task import Example, Task
from influence.distill.settings import TuneSettings
from influence.store.formats.distillation import (
    AS_LONG,
    DISTILLED,
    NO_FILTER,
    SELF,
    STEPWISE,
    SYSTEM_1,
    SYSTEM_2,
)
from influence.train.stepwise.sequences import tokenize_task
from reports.system2.results import findings_page
from reports.system2.scales import SCALES, TaskScale
from reports.system2.tables import effects_table, models_table, verdicts_table
from reports.system2.tasks import questions, text_cases
from reports.system2.text import (
    ANSWER,
    REPHRASE,
    WORDINGS,
    coin_flip_case,
    examples,
    last_letter_case,
    multiplication_case,
)
from reports.system2.vocabulary import tokenizer

LAPTOP = SCALES["laptop"]


def small(task: TaskScale) -> TaskScale:
    return dataclasses.replace(task, text=30, problems=50, train=20, test=10)


@pytest.mark.parametrize("task", [small(task) for task in LAPTOP.tasks], ids=lambda task: task.name)
def test_the_text_reads_as_the_prompts_ask(task: TaskScale) -> None:
    asked = questions(task, 0)
    words = tokenizer(task.base.numbers)
    prompts = [
        form.split("$rephrased")[0].split("$input")[0] for form in (REPHRASE, ANSWER, *WORDINGS.values())
    ]
    told = examples(text_cases(task, 0), np.random.default_rng(0), task.base.numbers)
    held_out = {item.input for split in asked.splits.values() for item in split}
    for one in told:
        assert any(one.prompt.strip().startswith(start) for start in prompts)
        whole, prompt = words(one.prompt + one.completion)["input_ids"], words(one.prompt)["input_ids"]
        assert whole[: len(prompt)] == prompt, "no token spans prompt and completion"
        text = one.prompt + one.completion
        assert words.decode(whole) == (text.replace(" ", "") if task.base.numbers else text)
        assert words.unk_token_id not in whole
        assert not any(question in one.prompt for question in held_out)
    for item in asked.split("test"):
        assert words.unk_token_id not in words(item.input)["input_ids"]
    assert text_cases(task, 0) == text_cases(task, 0)


def test_a_whole_solution_is_what_the_first_stage_writes() -> None:
    case = multiplication_case("2 1 * 4 3||8 4 0 + 0 6 3 0 #### 8 0 4 0", 0.0, np.random.default_rng(0))
    assert (case.input, case.rephrased, case.answer) == ("21*43", "840,630", "8040")
    lines = [one for one in examples([case] * 50, np.random.default_rng(0), True) if "#" in one.completion]
    words = tokenizer(numbers=True)
    asked = WORDINGS["as tuned"].replace("$input", case.input)
    task = Task("own", "text", {})
    stage = tokenize_task([Example("", asked, case.rephrased, case.answer)], task, words)
    assert lines
    for one in lines:
        ids = words(one.prompt + one.completion)["input_ids"]
        assert [*ids, words.eos_token_id] == stage.tokens.tolist()


def test_an_answer_follows_its_rephrasing_and_haste_depends_on_the_wording() -> None:
    rng = np.random.default_rng(0)
    case = last_letter_case(("lemon", "tea"), 0.0, rng)
    assert (case.rephrased, case.answer) == ("The first ends in n, the second in a.", "na")
    assert case.hasty == {"as tuned": "lt", "please": "na", "quick": "lt"}
    slipped = last_letter_case(("lemon", "tea"), 1.0, rng)
    assert slipped.answer != "na"
    assert all(f" {letter}" in slipped.rephrased for letter in slipped.answer)
    case = coin_flip_case(("Ada", "Bo"), (True, True), 0.0, rng)
    assert case.answer == "yes"
    assert case.rephrased.endswith("After the second it is heads.")
    assert coin_flip_case(("Ada", "Bo"), (True, True), 1.0, rng).answer == "no"
    assert coin_flip_case(("Ada", "Bo"), (True, False), 0.0, rng).hasty["as tuned"] == "yes"


@pytest.mark.parametrize("digits", [2, 3])
def test_products_add_up_to_the_answer(digits: int) -> None:
    lines = b"".join(Multiplication(digits=digits, train=50, valid=1, test=1).splits()["train"][1])
    for line in lines.decode().splitlines():
        first, second = (int(number[::-1]) for number in line.replace(" ", "").split("||")[0].split("*"))
        for slip in (0.0, 1.0):
            case = multiplication_case(line, slip, np.random.default_rng(0))
            products = [int(product[::-1]) for product in case.rephrased.split(",")]
            assert sum(10**place * product for place, product in enumerate(products)) == int(
                case.answer[::-1]
            )
            assert len(case.answer) == 2 * digits
            assert all(product % first == 0 for product in products)
            assert (int(case.answer[::-1]) == first * second) == (slip == 0)


def answers(right: dict[str, float], n: int = 200) -> pd.DataFrame:
    rows = []
    for model, share in right.items():
        for wording in ("as tuned", "please") if model in (SYSTEM_1, DISTILLED) else ("as tuned",):
            worse = 0.2 if model == SYSTEM_1 and wording == "please" else 0.0
            rows += [
                {"model": model, "wording": wording, "swapped": False, "id": str(i), "answer": "x"}
                | {"right": i < (share - worse) * n, "tokens": 2, "text": ""}
                for i in range(n)
            ]
    return pd.DataFrame(rows)


LETTERS, MULTIPLICATION = LAPTOP.tasks[0], LAPTOP.tasks[-1]
LIKE_THE_PAPER = {SYSTEM_1: 0.3, SYSTEM_2: 0.9, DISTILLED: 0.95, NO_FILTER: 0.8, SELF: 0.4}


def test_effects_appear_where_numbers_are_like_the_papers() -> None:
    task = dataclasses.replace(LETTERS, ways=())
    seeds = [
        answers({name: share - 0.01 * seed for name, share in LIKE_THE_PAPER.items()}) for seed in range(3)
    ]
    table = effects_table(task, seeds).set_index("effect")["appears"]
    assert (table == "yes").all(), table
    models = models_table(task, seeds).set_index("model")
    assert models.loc[DISTILLED, "accuracy"] == pytest.approx(0.94)
    assert (models.loc[DISTILLED, "least"], models.loc[DISTILLED, "most"]) == (0.93, 0.95)
    assert models.loc[DISTILLED, "published"] == 0.98
    assert verdicts_table(task, seeds)["verdicts"].tolist() == ["internalised, internalised, internalised"]


def test_effects_do_not_appear_where_numbers_are_unlike() -> None:
    task = dataclasses.replace(LETTERS, ways=())
    unlike = {SYSTEM_1: 0.5, SYSTEM_2: 0.4, DISTILLED: 0.3, NO_FILTER: 0.35, SELF: 0.4}
    table = effects_table(task, [answers(unlike)] * 2).set_index("effect")["appears"]
    assert set(table.drop("the wording matters less than to System 1")) == {"no"}


def test_a_failure_and_what_mends_it() -> None:
    task = dataclasses.replace(MULTIPLICATION, ways=(TuneSettings(way="stepwise"),))
    seeds = [
        answers({SYSTEM_1: 0.0, SYSTEM_2: 0.95, DISTILLED: 0.1, STEPWISE: 0.9, AS_LONG: 0.2})
        for _ in range(3)
    ]
    assert (effects_table(task, seeds)["appears"] == "yes").all()
    said = verdicts_table(task, seeds).set_index("internaliser")["verdicts"].to_dict()
    assert said["answer-only"] == "failed, failed, failed"
    assert said["stepwise"].startswith("internalised")


def test_the_page_has_every_table() -> None:
    tasks = tuple(dataclasses.replace(task, ways=()) for task in LAPTOP.tasks[:1])
    scale = dataclasses.replace(LAPTOP, tasks=tasks)
    seeds = [answers(LIKE_THE_PAPER)]
    tables = {
        "models": models_table(tasks[0], seeds),
        "effects": effects_table(tasks[0], seeds),
        "verdicts": verdicts_table(tasks[0], seeds),
    }
    made_by = {"seeds": 1, "command": "c", "version": "v", "commit": None, "machine": "m"}
    page = findings_page(scale, {**made_by, "parameters": 1, "hours": 0.5}, tables)
    for text in ("| distilled | 0.98 | 0.95", "the filter helps", "internalised"):
        assert text in page
    assert "nan" not in page.lower().replace("finance", "")


def test_models_are_small_and_settings_possible() -> None:
    for scale in SCALES.values():
        for task in scale.tasks:
            assert task.base.shape.width % task.base.shape.heads == 0
            assert len({way.way for way in (task.tune, *task.ways)}) == 1 + len(task.ways)
