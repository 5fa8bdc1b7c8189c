"""A model answers questions: alone or in a batch, killed or not, the same query set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny import tiny_model

from influence.cli.main import cli
from influence.data.queries import completions_by, completions_record, read_queries, write_queries
from influence.engine import complete as module
from influence.engine.complete import choose, complete
from influence.errors import InputError, StoreError
from influence.models.decode import greedy
from influence.types import Query

QUESTIONS = [
    Query(
        f"q{n}",
        "sums" if n % 2 else "facts",
        "factual",
        "what is " + "one " * (n % 4) + str(n),
        "",
        answer=str(n),
    )
    for n in range(9)
]


def test_a_prompt_continues_in_a_batch_as_it_does_alone() -> None:
    language_model = tiny_model()
    prompts = [language_model.tokenizer(q.prompt)["input_ids"] for q in QUESTIONS]
    alone = [greedy(language_model, [prompt], 12)[0] for prompt in prompts]
    assert greedy(language_model, prompts, 12) == alone
    assert len(set(alone)) > 1


def test_completions_are_those_of_the_model_in_the_order_of_the_questions(tmp_path: Path) -> None:
    language_model = tiny_model()
    done = complete(language_model, QUESTIONS, tmp_path / "q.jsonl", max_new_tokens=8)
    assert [query.id for query in done.queries] == [
        query.id for query in QUESTIONS if query.id not in done.empty
    ]
    ids = {q.id: language_model.tokenizer(q.prompt)["input_ids"] for q in QUESTIONS}
    for query in done.queries:
        assert query.completion == greedy(language_model, [ids[query.id]], 8)[0]
        assert query.correct is not None
    assert read_queries(tmp_path / "q.jsonl") == done.queries
    record = json.loads((tmp_path / "q.provenance.json").read_text())
    assert record["config"]["model"] == language_model.fingerprint
    assert sum(asked for _, asked in done.accuracy().values()) == len(done.queries)
    assert completions_by(tmp_path / "q.jsonl", done.queries) == language_model.name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["q.jsonl", "q.provenance.json"]


def test_who_wrote_completions_is_not_said_of_a_file_that_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    queries = complete(tiny_model(), QUESTIONS, path, max_new_tokens=8).queries
    write_queries([*queries[1:], replace(queries[0], completion="A hand wrote this.")], path)
    assert completions_by(path, read_queries(path)) is None
    write_queries(queries, tmp_path / "other.jsonl")
    assert completions_by(tmp_path / "other.jsonl", queries) is None
    completions_record(path).write_text("[" * 100_000)
    assert completions_by(path, queries) is None


def test_a_killed_run_asks_only_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    language_model = tiny_model()
    whole = complete(language_model, QUESTIONS, tmp_path / "whole.jsonl", max_new_tokens=8)
    asked: list[int] = []

    def stops(model: object, prompts: list[list[int]], n: int) -> list[str]:
        asked.append(len(prompts))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return greedy(language_model, prompts, n)

    monkeypatch.setattr(module, "_BATCH", 2)
    monkeypatch.setattr(module, "greedy", stops)
    with pytest.raises(KeyboardInterrupt):
        complete(language_model, QUESTIONS, tmp_path / "q.jsonl", max_new_tokens=8)
    assert not (tmp_path / "q.jsonl").exists()
    with (tmp_path / "q.jsonl.partial" / "completions.jsonl").open("a") as file:
        file.write('["q8", "cut o')
    with pytest.raises(StoreError, match="other arguments"):
        complete(language_model, QUESTIONS, tmp_path / "q.jsonl", max_new_tokens=9)
    done = complete(language_model, QUESTIONS, tmp_path / "q.jsonl", max_new_tokens=8)
    assert done == whole
    assert sum(asked[3:]) == len(QUESTIONS) - 4


def test_right_and_wrong_ones_are_chosen_by_task() -> None:
    marked = [
        Query(f"q{n}", "ab"[n % 2], "factual", "p", "c", correct=(True, False, None)[n % 3])
        for n in range(24)
    ]
    kept = choose(marked, right=2, wrong=1)
    for task in "ab":
        assert [q.correct for q in kept if q.task == task].count(True) == 2
        assert [q.correct for q in kept if q.task == task].count(False) == 1
    assert [q for q in kept if q.correct is None] == [q for q in marked if q.correct is None]
    assert choose(marked, None, None) == marked


def test_only_the_chosen_are_written(tmp_path: Path) -> None:
    language_model = tiny_model()
    whole = complete(language_model, QUESTIONS, tmp_path / "whole.jsonl", max_new_tokens=8)
    done = complete(language_model, QUESTIONS, tmp_path / "q.jsonl", max_new_tokens=8, wrong=1)
    assert read_queries(tmp_path / "q.jsonl") == done.kept == choose(whole.queries, None, 1)
    assert done.queries == whole.queries == whole.kept
    assert len(done.kept) < len(done.queries)
    with pytest.raises(InputError, match="no queries"):
        complete(language_model, QUESTIONS, tmp_path / "none.jsonl", max_new_tokens=8, right=0, wrong=0)
    assert not (tmp_path / "none.jsonl").exists()


def test_the_command(tmp_path: Path) -> None:
    tiny_model_folder = tmp_path / "model"
    language_model = tiny_model()
    language_model.model.save_pretrained(tiny_model_folder)
    language_model.tokenizer.save_pretrained(tiny_model_folder)
    write_queries(QUESTIONS, tmp_path / "questions.jsonl", completed=False)
    with pytest.raises(InputError, match="influence complete"):
        read_queries(tmp_path / "questions.jsonl")
    arguments = [
        "complete", str(tmp_path / "questions.jsonl"), "--model", str(tiny_model_folder),
        "--out", str(tmp_path / "q.jsonl"), "--max-new-tokens", "8", "--wrong", "2",
    ]  # fmt: skip
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert "right" in result.output
    queries = read_queries(tmp_path / "q.jsonl")
    assert sum(query.correct is False for query in queries) <= 4
    assert "Already there" in CliRunner().invoke(cli, arguments, catch_exceptions=False).output
