"""The tasks that are made, and the documents chosen from them, are those of the first release, byte for byte.

`golden_tasks.json` has the first 16 digits of a sha256 for each file, made with the release's own code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from influence.data.tasks.document_kinds import choose, running_quantities
from influence.data.tasks.folder import Maker, read_task, write_task
from influence.data.tasks.makers.biased import biased
from influence.data.tasks.makers.coin_flip import coin_flip
from influence.data.tasks.makers.gsm8k import GSM8K, gsm8k
from influence.data.tasks.makers.judging import judging
from influence.data.tasks.makers.last_letter import last_letter
from influence.data.tasks.makers.multiplication import Multiplication
from influence.data.tasks.makers.parity import Parity
from influence.data.tasks.makers.reachability import Reachability
from influence.data.tasks.named import named_task
from influence.data.tasks.task import Task

GOLDEN: dict[str, str] = json.loads((Path(__file__).parent / "golden_tasks.json").read_text())


def sha(text: str | bytes) -> str:
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()[:16]


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files in the formats that tasks are read from."""
    folder = tmp_path_factory.mktemp("sources")
    problems = []
    for n in range(24):
        answer = f"{n + 1:,}" if n % 3 else f"{1000 * n + 7:,}"
        solution = f"She has {n}+1=<<{n}+1={n + 1}>>{n + 1} pens.\n2*3=<<2*3=6>>6\n#### {answer}"
        problems.append({"question": f"Ann has {n} pens and\nbuys one. How many?", "answer": solution})
    write_lines(folder / "gsm8k.jsonl", problems)
    write_lines(
        folder / "steps.jsonl",
        [{"question": "Two?", "steps": ["<<1+1=2>>", "<<2+1=3>>"], "answer": "3"}],
    )
    (folder / "lines.txt").write_text("Three?||<<1+2=3>> #### 3\nFour?|| #### 4\n")
    choices = [
        {
            "question": f"What is {n}?",
            "answer": f"right {n}",
            "choices": [f"wrong {n}", f"right {n}", f"other {n}"],
        }
        for n in range(40)
    ]
    write_lines(folder / "questions.jsonl", choices)
    pairs = [
        {
            "id": f"p{n}",
            "instruction": f"Say {n}",
            "response_a": f"{n}",
            "response_b": f"{n + 1}",
            "label": 1 + n % 2,
        }
        for n in range(20)
    ]
    write_lines(folder / "pairs.jsonl", pairs)
    write_lines(folder / "own.jsonl", [{"q": f"Q{n}", "gold": n, "hint": f"h{n}"} for n in range(20)])
    return folder


MAKERS: dict[str, Callable[[Path], Maker]] = {
    "multiplication": lambda _: Multiplication(4, 20, 5, 5),
    "tree": lambda _: Multiplication(5, 20, 5, 5, 3, "tree"),
    "all of two digits": lambda _: Multiplication(2, None, 50, 50, 1),
    "parity": lambda _: Parity(9, 4, 2, 20, 5, 5),
    "decimal": lambda _: Parity(12, None, 10, 20, 5, 5, 2),
    "reachability": lambda _: Reachability(3, 12, 20, 5, 5),
    "gsm8k drawn": lambda folder: GSM8K(folder / "gsm8k.jsonl", 4, 5, 1),
    "gsm8k files": lambda folder: GSM8K(folder / "gsm8k.jsonl", folder / "steps.jsonl", folder / "lines.txt"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_files_of_a_made_task(name: str, sources: Path, tmp_path: Path) -> None:
    write_task(MAKERS[name](sources), tmp_path / "task")
    about = json.loads((tmp_path / "task" / "task.json").read_text())
    about.pop("version")
    files = {f"{name} {split}": (tmp_path / "task" / f"{split}.txt").read_bytes() for split in about["files"]}
    made = {key: sha(data) for key, data in files.items()} | {f"{name} about": sha(json.dumps(about))}
    assert len(made) == 4
    assert made == {key: GOLDEN[key] for key in made}


TASKS: dict[str, Callable[[Path], Task]] = {
    "last letter": lambda _: last_letter(3, {"train": 30, "valid": 7, "test": 9}),
    "coin flip": lambda _: coin_flip(1, {"train": 30, "test": 9}),
    "biased": lambda folder: biased(
        folder / "questions.jsonl", 2, {"train": 20, "biased": 10, "unbiased": 5}
    ),
    "judging": lambda folder: judging(folder / "pairs.jsonl", 4),
    "asked gsm8k": lambda folder: gsm8k(folder / "gsm8k.jsonl", 5),
    "own": lambda folder: named_task(
        "own",
        data=folder / "own.jsonl",
        kind="number",
        fields={"input": "q", "answer": "gold", "hint": "hint"},
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_examples_of_a_task_that_is_distilled_on(name: str, sources: Path) -> None:
    task = TASKS[name](sources)
    for split in task.splits:
        examples = [
            [
                example.id,
                example.input,
                None if example.answer is None else task.read(example, example.answer),
                list(example.choices),
                dict(example.fields),
            ]
            for example in task.split(split)
        ]
        assert sha(json.dumps(examples)) == GOLDEN[f"{name} {split}"], split


def test_documents_and_quantities(sources: Path, tmp_path: Path) -> None:
    tasks = {
        name: write_task(MAKERS[name](sources), tmp_path / name) for name in ("all of two digits", "parity")
    }
    task = read_task(tmp_path / "all of two digits")
    kinds = ("full chain", "partial chain", "answer only", "distractor", "another task")
    counts = dict(zip(kinds, (20, 20, 20, 10, 10), strict=True))
    pieces = choose(task, task.split("test")[:3], counts=counts, other=tasks["parity"], seed=1)
    chosen = [
        [piece.kind, piece.form, piece.example.line(), piece.origin, piece.part, piece.asked]
        for piece in pieces
    ]
    assert sha(json.dumps(chosen)) == GOLDEN["documents"]
    for name, made in tasks.items():
        values = running_quantities(made, made.split("test"))
        assert (
            sha(json.dumps({key: value.tolist() for key, value in values.items()}))
            == GOLDEN[f"{name} quantities"]
        )
