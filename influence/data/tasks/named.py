"""Tasks by name, as a command names them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from influence.data.chains.task import Split
from influence.data.tasks import biased, coin_flip, gsm8k, judging, last_letter
from influence.data.tasks.extract import Kind
from influence.data.tasks.files import own_task
from influence.data.tasks.task import QuestionTask
from influence.errors import InputError

#: Tasks made here, and those read from a file the user has.
MADE = ("last-letter", "coin-flip")
READ = ("biased", "judging", "gsm8k", "own")
NAMES = (*MADE, *READ)


def named_task(
    name: str,
    *,
    data: Path | None = None,
    fields: Mapping[str, str] | None = None,
    kind: Kind = "text",
    seed: int = 0,
    sizes: dict[Split, int] | None = None,
) -> QuestionTask:
    """A task by its name.

    Args:
        name: One of `NAMES`.
        data: The file or folder a task is read from; for a task made here: a folder with a train and a test file in
            the published format to use instead.
        fields: Of `own`: part of an item -> field of the file.
        kind: Of `own`: how an answer is read.
        seed: Of what is made or drawn.
        sizes: Of a task made here; the published ones by default.

    Raises:
        InputError: No such task, or an argument that it does not take or that it lacks.
    """
    if name not in NAMES:
        raise InputError(
            f"There is no task {name!r}.",
            fix=f"Choose one of {', '.join(NAMES)}; own reads your file by --data.",
        )
    if name != "own" and (fields or kind != "text"):
        raise InputError(f"The task {name} reads its own format.", fix="Use --task own for a map of fields.")
    if name in MADE:
        if data is not None:
            return _published(name, data)
        return (
            last_letter.last_letter(seed, sizes)
            if name == "last-letter"
            else coin_flip.coin_flip(seed, sizes)
        )
    if data is None:
        raise InputError(f"The task {name} is read from a file.", fix="Name it by --data.")
    if kind not in get_args(Kind):
        raise InputError(
            f"There is no kind of answer {kind!r}.", fix=f"Choose one of {', '.join(get_args(Kind))}."
        )
    match name:
        case "biased":
            return biased.biased(data, seed)
        case "judging":
            return judging.judging(data, seed)
        case "gsm8k":
            return gsm8k.gsm8k(data, seed)
    return own_task(data, kind, fields or {}, seed)


def _published(name: str, data: Path) -> QuestionTask:
    from influence.data.tasks.files import drawn_splits, split_file

    read = last_letter.from_file if name == "last-letter" else coin_flip.from_file
    kind: Kind = "letters" if name == "last-letter" else "yes-no"
    settings = {"file": data.name}
    if not data.is_dir():
        return QuestionTask(name, kind, drawn_splits(read(data), 0), settings)
    found = {split: file for split in ("train", "valid", "test") if (file := split_file(data, split))}
    return QuestionTask(name, kind, {split: read(file) for split, file in found.items()}, settings)  # type: ignore[misc]
