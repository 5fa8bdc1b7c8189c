"""Where the records of a corpus come from: a file, a folder, standard input, a dataset, the hub."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from influence.data.packed import first_line
from influence.data.rows import (
    LIST_SUFFIXES,
    RECORD_SUFFIXES,
    SHARD_SUFFIXES,
    TABLE_SUFFIXES,
    TEXT_SUFFIXES,
    Row,
    dataset_rows,
    folder_fields,
    has_suffix,
    jsonl_rows,
    shard_rows,
    stem_of,
    text_rows,
    with_fields,
)
from influence.errors import InputError
from influence.ready import ready_names, ready_path

_logger = logging.getLogger(__name__)
#: Files that stand beside data and are none.
_CARDS = ("dataset_infos.json", "dataset_info.json", "state.json", "provenance.json")
_NO_DATA = (*TEXT_SUFFIXES, ".py", ".yaml", ".yml", ".toml", ".sha256", ".lock", "license", "readme")
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?")
#: Most bytes of standard input, which is kept on disk while a run reads it twice.
MOST_INPUT_BYTES = 1 << 34


@dataclass(frozen=True, slots=True)
class Source:
    """Records that can be read any number of times.

    Attributes:
        name: A short name for tables: the file's stem, the folder's name, or the hub name.
        kind: What it is.
        origin: Where it is.
        split: The split of a dataset; None where there are none.
        rows: Reads the records.
    """

    name: str
    kind: str
    origin: str
    split: str | None
    rows: Callable[[], Iterator[Row]]


def find_source(source: object, split: str, text_field: str, source_field: str) -> Source:
    """Return where the records of a corpus come from, by the table of `influence.data.corpus`.

    Raises:
        InputError: The source does not exist, is of no known format, or the hub cannot be reached.
    """
    if not isinstance(source, str | Path):
        return _from_object(source)
    if not str(source).strip():
        raise InputError("The name of the corpus is empty.", fix="Give a file, a folder or a hub name.")
    if str(source) == "-":
        _require_no_split(split, "standard input")
        return Source("stdin", "standard input", "standard input", None, _input_rows())
    try:
        path = Path(source).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, of a user that there is not
        raise InputError(
            f"{str(source)[:80]!r} is no path.", have=first_line(error), fix="Check it."
        ) from error
    if not path.exists():
        path = ready_path("corpora", str(source)) or path
    if path.is_dir():
        return _from_folder(path, split, text_field, source_field)
    if path.exists():
        _require_no_split(split, str(path))
        if not has_suffix(path.name, RECORD_SUFFIXES):
            raise InputError(
                f"{path} is not a corpus file.",
                have=path.suffix or "no suffix",
                fix=f"Give a file ending in {', '.join(RECORD_SUFFIXES)}, or a folder.",
            )
        stem = stem_of(path.name)
        kind = path.name[len(stem) :].lower().split(".")[1]
        return Source(stem, kind, str(path), None, lambda: shard_rows(path, stem, text_field))
    text = str(source)
    if _HUB_NAME.fullmatch(text) and not has_suffix(text, (*RECORD_SUFFIXES, *TEXT_SUFFIXES)):
        return _from_hub(text, split)
    raise InputError(
        f"There is no corpus at {text}.",
        fix="Give an existing file or folder, a hub name such as owner/name or owner/name:config, or a ready corpus: "
        f"{', '.join(ready_names('corpora'))}.",
    )


def _require_no_split(split: str, origin: str) -> None:
    if split != "train":
        raise InputError(
            f"The corpus {origin} has no splits.",
            have=f"split {split!r}",
            fix="Give the files of that split.",
        )


def _from_folder(folder: Path, split: str, text_field: str, source_field: str) -> Source:
    name, origin = folder.resolve().name, str(folder)
    if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
        return _from_saved(folder, split)
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    _require_no_split(split, origin)
    data = [file for file in files if has_suffix(file, SHARD_SUFFIXES)]
    others = [file for file in files if has_suffix(file, TABLE_SUFFIXES)]
    tables = [file for file in others if not has_suffix(file, (".json", ".json.gz", ".json.zst"))]
    shards = data or tables or others
    texts = [] if shards else [file for file in files if has_suffix(file, TEXT_SUFFIXES)]
    if not shards and not texts:
        raise InputError(
            f"The folder {folder} holds no corpus.",
            have=f"{len(files)} files, none of them {', '.join(dict.fromkeys((*RECORD_SUFFIXES, *TEXT_SUFFIXES)))}",
            fix="Give a folder of such files, or one made by datasets.save_to_disk.",
        )
    _name_unread(folder, files, shards or texts)
    if texts:
        read_texts = partial(text_rows, folder, texts, text_field, source_field)
        return Source(name, "text files", origin, None, read_texts)

    def all_rows() -> Iterator[Row]:
        for shard in shards:
            fields = folder_fields(shard)
            yield from (with_fields(row, fields) for row in shard_rows(folder / shard, stem_of(shard)))

    return Source(name, "shards", origin, None, all_rows)


def _name_unread(folder: Path, files: list[str], taken: list[str]) -> None:
    """Say which files of a folder look like data and are not read."""
    read = set(taken)
    unread = [
        file
        for file in files
        if file not in read
        and Path(file).name not in _CARDS
        and (not has_suffix(file, _NO_DATA) or has_suffix(file, LIST_SUFFIXES[1:]))
    ]
    if unread:
        named = ", ".join(unread[:3]) + (f" and {len(unread) - 3:,} more" if len(unread) > 3 else "")
        _logger.warning("Not read, beside %s of %s: %s", taken[0], folder, named)


def _input_rows() -> Callable[[], Iterator[Row]]:
    """Reads standard input, JSONL, as often as it is called: the first call keeps it on disk until the program ends."""
    kept: list[Any] = []

    def rows() -> Iterator[Row]:
        if not kept:
            kept.append(_kept_input())
        return jsonl_rows(Path(kept[0].name), "stdin", "standard input")

    return rows


def _kept_input() -> Any:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(
            "There is nothing on standard input.", fix="Write records to it: zcat x.jsonl.gz | influence …"
        )
    file = tempfile.NamedTemporaryFile(prefix="influence-", suffix=".jsonl")  # noqa: SIM115 (open until the end)
    most = min(MOST_INPUT_BYTES, shutil.disk_usage(Path(file.name).parent).free // 2)
    size = 0
    while block := sys.stdin.buffer.read(1 << 20):
        size += len(block)
        if size > most:
            file.close()
            raise InputError(
                f"Standard input has more than {most / 1e9:,.1f} GB, the most that is kept on disk.",
                have=f"{min(size, most) / 1e9:,.1f} GB read so far",
                fix="Write it to a file, and give the file.",
            )
        file.write(block)
    file.flush()
    return file


def _from_saved(folder: Path, split: str) -> Source:
    import datasets

    try:
        data = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"The saved dataset {folder} cannot be opened.", have=first_line(error), fix="Save it again."
        ) from error
    used: str | None = None
    if isinstance(data, datasets.DatasetDict):
        if split not in data:
            raise InputError(
                f"The saved dataset {folder} has no split {split!r}.",
                have=f"splits {', '.join(data)}",
                fix="Choose one of its splits.",
            )
        data, used = data[split], split
    elif split not in ("train", str(data.split)):
        raise InputError(
            f"The saved dataset {folder} has no split {split!r}.",
            have="no splits" if data.split is None else f"the split {str(data.split)!r}",
            fix="Leave --split out, or give the dataset of that split.",
        )
    name = folder.resolve().name
    return Source(name, "saved dataset", str(folder), used, lambda: dataset_rows(data, name))


def _from_object(data: Any) -> Source:
    import datasets

    if not isinstance(data, datasets.Dataset | datasets.IterableDataset):
        raise InputError(
            "A corpus is a path, a hub name, a datasets.Dataset or a datasets.IterableDataset.",
            have=type(data).__name__,
            fix="Choose a split if this is a DatasetDict.",
        )
    name = data.info.dataset_name or "dataset"
    split = str(data.split) if data.split is not None else None
    return Source(name, "datasets object", name, split, lambda: dataset_rows(data, name))


def _from_hub(text: str, split: str) -> Source:
    import datasets

    name, _, config = text.partition(":")
    with _hub_errors(text):
        data = datasets.load_dataset(name, config or None, split=split, streaming=True)

    def rows() -> Iterator[Row]:
        with _hub_errors(text):
            yield from dataset_rows(data, name.rpartition("/")[2])

    return Source(text, "hub dataset", text, split, rows)


@contextlib.contextmanager
def _hub_errors(text: str) -> Iterator[None]:
    """Turn what `datasets` raises into one sentence; a network failure says so."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except InputError:
        raise
    except (DatasetsError, ValueError) as error:
        raise InputError(
            f"The hub dataset {text} cannot be read.",
            have=first_line(error),
            fix="Check its name, its config (owner/name:config) and its split, or use a local path.",
        ) from error
    except OSError as error:
        raise InputError(
            f"{text} is no local path, and the hub is unreachable.",
            have=first_line(error),
            fix="Use a local path, or try again with a network connection.",
        ) from error
