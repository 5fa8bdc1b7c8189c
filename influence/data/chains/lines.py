"""Lines of a task as bytes: characters in columns, thousands of lines at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Characters of a batch of n lines: `[columns, n]`.
Characters = NDArray[np.uint8]

#: Lines made at once: their characters fit the cache of one core.
BATCH_LINES = 4096

_ZERO, _BLANK = ord("0"), ord(" ")


def numbers(values_kn: NDArray[np.integer], width: int = 1) -> Characters:
    """k numbers a line, each in `width` decimal digits, the highest first, with blanks between them."""
    count, n = values_kn.shape
    characters = np.full((count * (width + 1) - 1, n), _BLANK, np.uint8)
    for place in range(width):
        digit = values_kn // 10 ** (width - 1 - place) % 10 if width > 1 else values_kn
        np.add(digit, _ZERO, out=characters[place :: width + 1], casting="unsafe")
    return characters


def render(pieces: Sequence[str | Characters], n: int) -> bytes:
    """n lines of the pieces side by side: a text stands in each line, characters differ from line to line."""
    columns = [
        np.broadcast_to(np.frombuffer(piece.encode("ascii"), np.uint8)[:, None], (len(piece), n))
        if isinstance(piece, str)
        else piece
        for piece in pieces
    ]
    return np.concatenate(columns).T.tobytes()
