"""Tasks to distil on: what is made has the published sizes and no overlap; what is read is read as published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from influence.data.tasks.makers import biased, coin_flip, gsm8k, judging, last_letter
from influence.data.tasks.named import MADE, named_task
from influence.data.tasks.records import own_task, parse_fields
from influence.data.tasks.task import Example, Task, gold_of
from influence.errors import InputError


def write_lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_last_letter_has_the_published_sizes_and_no_word_twice() -> None:
    task = last_letter.last_letter(3)
    words = [
        word for items in task.splits.values() for item in items for word in item.fields["words"].split()
    ]
    assert {split: len(items) for split, items in task.splits.items()} == dict.fromkeys(
        ("train", "valid", "test"), 200
    )
    assert len(words) == len(set(words)) == 1200
    item = task.split("test")[0]
    first, second = item.fields["words"].split()
    assert item.answer == first[-1] + second[-1]
    assert task.right(item, task.read(item, f'The answer is "{item.answer}".'))


def test_more_pairs_than_words_use_words_again_but_not_in_two_splits() -> None:
    task = last_letter.last_letter(0, {"train": 3000, "test": 100})
    words = {
        split: {w for item in items for w in item.fields["words"].split()}
        for split, items in task.splits.items()
    }
    assert not words["train"] & words["test"]
    assert len({item.input for item in task.split("train")}) == 3000


def test_coin_flip_has_the_published_sizes_and_right_answers() -> None:
    task = coin_flip.coin_flip(1)
    assert [len(task.split(split)) for split in ("train", "valid", "test")] == [20_000, 3_330, 1_330]
    for item in task.split("test"):
        flips = item.input.count(" flips the coin")
        assert item.input.count("does not flip") == 2 - flips
        assert item.answer == ("no" if flips == 1 else "yes")
    assert 0.45 < sum(item.answer == "yes" for item in task.split("train")) / 20_000 < 0.55


@pytest.mark.parametrize("name", MADE)
def test_same_seed_same_task(name: str) -> None:
    one, same, other = (named_task(name, seed=seed, sizes={"train": 20, "test": 10}) for seed in (0, 0, 1))
    assert one == same
    assert one.split("train") != other.split("train")


def test_published_files_of_made_tasks(tmp_path: Path) -> None:
    letters = tmp_path / "letters.json"
    letters.write_text(json.dumps([{"question": 'Letters of "Ada Bob"', "answer": "ab"}] * 1))
    (item,) = last_letter.from_file(letters)
    assert (item.fields["words"], item.answer) == ("Ada Bob", "ab")
    coin = tmp_path / "coin.json"
    coin.write_text(json.dumps({"examples": [{"inputs": " Q: A coin.  Is it? ", "targets": "no"}]}))
    (item,) = coin_flip.from_file(coin)
    assert (item.input, item.answer) == ("A coin. Is it?", "no")


def questions(path: Path, count: int = 40) -> Path:
    records = [
        {"question": f"What is {n}?", "answer": f"right {n}", "choices": [f"wrong {n}", f"right {n}"]}
        for n in range(count)
    ]
    return write_lines(path, records)


def test_biased_questions_name_a_wrong_choice_and_the_unbiased_ones_none(tmp_path: Path) -> None:
    task = biased.biased(questions(tmp_path / "q.jsonl"), sizes={"train": 20, "biased": 10, "unbiased": 5})
    test = task.split("test")
    assert [item.fields["stance"] for item in test] == ["wrong"] * 10 + ["none"] * 5
    for item in test[:10]:
        assert item.fields["wrong"] in item.input
        assert item.answer is not None
        assert item.answer not in item.input
        assert task.read(item, f"You say {item.fields['wrong']}. The answer is {item.answer}.") == item.answer
    for item in test[10:]:
        assert item.input == item.fields["question"]
    assert {item.fields["stance"] for item in task.split("train")} == {"wrong", "against", "none"}


def test_sycophancy_eval_format(tmp_path: Path) -> None:
    record = {
        "prompt": [{"type": "human", "content": "Who? I think the answer is Bo."}],
        "base": {
            "question": "Who?",
            "correct_answer": "Al",
            "incorrect_answer": "Bo",
            "answer": ["Al", "Alan"],
        },
    }
    (item,) = biased.from_file(write_lines(tmp_path / "a.jsonl", [record]))
    task = Task("biased", "option", {"test": (item,)})
    assert task.right(item, task.read(item, "It was Alan."))
    assert not task.right(item, task.read(item, "It was Bo."))
    assert task.read(item, "Al or Bo") is None


def test_pairs_and_their_swap(tmp_path: Path) -> None:
    pairs = [
        {"instruction": "Say hi", "response_a": "hi", "response_b": "bye", "label": 1},
        {"instruction": "Say ho", "response_a": "hi", "response_b": "ho", "annotators": [2, 2, 1]},
        {"instruction": "Say he", "response_a": "hi", "response_b": "ho", "annotators": [0, 2, 1]},
        {"instruction": "Say ha", "response_a": "hi", "response_b": "ha", "winner": "model_b"},
    ]
    items = judging.from_file(write_lines(tmp_path / "p.jsonl", pairs))
    assert [item.answer for item in items] == ["A", "B", "B"]
    turned = judging.swapped(items[0])
    assert (turned.answer, turned.fields["response_a"]) == ("B", "bye")
    assert judging.swapped(turned) == items[0]
    assert judging.turned_back("A") == "B"


def test_ranked_replies_become_pairs_of_neighbours(tmp_path: Path) -> None:
    replies = [{"text": f"reply {n}", "rank": n} for n in (2, 0, 1)]
    items = judging.from_file(write_lines(tmp_path / "t.jsonl", [{"prompt": "Q", "replies_ranked": replies}]))
    better = [item.fields["response_a" if item.answer == "A" else "response_b"] for item in items]
    assert better == ["reply 0", "reply 1"]


def test_gsm8k(tmp_path: Path) -> None:
    record = {"question": "How many?", "answer": "She has 2*600=<<2*600=1200>>1200.\n#### 1,200"}
    (item,) = gsm8k.read_gsm8k(write_lines(tmp_path / "g.jsonl", [record]))
    assert (item.answer, item.chain, item.fields["solution"][:3]) == ("1,200", "<<2*600=1200>>", "She")


def test_own_records_through_a_map_of_fields(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "own.jsonl", [{"q": f"Q{n}", "gold": n, "hint": "h"} for n in range(20)])
    task = own_task(path, "number", parse_fields(["input=q", "answer=gold", "opinion=hint"]))
    assert {split: len(items) for split, items in task.splits.items()} == {"train": 16, "valid": 2, "test": 2}
    item = task.split("test")[0]
    assert item.fields == {"opinion": "h"}
    assert task.right(item, item.answer)
    without = own_task(path, "number", parse_fields(["input=q"]))
    assert without.right(without.split("test")[0], "3") is None


@pytest.mark.parametrize(
    ("record", "fields", "message"),
    [
        ({"q": "?"}, {}, "'input'"),
        ({"q": " "}, {"input": "q"}, "'q'"),
        ({"input": "?"}, {"answer": "gold"}, "'gold'"),
        ({"input": "?", "choices": "ab"}, {}, "choices"),
    ],
)
def test_a_missing_field_is_named(
    tmp_path: Path, record: dict[str, Any], fields: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        own_task(write_lines(tmp_path / "own.jsonl", [record]), "text", fields)


def test_other_bad_input(tmp_path: Path) -> None:
    item = Example("1", "same")
    with pytest.raises(InputError, match="overlap"):
        Task("own", "text", {"train": (item,), "test": (item,)})
    with pytest.raises(InputError, match="the id"):
        Task("own", "text", {"train": (item, Example("1", "other"))})
    for arguments in (("poker",), ("gsm8k",)):
        with pytest.raises(InputError):
            named_task(*arguments)
    with pytest.raises(InputError, match="no file"):
        named_task("biased", data=tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="which response"):
        judging.from_file(write_lines(tmp_path / "p.jsonl", [{"question": "?", "label": "x"}]))
    with pytest.raises(InputError, match="no map"):
        parse_fields(["input"])


SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="the reference data sets are not beside the checkout")
def test_published_data(tmp_path: Path) -> None:
    assert len(coin_flip.from_file(SHARED / "rar" / "raw_data" / "coin_val.json")) == 1333
    assert len(last_letter.from_file(SHARED / "rar" / "data" / "last_letter_concatenation_gpt-4.json")) == 219
    task = named_task("gsm8k", data=SHARED / "gsm8k")
    assert [len(task.split(split)) for split in ("train", "test")] == [7473, 1319]
    trivia = (SHARED / "open_trivia" / "questions.jsonl").read_text(encoding="utf-8").splitlines()[:8000]
    (tmp_path / "trivia.jsonl").write_text("\n".join(trivia), encoding="utf-8")
    task = named_task("biased", data=tmp_path / "trivia.jsonl")
    assert [len(task.split(split)) for split in ("train", "test")] == [6668, 400]
    assert len(named_task("biased", data=SHARED / "truthfulqa" / "TruthfulQA.csv").split("test")) > 30
    assert len(biased.questions_of(SHARED / "truthfulqa" / "mc_task.json")) == 790
    files = {"llmbar": 885, "pandalm_testset": 600, "oasst_en_100_first_turn": 200}
    for name, least in files.items():
        assert len(judging.from_file(SHARED / "judge_pairs" / f"{name}.jsonl")) >= least
    solutions = SHARED / "gsm8k" / "example_model_solutions.jsonl"
    for line in solutions.read_text(encoding="utf-8").splitlines()[:300]:
        record = json.loads(line)
        item = Example("1", record["question"], answer=record["ground_truth"])
        task = Task("gsm8k", "number", {"test": (item,)})
        for model in ("6b_finetuning", "175b_verification"):
            said = record[model]
            assert task.right(item, task.read(item, said["solution"])) == said["is_correct"]


@pytest.mark.parametrize(
    ("kind", "example", "gold"),
    [
        ("number", Example("1", "?", answer="1,080"), "1080"),
        ("number", Example("1", "?", answer="$18"), "18"),
        ("number", Example("1", "?", answer="18.0"), "18"),
        ("option", Example("1", "?", answer="-3", choices=("-3", "3")), "-3"),
        ("option", Example("1", "?", answer="C", choices=("C++", "C", "Python")), "C"),
        ("option", Example("1", "?", answer="x < 3", choices=("x > 3", "x < 3")), "x < 3"),
        ("option", Example("1", "?", answer="relaxation", choices=("Relaxation", "Death")), "Relaxation"),
        ("option", Example("1", "?", answer="B", choices=("Relaxation", "Death")), "Death"),
        ("letters", Example("1", "?", answer="no", fields={"words": "in no"}), "no"),
    ],
)
def test_a_gold_answer_is_read_as_what_it_is(kind: Any, example: Example, gold: str) -> None:
    task = Task("own", kind, {"test": (example,)})
    assert gold_of(kind, example) == gold
    assert task.right(example, gold)
    assert not task.right(example, None)


def test_a_gold_answer_that_cannot_be_read_stops_the_task_with_its_id() -> None:
    good, bad = Example("good-1", "?", answer="18"), Example("bad-7", "!", answer="18-20")
    with pytest.raises(InputError, match="'bad-7' in the test split"):
        Task("own", "number", {"test": (good, bad)})
