"""Text from files of others, as it may be printed."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """Without what controls a terminal or turns the direction of writing: `�` instead. Line breaks stay."""
    return "".join("�" if _controls(character) else character for character in text)


def _controls(character: str) -> bool:
    return character != "\n" and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
