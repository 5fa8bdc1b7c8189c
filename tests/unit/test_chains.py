"""Tasks: made files are those of the published format, own files are read, wrong ones are refused with a reason."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from influence.data.tasks import folder as folder_module
from influence.data.tasks.folder import read_task, write_task
from influence.data.tasks.makers.gsm8k import GSM8K, read_gsm8k
from influence.data.tasks.makers.multiplication import Multiplication, multiplication_lines
from influence.data.tasks.makers.parity import Parity, parity_lines
from influence.data.tasks.makers.reachability import Graphs, Reachability, reachability_lines
from influence.data.tasks.task import steps
from influence.errors import InputError

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
shared_data = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not (DATA / "icot").is_dir(), reason="the released files are not beside the checkout"),
]


def write(folder: Path, **files: str | bytes) -> Path:
    """A folder with files: `train_txt` is train.txt."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        data = text if isinstance(text, bytes) else text.encode()
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


def operands(line: str) -> tuple[int, int]:
    a, b = (int(number.replace(" ", "")[::-1]) for number in line.split("||")[0].split(" * "))
    return a, b


# -- the published format


def test_published_example() -> None:
    a, b = np.array([2967], np.uint64), np.array([6361], np.uint64)
    assert multiplication_lines(a, b, 4).decode() == (
        "7 6 9 2 * 1 6 3 6||7 6 9 2 0 + 0 2 0 8 7 1 ( 7 8 9 0 8 1 ) + 0 0 1 0 9 8 0 ( 7 8 0 1 7 0 1 ) "
        "+ 0 0 0 2 0 8 7 1 #### 7 8 0 3 7 8 8 1\n"
    )


@pytest.mark.parametrize(
    ("digits", "chain"), [(2, 8), (3, 24), (4, 46), (5, 74), (7, 148), (9, 246), (11, 368)]
)
def test_published_lengths(digits: int, chain: int) -> None:
    """What a vocabulary of digits and signs counts: signs of the chain are counted, as in the paper's table."""
    one = np.array([10**digits - 1], np.uint64)
    question, rest = multiplication_lines(one, one, digits).decode().split("||")
    assert len(question.split()) == 2 * digits + 1
    assert len(rest.split(" #### ")[0].split()) == chain
    assert len(rest.split(" #### ")[1].split()) == 2 * digits


@pytest.mark.parametrize("split", ["valid", "test_bigbench"])
@pytest.mark.parametrize("digits", [pytest.param(digits, marks=shared_data) for digits in (4, 5, 7, 9, 11)])
def test_released_multiplication_files_are_made_again(digits: int, split: str) -> None:
    released = (DATA / "icot" / "mult" / f"{digits}_by_{digits}_{split}.txt").read_bytes()
    problems = np.array([operands(line) for line in released.decode().splitlines()], np.uint64)
    assert len(problems) == 1000
    assert multiplication_lines(problems[:, 0], problems[:, 1], digits) == released


@pytest.mark.parametrize(("ours", "released"), [pytest.param("test", "test", marks=shared_data)])
def test_released_gsm8k_test_file_is_made_again(ours: str, released: str) -> None:
    examples = read_gsm8k(DATA / "gsm8k" / f"{ours}.jsonl")
    lines = "".join(example.line() + "\n" for example in examples)
    assert lines.encode() == (DATA / "icot" / "gsm8k" / f"{released}.txt").read_bytes()


@pytest.mark.parametrize("name", [pytest.param("valid", marks=shared_data)])
def test_released_gsm8k_validation_lines_are_made_again(name: str) -> None:
    ours = {example.line() for example in read_gsm8k(DATA / "gsm8k" / "train.jsonl")}
    released = (DATA / "icot" / "gsm8k" / f"{name}.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert len(released) == 500
    assert set(released) <= ours


# -- small tasks, by hand


def test_parity_by_hand() -> None:
    inputs = np.array([[0, 1, 1, 0], [1, 1, 0, 1]], np.uint8).T
    assert parity_lines(inputs, [0, 1, 3]) == b"0 1 1 0||0 1 #### 1\n1 1 0 1||1 0 #### 1\n"


def test_parity_of_many_decimal_digits_does_not_overflow() -> None:
    line = parity_lines(np.full((36, 1), 9, np.uint8), list(range(36)), 10).decode()
    assert line.endswith("#### 4\n")


def test_every_small_graph_is_asked_about_exactly_once(tmp_path: Path) -> None:
    """Two edges between four nodes and one of two roots: 4! questions, whatever the order of edges and nodes."""
    task = write_task(Reachability(1, 4, train=20, valid=2, test=2), tmp_path / "r")
    questions = set()
    for split in task.sizes:
        for example in task.split(split):
            graph, question = example.input.split(" ? ")
            root, two = question.split(" : ")
            questions.add((frozenset(graph.split(" , ")), root, frozenset(two.split())))
    assert len(questions) == 24


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    """Written down, so that another version of numpy or of the program cannot change a task unseen."""
    found = {}
    for maker in (Multiplication(4, 20, 5, 5), Parity(9, 4, 2, 20, 5, 5), Reachability(2, 8, 20, 5, 5)):
        task = write_task(maker, tmp_path / type(maker).__name__)
        lines = b"".join((task.folder / f"{split}.txt").read_bytes() for split in task.sizes)
        found[type(maker).__name__] = hashlib.sha256(lines).hexdigest()[:12]
    assert found == {
        "Multiplication": "f1535e5c4bae",
        "Parity": "6a78c4eade09",
        "Reachability": "32de38259034",
    }


def test_seeds_differ(tmp_path: Path) -> None:
    tasks = [write_task(Multiplication(6, 20, 5, 5, seed), tmp_path / str(seed)) for seed in (0, 1)]
    problems = [{example.input for example in task.split("train")} for task in tasks]
    assert not problems[0] & problems[1]


# -- folders


def test_a_made_task_says_what_made_it_and_reads_back(tmp_path: Path) -> None:
    task = write_task(Multiplication(3, 30, 5, 6, 2, "tree"), tmp_path / "m")
    assert (task.name, dict(task.sizes)) == ("multiplication", {"train": 30, "valid": 5, "test": 6})
    assert task.settings == {"digits": 3, "train": 30, "valid": 5, "test": 6, "seed": 2, "chain": "tree"}
    assert read_task(tmp_path / "m") == task
    example = task.split("test")[5]
    assert [example.chain[a:b] for a, b in steps(example.chain, task.step_pattern)][-1].startswith("+ ")
    assert [path.name for path in tmp_path.iterdir()] == ["m"], "nothing else is left"


def test_the_same_task_again_is_kept_and_another_refused(tmp_path: Path) -> None:
    write_task(Parity(8, 4, 2, 20, 5, 5), tmp_path / "p")
    before = (tmp_path / "p" / "train.txt").stat().st_mtime_ns
    assert write_task(Parity(8, 4, 2, 20, 5, 5), tmp_path / "p").sizes["train"] == 20
    assert (tmp_path / "p" / "train.txt").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="not this task"):
        write_task(Parity(8, 4, 2, 20, 5, 5, seed=1), tmp_path / "p")
    with (tmp_path / "p" / "train.txt").open("a") as file:
        file.write("0 0||0 #### 0\n")
    with pytest.raises(InputError, match="changed"):
        write_task(Parity(8, 4, 2, 20, 5, 5), tmp_path / "p")


def test_what_a_killed_command_left_is_no_task_and_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "p.part", train_txt="half a li", other_txt="x")
    assert write_task(Parity(8, 4, 2, 20, 5, 5), tmp_path / "p").sizes["train"] == 20
    assert not (tmp_path / "p.part").exists()


def test_own_text_and_jsonl_files(tmp_path: Path) -> None:
    rows = [{"input": "a\nb||c", "chain": "", "answer": "#### é"}]
    folder = write(
        tmp_path / "own",
        train_txt="What?||one step #### 1\r\nWho||  #### x #\n",
        valid_jsonl="\n".join(json.dumps(row) for row in rows),
    )
    task = read_task(folder)
    assert (task.name, task.step_pattern, dict(task.sizes)) == ("own", None, {"train": 2, "valid": 1})
    assert [example.line() for example in task.split("train")] == [
        "What?||one step #### 1",
        "Who||  #### x #",
    ]
    assert task.split("valid")[0].input == "a\nb||c"
    with pytest.raises(InputError, match="no test split"):
        task.split("test")


def test_own_steps(tmp_path: Path) -> None:
    about = json.dumps({"name": "mine", "step_pattern": r"[^.]+\."})
    folder = write(tmp_path / "own", train_txt="q||One. Two is. #### 2\n", task_json=about)
    task = read_task(folder)
    chain = task.split("train")[0].chain
    assert [chain[start:end] for start, end in steps(chain, task.step_pattern)] == ["One.", "Two is."]
    with pytest.raises(InputError, match="leaves out"):
        steps("One. Two", task.step_pattern)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no separators", r"train.txt:2 is not an example"),
        ("q||chain ####answer", r"train.txt:2 is not an example"),
        ("q||a||b #### c", r"train.txt:2 is not an example"),
        ("q||a #### b #### c", r"train.txt:2 is not an example"),
        ("", r"train.txt:2 is not an example"),
        (" ||a #### b", r"train.txt:2 has an empty input"),
        ("q||a #### ", r"train.txt:2 has an empty answer"),
        (b"q||\xff #### b", r"train.txt:2 is not UTF-8"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str | bytes, message: str) -> None:
    data = line if isinstance(line, bytes) else line.encode()
    folder = write(tmp_path / "own", train_txt=b"q1||a #### b\n" + data + b"\nq3||a #### b\n")
    with pytest.raises(InputError, match=message) as error:
        read_task(folder)
    assert error.value.fix


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "is not a task"),
        ({"train_txt": ""}, "train split of the task .* is empty"),
        (
            {"train_txt": "q||a #### b\n", "test_txt": "q|| #### c\n"},
            "overlap: example 1 of the train split",
        ),
        ({"train_txt": "q||a #### b\n", "train_jsonl": ""}, "two files"),
        ({"train_jsonl": '{"input": "q"}'}, "train.jsonl:1 lacks"),
        ({"train_jsonl": '{"input": "q", "chain": 3, "answer": "4"}'}, "train.jsonl:1 lacks"),
        ({"train_jsonl": "nothing"}, "train.jsonl:1 is not JSON"),
        ({"train_jsonl": "[" * 100_000}, "train.jsonl:1 is not JSON"),
        ({"train_txt": "q||a #### b\n", "task_json": "{}"}, "does not describe"),
        ({"train_txt": "q||a #### b\n", "task_json": "[]"}, "does not describe"),
        (
            {"train_txt": "q||a #### b\n", "task_json": '{"name": "x", "step_pattern": "("}'},
            "does not describe",
        ),
        ({"train_txt": "q||a #### b\n", "task_json": '{"name": "x", "settings": 3}'}, "does not describe"),
    ],
)
def test_a_wrong_folder_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_task(write(tmp_path / "own", **files))


def test_reading_keeps_only_held_out_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training file is checked line by line: examples are not collected."""
    task = write_task(Multiplication(4, 50, 5, 5), tmp_path / "m")
    alive = []
    made = folder_module.from_line

    def counted(line: str, id_: str, where: str) -> object:
        alive.append(where)
        return made(line, id_, where)

    monkeypatch.setattr(folder_module, "from_line", counted)
    next(task.examples("train"))
    assert len(alive) == 1


# -- GSM8K


def gsm8k_row(question: str, *equations: str, answer: str = "18") -> str:
    marks = " so ".join(f"it is <<{equation}>>{equation.split('=')[1]}" for equation in equations)
    return json.dumps({"question": question, "answer": f"{marks}\n#### {answer}"})


def test_gsm8k_draws_and_keeps_order(tmp_path: Path) -> None:
    rows = [gsm8k_row(f"How many,\n {number}?", f"{number}+1={number + 1}") for number in range(30)]
    write(tmp_path, train_jsonl="\n".join([*rows, rows[0]]))
    task = write_task(GSM8K(tmp_path / "train.jsonl", 5, 4), tmp_path / "out")
    held_out = {example.input for split in ("valid", "test") for example in task.split(split)}
    assert len(held_out) == 9
    train = [example.input for example in task.split("train")]
    everything = [f"How many, {number}?" for number in range(30)] + ["How many, 0?"]
    assert train == [question for question in everything if question not in held_out]
    assert task.split("valid")[0].chain.startswith("<<")


def test_gsm8k_sources_in_three_forms(tmp_path: Path) -> None:
    write(
        tmp_path,
        train_jsonl=gsm8k_row("One?", "16-3-4=9", "9*2=18") + "\n" + gsm8k_row("None?", answer="1,000"),
        valid_jsonl=json.dumps({"question": "Two?", "steps": ["<<1+1=2>>", "<<2+1=3>>"], "answer": "3"}),
        test_txt="Three?||<<1+2=3>> #### 3\n",
    )
    maker = GSM8K(tmp_path / "train.jsonl", tmp_path / "valid.jsonl", tmp_path / "test.txt")
    task = write_task(maker, tmp_path / "out")
    lines = [example.line() for split in task.sizes for example in task.split(split)]
    assert lines == [
        "One?||<<16-3-4=9>> <<9*2=18>> #### 18",
        "None?|| #### 1,000",
        "Two?||<<1+1=2>> <<2+1=3>> #### 3",
        "Three?||<<1+2=3>> #### 3",
    ]
    assert task.settings["test"]["file"] == "test.txt"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "train.jsonl:2 is not JSON"),
        ('{"question": "q", "answer": "no mark"}', "train.jsonl:2 is no GSM8K example"),
        ('{"question": "q", "answer": 3}', "train.jsonl:2 is no GSM8K example"),
        ("[]", "train.jsonl:2 is not a JSON object"),
        ('{"question": "q||r", "answer": "#### 3"}', "train.jsonl:2 has a separator"),
        ('{"question": "q", "steps": ["words"], "answer": "3"}', "train.jsonl:2 has a chain that is not"),
    ],
)
def test_a_wrong_gsm8k_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    write(tmp_path, train_jsonl=gsm8k_row("One?", "1+1=2") + "\n" + line)
    with pytest.raises(InputError, match=message):
        write_task(GSM8K(tmp_path / "train.jsonl", 1, 1), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.part").exists()


def test_gsm8k_files_that_overlap_or_lack(tmp_path: Path) -> None:
    write(tmp_path, train_jsonl="\n".join(gsm8k_row(f"{number}?", "1+1=2") for number in range(6)))
    source = tmp_path / "train.jsonl"
    with pytest.raises(InputError, match="overlap"):
        write_task(GSM8K(source, 1, source), tmp_path / "out")
    with pytest.raises(InputError, match="too few"):
        write_task(GSM8K(source, 3, 3), tmp_path / "out")
    with pytest.raises(InputError, match="no file"):
        write_task(GSM8K(tmp_path / "other.jsonl"), tmp_path / "out")


# -- settings


@pytest.mark.parametrize(
    "make",
    [
        lambda: Multiplication(0),
        lambda: Multiplication(20),
        lambda: Multiplication(1).splits(),
        lambda: Multiplication(2, train=7000).splits(),
        lambda: Parity(1),
        lambda: Parity(200),
        lambda: Parity(8, 9),
        lambda: Parity(8, 4, 11),
        lambda: Parity(8).splits(),
        lambda: Reachability(0, 10),
        lambda: Reachability(4, 9),
        lambda: list(Reachability(1, 4, 5, 30, 5).splits()["valid"][1]),
    ],
)
def test_impossible_settings_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(InputError):
        make()


# -- the page


def test_the_page_shows_what_the_program_makes() -> None:
    """Its Python runs, and its lines are those of their operands, bits and edges."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    (snippet,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    exec(compile(snippet, "tasks.md", "exec"), names)
    assert len(names["spans"]) == 4
    rows, tree, bits, graph, _ = re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    a, b = (np.array([number], np.uint64) for number in operands(rows))
    assert (rows, tree) == (
        multiplication_lines(a, b, 4).decode(),
        multiplication_lines(a, b, 4, "tree").decode(),
    )
    assert bits == parity_lines(np.array([[0], [1], [1], [0]], np.uint8), [0, 1, 3]).decode()
    edges = np.array([[7, 1], [0, 4], [3, 7], [4, 5]])[:, None]
    path = np.array([3, 7, 1])[:, None]
    assert graph == reachability_lines(Graphs(edges, path, np.array([5]), np.array([True])), 1).decode()
