"""Keyword arguments of a call of the engine, from settings and other arguments in one mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def arguments(config: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` with the fields of `config` gathered into the argument `config`."""
    names = {field.name for field in fields(config)}
    settings = {name: value for name, value in given.items() if name in names}
    return {"config": config(**settings), **{n: v for n, v in given.items() if n not in names}}
