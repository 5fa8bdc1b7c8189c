"""A task as a folder: `train.txt`, `valid.txt` and `test.txt`, and `task.json` where a command made it.

One example a line: `<input>||<chain> #### <answer>`, without a chain `<input>|| #### <answer>`. A split may be `.jsonl`
instead, with `input`, `chain` and `answer`. A made folder appears whole, and its `task.json` says what made it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, get_args

from influence import __version__
from influence.data.tasks.extract import Kind
from influence.data.tasks.task import ANSWER_START, INPUT_END, SPLITS, Example, Split, Task, shortened
from influence.errors import InputError

#: The file of a folder that says what its examples are.
TASK_FILE = "task.json"

#: Tasks whose answers are not compared as texts, where `task.json` names no kind.
_KINDS: Mapping[str, Kind] = {"gsm8k": "number"}

_TEXT_FORM = "One example a line: <input>||<chain> #### <answer>; without a chain: <input>|| #### <answer>."
_JSON_FORM = 'One object a line: {"input": "...", "chain": "...", "answer": "..."}; chain may be "".'


class Maker(Protocol):
    """The settings of a task that is made: a dataclass whose fields determine every byte.

    Attributes:
        name: The task's name.
    """

    name: ClassVar[str]

    @property
    def step_pattern(self) -> str:
        """A regular expression whose matches are the steps of a chain."""

    @property
    def settings(self) -> dict[str, Any]:
        """What `task.json` says made the task: the fields, and what follows from them alone."""

    def splits(self) -> dict[Split, tuple[int, Iterator[bytes]]]:
        """How many lines each split has, and these lines, some thousands at a time."""


@dataclass(frozen=True, slots=True)
class ExampleFile:
    """The examples of one `.txt` or `.jsonl` file, read anew each time they are asked for."""

    path: Path

    def __iter__(self) -> Iterator[Example]:
        return read_examples(self.path)


def read_task(path: str | Path) -> Task:
    """The task in a folder. Every line is checked, and that no input stands in two splits.

    Raises:
        InputError: The folder is no task, a line has another format, a split is empty, or splits overlap.
    """
    folder = Path(path)
    splits: dict[Split, ExampleFile] = {
        name: ExampleFile(_file_of(folder, name)) for name in SPLITS if _candidates(folder, name)
    }
    if not splits:
        raise InputError(
            f"{folder} is not a task.",
            have="no such folder" if not folder.is_dir() else "no train, valid or test file",
            fix="Make one with `influence data`, or put train.txt, valid.txt and test.txt there. "
            + _TEXT_FORM,
        )
    about = _read_about(folder)
    name = about.get("name", "own")
    return Task(
        name=name,
        kind=about.get("kind", _KINDS.get(name, "text")),
        splits=splits,
        step_pattern=about.get("step_pattern"),
        settings=about.get("settings", {}),
        folder=folder,
    )


def read_examples(path: Path) -> Iterator[Example]:
    """The examples of one `.txt` or `.jsonl` file, with ids such as `train-0`.

    Raises:
        InputError: A line is wrong; says which.
    """
    parse = _from_json if path.suffix == ".jsonl" else from_line
    with path.open("rb") as file:
        for number, line in enumerate(file):
            where = f"{path}:{number + 1}"
            try:
                text = line.decode("utf-8" if number else "utf-8-sig")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{where} is not UTF-8.", have=str(error), fix="Save the file as UTF-8."
                ) from error
            yield parse(text.rstrip("\r\n"), f"{path.stem}-{number}", where)


def from_line(line: str, id_: str, where: str) -> Example:
    """The example in a line of a `.txt` file; InputError where it is none, which says `where`."""
    question, separator, rest = line.partition(INPUT_END)
    chain, mark, answer = rest.rpartition(ANSWER_START)
    if not separator or not mark or INPUT_END in rest or ANSWER_START in chain:
        raise InputError(f"{where} is not an example.", have=shortened(line), fix=_TEXT_FORM)
    return _whole(Example(id_, question, chain, answer), where, _TEXT_FORM)


def write_task(maker: Maker, out: str | Path) -> Task:
    """Write a task to the folder `out`: a new one, an empty one, or one that holds this very task already.

    Returns:
        The task as it was read back: every line checked, and that the splits do not overlap.
    """
    out = Path(out)
    about: dict[str, Any] = {
        "name": maker.name,
        "step_pattern": maker.step_pattern,
        "settings": maker.settings,
        "version": __version__,
    }
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        return _same_task(out, about)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        about["files"] = {
            split: _write_lines(part / f"{split}.txt", lines) for split, (_, lines) in maker.splits().items()
        }
    except InputError:
        shutil.rmtree(part)
        raise
    (part / TASK_FILE).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if out.is_dir():
        out.rmdir()
    part.replace(out)
    try:
        return read_task(out)
    except InputError:
        shutil.rmtree(out)
        raise


def settings_of(maker: Any) -> dict[str, Any]:
    """The fields of a maker by name; a file stands for its name and its bytes."""
    return {field.name: _setting(getattr(maker, field.name)) for field in dataclasses.fields(maker)}


def _setting(value: Any) -> Any:
    if not isinstance(value, Path):
        return value
    if not value.is_file():
        raise InputError(
            f"There is no file {value}.", fix="Name a file of examples: .jsonl, or `||` and `####` lines."
        )
    return {"file": value.name, "sha256": _sha256(value)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_lines(path: Path, lines: Iterator[bytes]) -> dict[str, Any]:
    digest, count, size = hashlib.sha256(), 0, 0
    with path.open("wb") as file:
        for batch in lines:
            file.write(batch)
            digest.update(batch)
            count += batch.count(b"\n")
            size += len(batch)
    return {"examples": count, "bytes": size, "sha256": digest.hexdigest()}


def _same_task(out: Path, about: dict[str, Any]) -> Task:
    """The task in the folder, if it is the one that is asked for; else InputError."""
    before: dict[str, Any] = {}
    if (out / TASK_FILE).is_file():
        before = json.loads((out / TASK_FILE).read_text(encoding="utf-8"))
    if any(before.get(part) != about[part] for part in ("name", "settings")):
        raise InputError(
            f"{out} is there already and is not this task.",
            have=f"{before['name']} {before.get('settings')}" if "name" in before else "other files",
            fix="Choose another --out, or remove it.",
        )
    for split, file in before.get("files", {}).items():
        if _sha256(out / f"{split}.txt") != file["sha256"]:
            raise InputError(f"{out / split}.txt was changed after it was made.", fix="Remove the folder.")
    return read_task(out)


def _from_json(line: str, id_: str, where: str) -> Example:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON.", have=shortened(line), fix=_JSON_FORM) from error
    parts = [fields.get(name) for name in ("input", "chain", "answer")] if isinstance(fields, dict) else []
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < 3:
        raise InputError(
            f"{where} lacks the text of an input, a chain or an answer.", have=shortened(line), fix=_JSON_FORM
        )
    return _whole(Example(id_, texts[0], texts[1], texts[2]), where, _JSON_FORM)


def _whole(example: Example, where: str, form: str) -> Example:
    if not example.input.strip() or not example.gold.strip():
        what = "answer" if example.input.strip() else "input"
        raise InputError(f"{where} has an empty {what}.", have=shortened(example.line()), fix=form)
    return example


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
        ok = ok and about.get("kind", "text") in get_args(Kind)
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
            f"{path} does not describe a task.",
            fix=f"name is a text, settings an object, and kind one of {', '.join(get_args(Kind))}.",
        )
    return dict(about)
