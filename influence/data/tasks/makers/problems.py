"""What the makers of long tasks share: a seeded order of all problems of a kind, and lines written as bytes.

In the order any problem has its place: nothing is drawn twice, and nothing need be kept. Lines are made thousands at
once, their characters in columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Unsigned = NDArray[np.uint64]

_ROUNDS = 8
_MULTIPLY_1, _MULTIPLY_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def key(*parts: object) -> int:
    """64 bits that depend on all parts: the same on every machine and with every version of numpy."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little")


def mix(values: Unsigned, with_key: int) -> Unsigned:
    """64 bits that look random for each value: the finisher of SplitMix64 (Steele, Lea and Flood, 2014)."""
    mixed = values + np.uint64(with_key)
    mixed ^= mixed >> np.uint64(30)
    mixed *= _MULTIPLY_1
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MULTIPLY_2
    mixed ^= mixed >> np.uint64(31)
    return mixed


@dataclass(frozen=True, slots=True)
class ProblemOrder:
    """All pairs (left, right) with left < `lefts` and right < `rights`, in an order that the seed chooses.

    A Feistel network with addition modulo the two sizes: each round adds to one half what the other half mixes to,
    so it can be taken back, and every pair has exactly one place. Both sizes at most 2⁶³.
    """

    lefts: int
    rights: int
    seed: int

    @property
    def size(self) -> int:
        """How many pairs there are: may be more than 64 bits hold."""
        return self.lefts * self.rights

    def pairs(self, start: int, stop: int) -> tuple[Unsigned, Unsigned]:
        """The pairs at the places from `start` up to `stop`, as `left_n` and `right_n`; fewer at the end."""
        places = np.arange(max(min(stop, self.size) - start, 0), dtype=np.uint64)
        first, offset = divmod(start, self.rights)
        places += np.uint64(offset)
        left = np.uint64(first) + places // np.uint64(self.rights)
        right = places % np.uint64(self.rights)
        lefts, rights = np.uint64(self.lefts), np.uint64(self.rights)
        for key_left, key_right in self._keys():
            left = (left + mix(right, key_left) % lefts) % lefts
            right = (right + mix(left, key_right) % rights) % rights
        return left, right

    def stand_before(self, left: Unsigned, right: Unsigned, bound: int) -> NDArray[np.bool_]:
        """Whether the place of each pair is before `bound`."""
        lefts, rights = np.uint64(self.lefts), np.uint64(self.rights)
        for key_left, key_right in reversed(self._keys()):
            right = (right + (rights - mix(left, key_right) % rights)) % rights
            left = (left + (lefts - mix(right, key_left) % lefts)) % lefts
        first, rest = divmod(bound, self.rights)
        before: NDArray[np.bool_] = (left < np.uint64(first)) | (
            (left == np.uint64(first)) & (right < np.uint64(rest))
        )
        return before

    def _keys(self) -> list[tuple[int, int]]:
        return [
            (key(self.seed, number, "left"), key(self.seed, number, "right")) for number in range(_ROUNDS)
        ]


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
