"""Tasks whose answers have a chain of thought: one example a line, `<input>||<chain> #### <answer>`.

A task is a folder with `train.txt`, `valid.txt` and `test.txt` (or `.jsonl` with input, chain and answer), and
`task.json` where a command made it. An example may have no chain: `<input>|| #### <answer>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from influence.errors import InputError

Split = Literal["train", "valid", "test"]

#: The order in which splits are made, counted and shown.
SPLITS: tuple[Split, ...] = get_args(Split)

#: What stands between the input and the chain, and between the chain and the answer.
INPUT_END = "||"
ANSWER_START = " #### "

#: The file of a folder that says what its examples are.
TASK_FILE = "task.json"

_TEXT_FORM = "One example a line: <input>||<chain> #### <answer>; without a chain: <input>|| #### <answer>."
_JSON_FORM = 'One object a line: {"input": "...", "chain": "...", "answer": "..."}; chain may be "".'


@dataclass(frozen=True, slots=True)
class ChainExample:
    """One example: texts without the separators between them; `chain` may be empty."""

    input: str
    chain: str
    answer: str

    def line(self) -> str:
        """The example as a line of a `.txt` file, without its end."""
        return f"{self.input}{INPUT_END}{self.chain}{ANSWER_START}{self.answer}"


@dataclass(frozen=True)
class Task:
    """A folder of examples.

    Args:
        name: multiplication, gsm8k, parity, reachability or own.
        folder: Where the files are.
        step_pattern: A regular expression whose matches are the steps of a chain; None: the whole chain is one step.
        settings: What made it: digits, seed and so on; empty for own files.
        sizes: How many examples each split has; a split without a file is absent.
    """

    name: str
    folder: Path
    step_pattern: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[Split, int] = field(default_factory=dict)

    def split(self, name: Split) -> list[ChainExample]:
        """All examples of a split, in the order of the file; InputError where the split is missing."""
        return list(self.examples(name))

    def examples(self, name: Split) -> Iterator[ChainExample]:
        """The examples of a split, one at a time."""
        if name not in self.sizes:
            raise InputError(
                f"The task {self.folder} has no {name} split.",
                have=", ".join(self.sizes) or "no split",
                fix=f"Add {name}.txt or {name}.jsonl to the folder.",
            )
        return read_examples(_file_of(self.folder, name))


def read_task(path: str | Path) -> Task:
    """The task in a folder. Every line is checked, and that no input stands in two splits or twice in one.

    Raises:
        InputError: The folder is no task, a line has another format, a split is empty, or splits overlap.
    """
    folder = Path(path)
    splits = [name for name in SPLITS if _candidates(folder, name)]
    if not splits:
        raise InputError(
            f"{folder} is not a task.",
            have="no such folder" if not folder.is_dir() else "no train, valid or test file",
            fix="Make one with `influence data`, or put train.txt, valid.txt and test.txt there. "
            + _TEXT_FORM,
        )
    about = _read_about(folder)
    return Task(
        name=about.get("name", "own"),
        folder=folder,
        step_pattern=about.get("step_pattern"),
        settings=about.get("settings", {}),
        sizes=_check_splits({name: _file_of(folder, name) for name in splits}),
    )


def read_examples(path: Path) -> Iterator[ChainExample]:
    """The examples of one `.txt` or `.jsonl` file; InputError with the line's number where one is wrong."""
    parse = _from_json if path.suffix == ".jsonl" else _from_text
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}:{number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{where} is not UTF-8.", have=str(error), fix="Save the file as UTF-8."
                ) from error
            yield parse(text.rstrip("\r\n"), where)


def steps(chain: str, pattern: str | None) -> list[tuple[int, int]]:
    """Character spans `[(start, end)]` of the steps of a chain, in order; blanks at their ends left out.

    Every character that is not blank is in exactly one step; InputError where the pattern leaves some out.
    """
    spans = [
        match.span() for match in re.finditer(pattern or r"(?s)\S(?:.*\S)?", chain) if match.group().strip()
    ]
    starts = [start for start, _ in spans] + [len(chain)]
    ends = [0] + [end for _, end in spans]
    between = " ".join(chain[end:start] for end, start in zip(ends, starts, strict=True)).strip()
    if between:
        raise InputError(
            f"The step pattern {pattern!r} leaves out part of the chain {chain[:60]!r}.",
            have=between[:60],
            fix="Correct step_pattern in task.json so that its matches cover the chain; null: one step.",
        )
    return [_trimmed(chain, start, end) for start, end in spans]


def _trimmed(chain: str, start: int, end: int) -> tuple[int, int]:
    text = chain[start:end]
    return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())


def _from_text(line: str, where: str) -> ChainExample:
    question, separator, rest = line.partition(INPUT_END)
    chain, mark, answer = rest.rpartition(ANSWER_START)
    if not separator or not mark or INPUT_END in rest or ANSWER_START in chain:
        raise InputError(f"{where} is not an example.", have=_short(line), fix=_TEXT_FORM)
    return _whole(ChainExample(question, chain, answer), where, _TEXT_FORM)


def _from_json(line: str, where: str) -> ChainExample:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON.", have=_short(line), fix=_JSON_FORM) from error
    texts: list[str] = []
    if isinstance(fields, dict):
        texts = [text for name in ("input", "chain", "answer") if isinstance(text := fields.get(name), str)]
    if len(texts) < 3:
        raise InputError(
            f"{where} lacks the text of an input, a chain or an answer.", have=_short(line), fix=_JSON_FORM
        )
    return _whole(ChainExample(*texts), where, _JSON_FORM)


def _whole(example: ChainExample, where: str, form: str) -> ChainExample:
    if not example.input.strip() or not example.answer.strip():
        what = "answer" if example.input.strip() else "input"
        raise InputError(f"{where} has an empty {what}.", have=_short(example.line()), fix=form)
    return example


def _short(text: str) -> str:
    return repr(text[:100]) + ("..." if len(text) > 100 else "")


def _candidates(folder: Path, name: str) -> list[Path]:
    return [path for suffix in (".txt", ".jsonl") if (path := folder / f"{name}{suffix}").is_file()]


def _file_of(folder: Path, name: str) -> Path:
    """The one file of a split."""
    first, *others = _candidates(folder, name)
    if others:
        raise InputError(
            f"The task {folder} has two files for the {name} split.",
            have=", ".join(path.name for path in (first, *others)),
            fix="Remove one of them.",
        )
    return first


def _read_about(folder: Path) -> dict[str, Any]:
    """What `task.json` says, its types checked; nothing where there is none."""
    path = folder / TASK_FILE
    if not path.is_file():
        return {}
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        ok = isinstance(about["name"], str) and isinstance(about.get("settings", {}), dict)
        pattern = about.get("step_pattern")
        if pattern is not None:
            re.compile(pattern)
    except (ValueError, KeyError, TypeError, re.error) as error:
        raise InputError(
            f"{path} does not describe a task.",
            have=f"{type(error).__name__}: {error}",
            fix='It needs {"name": ..., "step_pattern": a regular expression or null, "settings": {...}}.',
        ) from error
    if not ok:
        raise InputError(
            f"{path} does not describe a task.", fix="name must be a text and settings an object."
        )
    return dict(about)


def _check_splits(files: Mapping[Split, Path]) -> dict[Split, int]:
    """The number of examples of each split; InputError where one is empty or shares an input with another.

    Memory grows with the held-out splits only. Within a split an input may stand twice.
    """
    held_out: dict[str, Split] = {}
    sizes: dict[Split, int] = dict.fromkeys(files, 0)
    for name in reversed(list(files)):
        for number, example in enumerate(read_examples(files[name]), start=1):
            other = held_out.get(example.input, name)
            if other != name:
                raise InputError(
                    f"The {name} and the {other} split overlap: {files[name]}:{number} is in both.",
                    have=_short(example.input),
                    fix="Remove that input from one of them: what a model was trained on cannot test it.",
                )
            if name != "train":
                held_out[example.input] = name
            sizes[name] = number
        if not sizes[name]:
            raise InputError(
                f"The {name} split is empty: {files[name]}.", fix="Add examples, or remove the file."
            )
    return sizes
