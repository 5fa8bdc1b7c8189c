"""Stages whose generations are known beforehand: what is right, at which position, where it goes on after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from position_model import position_model

from influence.analysis.internalization import position_rows, read_evaluation, stage_rows
from influence.data.tasks.folder import read_task
from influence.data.tasks.task import Example, Task
from influence.errors import InputError, StoreError
from influence.models.decode import Marks
from influence.store.artefact import write_json
from influence.train import evaluate as module
from influence.train.answering import Asked, answer_ids
from influence.train.evaluate import evaluate
from influence.train.settings import EvaluationSettings
from influence.train.stepwise.new_model import task_tokenizer

#: The models below say 4 5 6 whatever they are asked.
ANSWERS = ["4 5 6", "4 5 7", "4 5 6", "1 5 6", "4 5"]
CHAIN = "1 2 3"
SETTINGS = EvaluationSettings(timed=2, device="cpu")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = tmp_path / "task"
    folder.mkdir()
    lines = [f"{n} {n + 1}||{CHAIN} #### {answer}\n" for n, answer in enumerate(ANSWERS)]
    (folder / "test.txt").write_text("".join(lines))
    return read_task(folder)


def write_stage(
    run: Path, removed: int, answer: str = "4 5 6", *, says_kept: bool = False, **about: Any
) -> Path:
    """A stage that writes what is left of the chain and the answer; at kept positions, if it is to know those only."""
    tokenizer = task_tokenizer([Example("", "0 1 2 3 4 5 6 7 8 9", CHAIN, "4 5 6 7")])
    text = ["<sep>", *CHAIN.split()[removed:], "<sep>", "####", *answer.split(), "<eos>"]
    ids: list[int] = tokenizer.convert_tokens_to_ids(text)
    says = dict.fromkeys(range(32), ids[-1]) | {2: ids[1]}
    says |= {2 + place + removed * says_kept: ids[place + 1] for place in range(1, len(ids) - 1)}
    folder = run / f"stage-{removed:03d}"
    position_model(says, len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    facts = {
        "mode": "stepwise",
        "side": "left",
        "by_step": False,
        "keep_positions": False,
        "seed": 0,
        "total": 3,
        "model": "tiny",
        "task": {"name": "own", "settings": {}},
        "step": removed,
        "settings": {},
    }
    write_json(folder / "stage.json", {**facts, "removed": removed, **about})
    return folder


def test_known_generations(tmp_path: Path, task: Task) -> None:
    run = tmp_path / "run"
    stages = [write_stage(run, removed) for removed in (0, 2, 3)]
    assert evaluate(stages, task, settings=SETTINGS) == [run]
    done = read_evaluation(run)
    assert [stage.removed for stage in done.stages] == [0, 2, 3]
    for stage in done.stages:
        assert stage.right_N.tolist() == [True, False, True, False, False]
        assert set(stage.tokens_N.tolist()) == {3 - stage.removed + 6}  # chain, separator, mark, answer, end
    rows = stage_rows([done])
    assert rows["accuracy"].tolist() == [0.4] * 3
    assert rows["token_accuracy"].tolist() == pytest.approx([12 / 14] * 3)
    positions = position_rows([done]).query("removed == 2")
    assert positions["right"].tolist() == [4, 5, 3]
    assert positions["n"].tolist() == [5, 5, 4]  # one answer has two tokens
    first, wrong = done.stages[0].samples[0], done.stages[0].samples[1]
    assert (first.right, first.said, wrong.right, wrong.answer) == (True, "4 5 6", False, "4 5 7")
    assert first.generated.startswith("1 2 3")


@pytest.mark.parametrize("kept", [True, False])
def test_kept_positions_are_kept(tmp_path: Path, task: Task, kept: bool) -> None:
    """A model that knows the answer at kept positions only is right if asked at those, else never."""
    run = tmp_path / "run"
    write_stage(run, 2, says_kept=True, keep_positions=kept)
    evaluate([run], task, settings=SETTINGS)
    assert stage_rows([read_evaluation(run)])["accuracy"].tolist() == [0.4 if kept else 0.0]


def test_batches_and_limit(tmp_path: Path, task: Task) -> None:
    for batch_size in (1, 3):
        run = tmp_path / str(batch_size)
        write_stage(run, 1)
        evaluate([run], task, settings=EvaluationSettings(timed=0, batch_size=batch_size, limit=4))
        (stage,) = read_evaluation(run).stages
        assert stage.right_N.tolist() == [True, False, True, False]
        assert stage_rows([read_evaluation(run)])["examples_per_second"].isna().all()


def test_a_killed_evaluation_goes_on(tmp_path: Path, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was generated is not generated again; a line that the kill cut off is."""
    run = tmp_path / "run"
    stage = write_stage(run, 1)
    settings = EvaluationSettings(timed=0, batch_size=2)
    asked: list[int] = []
    decode = module.decode_at_positions

    def counted(model: Any, prompts: Any, *rest: Any) -> Any:
        asked.append(len(prompts))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return decode(model, prompts, *rest)

    monkeypatch.setattr(module, "decode_at_positions", counted)
    with pytest.raises(KeyboardInterrupt):
        evaluate([run], task, settings=settings)
    lines = run / "evaluation" / "stage-001.jsonl"
    assert len(lines.read_text().splitlines()) == 1 + 2
    whole = lines.read_bytes()
    lines.write_bytes(whole + whole.splitlines(keepends=True)[-1][:20])
    evaluate([run], task, settings=settings)
    assert asked == [2, 2, 2, 1]
    assert read_evaluation(run).stages[0].right_N.tolist() == [True, False, True, False, False]
    assert len(lines.read_text().splitlines()) == 1 + 5

    evaluate([stage], task, settings=settings)
    assert len(asked) == 4  # it is done
    write_stage(run, 1, "1 5 6", seed=1)
    evaluate([run], task, settings=settings)  # trained anew: evaluated anew
    assert read_evaluation(run).stages[0].right_N.tolist() == [False, False, False, True, False]


def test_speed_is_measured_anew_against_another_model(tmp_path: Path, task: Task) -> None:
    run, no_cot = tmp_path / "run", tmp_path / "no-cot"
    write_stage(run, 0)
    write_stage(no_cot, 3, mode="no-cot")
    evaluate([run], task, settings=SETTINGS)
    before = read_evaluation(run).stages[0]
    assert before.baseline_M is None
    lines = (run / "evaluation" / "stage-000.jsonl").read_bytes()
    assert evaluate([run], task, no_cot=no_cot, settings=SETTINGS) == [run, no_cot]
    after = read_evaluation(run).stages[0]
    assert after.baseline_M is not None
    assert len(after.baseline_M) == len(after.seconds_M) == 2
    assert (run / "evaluation" / "stage-000.jsonl").read_bytes() == lines
    rows = stage_rows([read_evaluation(folder) for folder in (run, no_cot)])
    assert rows["relative_speed"].gt(0).all()
    assert rows["generated_tokens"].tolist() == [9, 6]


def test_a_model_that_writes_a_chain_is_no_measure_of_speed(tmp_path: Path, task: Task) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    write_stage(run, 3)
    for removed in (0, 2):
        stage = write_stage(other, removed)
        with pytest.raises(InputError, match="writes a chain of thought") as refused:
            evaluate([run], task, no_cot=stage, settings=SETTINGS)
        assert refused.value.have == f"{removed} of 3 removed"
    write_stage(other, 3)
    evaluate([run], task, no_cot=other, settings=SETTINGS)


def test_other_arguments_are_refused(tmp_path: Path, task: Task) -> None:
    run = tmp_path / "run"
    write_stage(run, 0)
    evaluate([run], task, settings=SETTINGS)
    with pytest.raises(StoreError, match="other arguments") as caught:
        evaluate([run], task, settings=EvaluationSettings(limit=2, timed=2, device="cpu"))
    assert "examples: 5 there, 2 now" in str(caught.value)


def test_what_is_no_stage(tmp_path: Path, task: Task) -> None:
    run = tmp_path / "run"
    stage = write_stage(run, 0)
    for folders in ([tmp_path / "nothing"], [task.folder], [run, stage]):
        with pytest.raises(InputError):
            evaluate(folders, task, settings=SETTINGS)
    (stage / "stage.json").write_text(json.dumps({"removed": 0}))
    with pytest.raises(StoreError, match="missing required field `mode`"):
        evaluate([run], task, settings=SETTINGS)


def test_examples_longer_than_the_model_are_counted(tmp_path: Path, task: Task) -> None:
    path = task.folder / "test.txt"
    path.write_text(path.read_text() + "9 9||" + " ".join(["1"] * 40) + " #### 4 5 6\n")
    run = tmp_path / "run"
    write_stage(run, 0)
    evaluate([run], read_task(task.folder), settings=SETTINGS)
    (stage,) = read_evaluation(run).stages
    assert len(stage.right_N) == 5
    assert stage.measured.too_long == 1


@pytest.mark.parametrize(
    ("generated", "answer"),
    [
        ([1, 2, 5, 9, 7, 8, 6], [7, 8]),
        ([5, 9, 7, 6], [7]),
        ([5, 9, 7, 8], [7, 8]),  # never ended
        ([1, 2, 9, 7, 6], []),  # no separator
        ([5, 7, 8, 6], []),  # no mark
        ([], []),
    ],
)
def test_the_answer_of_a_generation(generated: list[int], answer: list[int]) -> None:
    assert answer_ids(generated, Asked([], Marks(5, 6), (9,), 0, 0)) == answer


def test_the_answer_where_separator_and_end_are_one() -> None:
    assert answer_ids([1, 5, 9, 7, 8, 5], Asked([], Marks(5, 5), (9,), 0, 0)) == [7, 8]
