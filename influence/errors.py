"""Errors a user can act on: what is wrong, what was found, what to do next."""

from __future__ import annotations

import re
import unicodedata

#: A word without a blank that is longer is cut in its middle, and so is any part of a message.
_LONGEST_WORD, _LONGEST_PART = 300, 1_500


class InfluenceError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: What is wrong and where, in one sentence.
        have: What was found, if that helps.
        fix: What to do next, if we know.

    The command line prints these three and exits with `exit_code`, without a traceback.
    """

    exit_code = 2

    def __init__(self, message: str, *, have: str | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.have = have
        self.fix = fix

    def __str__(self) -> str:
        parts = [_line(self.message)]
        if self.have:
            parts.append(f"  found: {_line(self.have)}")
        if self.fix:
            parts.append(f"  next:  {_line(self.fix)}")
        return "\n".join(parts)


class InputError(InfluenceError):
    """The user's data or arguments are not usable (queries, corpus, options)."""


class ModelError(InfluenceError):
    """The model cannot be loaded, or cannot be scored correctly as it is."""


class StoreError(InfluenceError):
    """A stored artefact is missing, damaged, or belongs to another run."""

    exit_code = 3


class ComputeError(InfluenceError):
    """A computation failed: a non-finite value, or no memory left even for one document."""

    exit_code = 4


def plain(text: str) -> str:
    """A text without what controls a terminal or turns the direction of writing: `�` instead. Line breaks stay."""
    return "".join("�" if _controls(character) else character for character in text)


def shown(text: str) -> str:
    """A text that quotes names and texts of others, as an error prints it: plain, and cut where it is too long."""
    words = re.sub(rf"\S{{{_LONGEST_WORD + 1},}}", lambda word: _cut(word[0], _LONGEST_WORD), text)
    return plain(_cut(words, _LONGEST_PART))


def _line(text: str) -> str:
    """A part of an error on one line: what it quotes cannot pass for another part."""
    return shown(" ".join(text.splitlines()))


def _controls(character: str) -> bool:
    return character != "\n" and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    end = most // 4
    return f"{text[: most - end - 1]}…{text[-end:]}"
