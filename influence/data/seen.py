"""Which ids a corpus has had: 8 bytes each, so that millions of documents stream through little memory."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

#: Hashes held as Python numbers, until they are sorted into arrays.
_RECENT = 1 << 16


def hashed(id_: str) -> int:
    """The hash of an id, 64 bits."""
    return int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=8).digest(), "little")


class SeenIds:
    """Hashes of the ids met so far: the recent ones in a set, the others in a few sorted arrays of doubling length."""

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._sorted: list[npt.NDArray[np.uint64]] = []

    def __len__(self) -> int:
        return len(self._recent) + sum(map(len, self._sorted))

    def add(self, id_: str) -> set[int]:
        """Remember an id. Returns hashes that may have been met twice: of this one, or of those before it."""
        hash_ = hashed(id_)
        if hash_ in self._recent:
            return {hash_}
        self._recent.add(hash_)
        return self.settle() if len(self._recent) >= _RECENT else set()

    def settle(self) -> set[int]:
        """Compare the recent ids with all before them. Returns hashes that were met twice."""
        new = np.sort(np.fromiter(self._recent, np.uint64, len(self._recent)))
        self._recent.clear()
        twice = {int(hash_) for old in self._sorted for hash_ in _common(old, new)}
        while self._sorted and len(self._sorted[-1]) <= len(new):
            new = np.sort(np.concatenate([self._sorted.pop(), new]), kind="stable")
        self._sorted.append(new)
        return twice


def _common(old: npt.NDArray[np.uint64], new: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    place = np.searchsorted(old, new).clip(max=len(old) - 1)
    return np.asarray(new[old[place] == new])
