"""Query sets: what is refused and how it is said; the ready sets and what they promise."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import influence.ready
from influence.data import queries as module
from influence.data.miniworld import ready_query_sets
from influence.data.queries import read_queries, write_queries
from influence.errors import InputError
from influence.ready import ready_names
from influence.types import Query, Step

GOOD = {"id": "q1", "task": "slopes", "group": "reasoning", "prompt": "2 + 2?", "completion": " 4"}


def write_lines(tmp_path: Path, *records: object) -> Path:
    path = tmp_path / "q.jsonl"
    path.write_text(
        "".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in records), encoding="utf-8"
    )
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_queries(path)
    return str(error.value)


def test_reads_every_field(tmp_path: Path) -> None:
    full = {**GOOD, "answer": "4", "steps": [{"text": "2 + 2 = 4", "keywords": ["2+2=4"]}, {"text": "so 4"}]}
    full |= {"keywords": ["4", "four"], "correct": True, "gold": ["d1"]}
    path = write_lines(tmp_path, "\n", full, "   \n", {**GOOD, "id": "q2", "correct": None}, "\n")
    first, second = read_queries(path)
    assert first == Query(
        **GOOD,  # type: ignore[arg-type]
        answer="4",
        steps=(Step("2 + 2 = 4", ("2+2=4",)), Step("so 4")),
        keywords=("4", "four"),
        correct=True,
        gold=("d1",),
    )
    assert second == replace(first, id="q2", answer="", steps=(), keywords=(), correct=None, gold=())


def test_accepts_windows_files(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n")
    assert read_queries(str(path))[0].id == "q1"


@pytest.mark.parametrize("field", ["prompt", "completion"])
def test_missing_field_is_named_with_its_line(tmp_path: Path, field: str) -> None:
    message = refused(
        write_lines(tmp_path, {**GOOD, "id": "q0"}, {k: v for k, v in GOOD.items() if k != field})
    )
    assert f"q.jsonl:2: the field '{field}' is missing." in message


@pytest.mark.parametrize("field", ["id", "prompt", "completion"])
@pytest.mark.parametrize("blank", ["", " \n\t"])
def test_blank_text_is_refused(tmp_path: Path, field: str, blank: str) -> None:
    assert f"q.jsonl:1: the {field} is empty." in refused(write_lines(tmp_path, {**GOOD, field: blank}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"promt": "x"}, "Did you mean 'prompt'?"),
        ({"keyword": []}, "Did you mean 'keywords'?"),
        ({"zzz": 1}, "Known are id, task, group"),
        ({"steps": [{"text": "a", "keyword": []}]}, "Did you mean 'keywords'?"),
        ({"group": 3}, "group must be a text"),
        ({"contrast": 3}, "contrast must be a text"),
        ({"text": "t"}, "text and prompt do not go together"),
        ({"messages": [{"role": "user"}]}, "messages and prompt do not go together"),
        ({"id": 7}, "id must be a text.\n  found: 7"),
        ({"prompt": None}, "the field 'prompt' is missing"),
        ({"answer": 4}, "answer must be a text.\n  found: 4"),
        ({"correct": "yes"}, 'correct must be true, false or null.\n  found: "yes"'),
        ({"correct": 1}, "correct must be true, false or null.\n  found: 1"),
        ({"keywords": "4"}, "keywords must be a list"),
        ({"keywords": ["4", 4]}, "keywords[1] must be a text"),
        ({"keywords": [""]}, "keywords[0] is empty"),
        ({"gold": [12]}, "gold[0] must be a text"),
        ({"steps": ["2 + 2"]}, "steps[0] must be an object"),
        ({"steps": [{"keywords": ["a"]}]}, "steps[0] must be an object"),
        ({"steps": [{"text": "a", "keywords": "a"}]}, "steps[0].keywords must be a list"),
        ({"prompt": "half a pair: \ud800"}, "prompt is not valid Unicode"),
    ],
)
def test_bad_value_is_named_with_its_line(tmp_path: Path, change: dict[str, object], said: str) -> None:
    message = refused(write_lines(tmp_path, {**GOOD, "id": "q0"}, {**GOOD, **change}))
    assert "q.jsonl:2: " in message
    assert said in message


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "q1",\n', "not valid JSON"),
        ("[1, 2]\n", "a record must be a JSON object"),
        ("[" * 100_000 + "\n", "not valid JSON"),
        ('{"id": "a", "id": "b"}\n', "the field 'id' stands twice"),
    ],
)
def test_bad_json_is_refused(tmp_path: Path, line: str, said: str) -> None:
    message = refused(write_lines(tmp_path, GOOD, line))
    assert "q.jsonl:2: " in message
    assert said in message


def test_a_list_over_several_lines_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps([GOOD], indent=2))
    assert "Write each record on one line" in refused(path)


def test_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b'\n{"id": "\xff"}\n')
    assert "q.jsonl:2: not UTF-8" in refused(path)


def test_duplicate_id_names_both_lines(tmp_path: Path) -> None:
    message = refused(write_lines(tmp_path, GOOD, {**GOOD, "id": "q2"}, GOOD))
    assert "q.jsonl:3: the id 'q1' is taken." in message
    assert "q.jsonl:1" in message


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    assert "holds no queries" in refused(write_lines(tmp_path, text))


def test_unknown_source_lists_the_ready_sets(tmp_path: Path) -> None:
    message = refused(tmp_path / "nowhere.jsonl")
    assert "nowhere.jsonl" in message
    assert "arithmetic, controls, factual, linear, slopes" in message
    with pytest.raises(InputError, match="Did you mean 'slopes'"):
        read_queries("slope")
    with pytest.raises(InputError, match="is a folder"):
        read_queries(tmp_path)


def test_a_path_comes_before_a_ready_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(read_queries("slopes")) == len(read_queries("slopes.jsonl")) == 20
    (tmp_path / "slopes").mkdir()
    assert len(read_queries("slopes")) == 20
    write_queries([Query(**GOOD)], tmp_path / "slopes.jsonl")  # type: ignore[arg-type]
    assert [query.id for query in read_queries("slopes.jsonl")] == ["q1"]


def test_ready_sets_are_found_in_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "influence"
    shutil.copytree(Path(module.__file__).parents[2] / "queries", package / "ready" / "queries")
    (tmp_path / "site-packages" / "queries").mkdir()  # a foreign package of that name
    monkeypatch.setattr(influence.ready, "__file__", str(package / "ready.py"))
    assert ready_names("queries") == ["arithmetic", "controls", "factual", "linear", "slopes"]
    shutil.rmtree(package / "ready")
    assert ready_names("queries") == []


def test_write_refuses_what_read_would(tmp_path: Path) -> None:
    good = Query(**GOOD)  # type: ignore[arg-type]
    path = tmp_path / "new" / "q.jsonl"
    for bad, said in [
        ([replace(good, completion=" ")], "query 1: the completion is empty"),
        ([good, good], "query 2: the id 'q1' is taken"),
        ([], "no queries to write"),
        ([replace(good, correct="yes")], "correct must be"),  # type: ignore[arg-type]
    ]:
        with pytest.raises(InputError, match=said):
            write_queries(bad, path)
        assert not path.exists()
    write_queries([good], path)
    assert read_queries(path) == [good]
    assert [entry.name for entry in path.parent.iterdir()] == ["q.jsonl"]


# -- the ready sets


def test_committed_sets_are_what_the_generator_writes(tmp_path: Path) -> None:
    sets = ready_query_sets()
    assert sorted(sets) == ready_names("queries")
    for name, made in sets.items():
        write_queries(made, tmp_path / f"{name}.jsonl")
        committed = Path(module.__file__).parents[2] / "queries" / f"{name}.jsonl"
        assert (tmp_path / f"{name}.jsonl").read_bytes() == committed.read_bytes()


def test_ready_sets_have_their_sizes_and_groups() -> None:
    count = Counter(
        (q.task, q.group, q.correct) for name in ready_names("queries") for q in read_queries(name)
    )
    assert count == {
        ("slopes", "reasoning", True): 20,
        ("arithmetic", "reasoning", True): 20,
        ("linear", "reasoning", True): 20,
        ("factual", "factual", True): 20,
        ("factual", "factual", False): 20,
        ("factual-control", "control", True): 10,
        ("reasoning-control", "control", True): 10,
    }
    queries = [query for name in ready_names("queries") for query in read_queries(name)]
    assert len({q.id for q in queries}) == len({q.prompt for q in queries}) == 120


@pytest.mark.parametrize("name", ["slopes", "arithmetic", "linear"])
def test_reasoning_queries_are_worked_right(name: str) -> None:
    for query in read_queries(name):
        question, blank, hint = query.prompt.split("\n")
        assert (blank, hint) == ("", "Think step-by-step.")
        assert query.completion.startswith("\n")
        assert query.completion.rstrip(".").endswith(f" {query.answer}")
        for step in query.steps:
            assert step.text in query.completion
            left, right = step.text.split(" = ")
            assert eval(left) == int(right)
            assert step.text in step.keywords
            assert len(set(step.keywords)) == len(step.keywords) >= 4
        assert check_question(name, question, int(query.answer))


def check_question(name: str, question: str, answer: int) -> bool:
    """The answer is right and every number lies in the range of the design."""
    import re

    numbers = [int(n) for n in re.findall(r"\d+", question)]
    if name == "slopes":
        x1, y1, x2, y2 = numbers
        exact = f"What is the slope of the line passing through the points ({x1}, {y1}) and ({x2}, {y2})?"
        return question == exact and max(numbers) <= 100 and y2 - y1 == answer * (x2 - x1) and x1 != x2
    if name == "arithmetic":
        a, b, c = numbers
        inner = question.removeprefix("Calculate the answer: ")
        return max(a, b) <= 10 and 2 <= c <= 17 and answer > 0 and eval(inner) == answer
    a, b, c = numbers
    return (
        question == f"Solve for x: {a}x + {b} = {c}"
        and max(numbers) <= 100
        and a * answer + b == c
        and answer > 0
    )


def test_factual_queries_are_right_or_wrong_as_they_say() -> None:
    for query in read_queries("factual"):
        assert query.keywords
        assert query.correct == any(keyword in query.completion for keyword in query.keywords)
        assert any(keyword in query.answer for keyword in query.keywords)
        assert len(query.gold) in (0, 1, 2, 5, 20)


def test_wrong_completions_are_about_facts_told_as_often() -> None:
    told = {True: [], False: []}  # type: dict[bool, list[int]]
    for query in read_queries("factual"):
        told[bool(query.correct)].append(len(query.gold))
    assert sorted(told[True]) == sorted(told[False]) == sorted([0, 1, 2, 5, 20] * 4)


def test_controls_hold_their_answer_in_the_prompt() -> None:
    for query in read_queries("controls"):
        assert query.answer in query.prompt
        assert query.answer in query.completion
        assert query.prompt.endswith("\n\nThink step-by-step.") == (query.task == "reasoning-control")


def test_a_prompt_with_its_completion_is_enough_and_a_group_may_be_any_word(tmp_path: Path) -> None:
    least = {"prompt": "a", "completion": "b"}
    first, second = read_queries(write_lines(tmp_path, least, {**least, "group": "refusals", "task": "x"}))
    assert (first.id, first.task, first.group) == ("query-1", "query", "other")
    assert (second.id, second.task, second.group) == ("query-2", "x", "refusals")


CHAT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def test_chats_texts_and_contrasts_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = write_lines(tmp_path, {"messages": CHAT}, {"text": "all of it"}, {**GOOD, "contrast": " 5"})
    queries = read_queries(path)
    chat, text, contrast = queries
    assert (chat.prompt, chat.completion, chat.messages) == ("a", "b", tuple(CHAT[:1]))
    assert (text.prompt, text.completion) == ("", "all of it")
    assert contrast.contrast == " 5"
    write_queries(queries, tmp_path / "again.jsonl")
    assert read_queries(tmp_path / "again.jsonl") == queries
    (question,) = read_queries(write_lines(tmp_path, {"messages": CHAT[:1]}), completed=False)
    assert (question.completion, question.messages) == ("", tuple(CHAT[:1]))
    write_queries([question], tmp_path / "questions.jsonl", completed=False)
    assert read_queries(tmp_path / "questions.jsonl", completed=False) == [question]


@pytest.mark.parametrize(
    "messages", [[], CHAT[1:], CHAT[:1], "a", [{"content": "a"}], [{"role": "user", "content": 3}]]
)
def test_messages_that_are_no_chat_with_an_answer_are_refused(tmp_path: Path, messages: object) -> None:
    assert "q.jsonl:1: messages" in refused(write_lines(tmp_path, {"messages": messages}))
