"""A piece of a score store: the scores of some contiguous documents of a corpus, made by `influence score --shard`.

The files are those of a score store. `manifest.json` has the kind `piece`, so that nothing takes it for a whole run,
and `config.piece`: `of`, the documents of the corpus, and `first` and `end`, the half-open range of its rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from influence.errors import InputError
from influence.store.artefact import open_complete
from influence.store.journal import VERIFIED_AT_OPEN
from influence.store.scores import Scores

KIND = "piece"


@dataclass(frozen=True, slots=True)
class Shard:
    """Which piece of a corpus: number `number` of `count`, counted from 1."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(
                f"There is no piece {self.number} of {self.count}.",
                fix=f"Number them from 1 to {self.count}.",
            )

    def rows(self, documents: int) -> range:
        """Rows of the corpus that it covers. Pieces 2i - 1 and 2i of 2n are together piece i of n.

        Raises:
            InputError: more pieces than documents.
        """
        if self.count > documents:
            raise InputError(
                f"A corpus of {documents:,} documents cannot be cut into {self.count:,} pieces.",
                fix="Cut it into fewer.",
            )
        return range(documents * (self.number - 1) // self.count, documents * self.number // self.count)


def parse_shard(text: str) -> Shard:
    """`2/8` is the second of eight pieces.

    Raises:
        InputError: it is not of that form, or there is no such piece.
    """
    if not re.fullmatch(r"[0-9]{1,9}/[0-9]{1,9}", text):
        raise InputError(f"{text!r} names no piece.", fix="Write it as 2/8, the second of eight.")
    number, count = text.split("/")
    return Shard(int(number), int(count))


@dataclass(frozen=True)
class Piece:
    """A finished piece."""

    scores: Scores

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.scores.folder

    @property
    def provenance(self) -> dict[str, Any]:
        """What made it."""
        return dict(self.scores.manifest["provenance"])

    @property
    def run(self) -> dict[str, Any]:
        """The config of the whole run that it is a piece of, and the documents of the corpus."""
        config = dict(self.scores.manifest["config"])
        return {**config, "piece": config["piece"]["of"]}

    @property
    def rows(self) -> range:
        """Rows of the corpus that it covers."""
        piece = self.scores.manifest["config"]["piece"]
        return range(piece["first"], piece["end"])


def open_piece(folder: str | Path, verified: int | None = VERIFIED_AT_OPEN) -> Piece:
    """Open a finished piece.

    Args:
        verified: Verify the content of files up to so many bytes; None: of all.

    Raises:
        StoreError: there is none, it is unfinished, or a file is not what was written.
    """
    folder = Path(folder)
    return Piece(Scores(folder, open_complete(folder, KIND, verified)))
