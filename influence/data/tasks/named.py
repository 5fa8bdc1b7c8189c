"""Tasks to distil on by name, as a command names them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import get_args

from influence.data.tasks.extract import Kind
from influence.data.tasks.makers import biased, coin_flip, gsm8k, judging, last_letter
from influence.data.tasks.records import own_task, split_file
from influence.data.tasks.task import SPLITS, Example, Split, Task, drawn_splits
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
) -> Task:
    """A task by its name.

    Args:
        name: One of `NAMES`.
        data: The file or folder a task is read from; for a task made here: a folder with a train and a test file in
            the published format to use instead.
        fields: Of `own`: part of an example -> field of the file.
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
    if name == "last-letter":
        make, read = last_letter.last_letter, last_letter.from_file
        return make(seed, sizes) if data is None else _published(name, "letters", data, read)
    if name == "coin-flip":
        make, read = coin_flip.coin_flip, coin_flip.from_file
        return make(seed, sizes) if data is None else _published(name, "yes-no", data, read)
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


def _published(name: str, kind: Kind, data: Path, read: Callable[[Path], Iterable[Example]]) -> Task:
    """A task made here, from the files it was published in."""
    splits: dict[Split, tuple[Example, ...]]
    if data.is_dir():
        splits = {split: tuple(read(file)) for split in SPLITS if (file := split_file(data, split))}
    else:
        splits = drawn_splits(read(data), 0)
    return Task(name, kind, splits, settings={"file": data.name})
