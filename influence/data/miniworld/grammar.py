"""Templates: `{a|b}` chooses, `<name>` is filled in."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from random import Random
from typing import Any

_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")
_SLOT = re.compile(r"<([a-z_]+[0-9]?)>")


def texts(name: str) -> dict[str, Any]:
    """The template texts of `texts/<name>.toml`."""
    return tomllib.loads((files("influence.data.miniworld") / "texts" / f"{name}.toml").read_text("utf-8"))


def say(rng: Random, template: str, slots: Mapping[str, object] | None = None) -> str:
    """Resolve the choices, innermost first, then fill in the slots. Braces without `|` stay as they are."""
    while _CHOICE.search(template):
        template = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), template)
    return _SLOT.sub(lambda match: str(slots[match[1]]), template) if slots is not None else template


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def sentences(
    rng: Random, bank: Sequence[str], count: int, slots: Mapping[str, object] | None = None
) -> list[str]:
    """`count` different sentences of a bank (all of them, if it holds fewer), in random order."""
    return [sentence(say(rng, template, slots)) for template in rng.sample(bank, min(count, len(bank)))]


def paragraph(*parts: str) -> str:
    """Sentences joined to one paragraph; empty ones vanish."""
    return " ".join(part for part in parts if part)
