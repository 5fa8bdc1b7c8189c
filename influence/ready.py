"""What comes with the package, by name: a model, a corpus and query sets of the controlled world."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Kind = Literal["models", "corpora", "queries"]

#: The ready model and corpus that a command takes where it is given neither.
MINIWORLD = "miniworld"
_MODELS = {MINIWORLD: f"{MINIWORLD}/base", f"{MINIWORLD}-tuned": f"{MINIWORLD}/tuned"}


def ready_path(kind: Kind, name: str | Path) -> Path | None:
    """Return where a ready thing of this name lies, or None where there is none."""
    return _ready(kind).get(str(name))


def ready_names(kind: Kind) -> list[str]:
    """Return the names of all ready things of a kind."""
    return sorted(_ready(kind))


def _ready(kind: Kind) -> dict[str, Path]:
    folder = _folder(kind)
    if kind == "models":
        paths = {name: folder / path for name, path in _MODELS.items()}
    elif kind == "corpora":
        paths = {path.parent.name: path.parent for path in folder.glob("*/documents.jsonl")}
    else:
        paths = {path.stem: path for path in folder.glob("*.jsonl")}
    return {name: path for name, path in paths.items() if path.exists()}


def _folder(kind: Kind) -> Path:
    """Return the folder inside the installed package, or in a checkout the one beside it."""
    package = Path(__file__).resolve().parent
    installed, checkout = package / "ready" / kind, package.parent
    if not installed.is_dir() and (checkout / "pyproject.toml").is_file():
        return checkout / kind
    return installed
