"""What made an artefact: program, command, libraries, machine, time."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from influence import __version__

_LIBRARIES = ("torch", "transformers", "kronfluence", "datasets", "numpy", "pyarrow")


def provenance(seconds: float, **facts: Any) -> dict[str, Any]:
    """A record for a manifest. `seconds` is the wall time of the run that finished it; `facts` are added as given."""
    return {
        "version": __version__,
        "commit": _commit(),
        "command": shlex.join(["influence", *sys.argv[1:]]) if _is_command() else "from Python",
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES if find_spec(name)},
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        **facts,
    }


def _is_command() -> bool:
    """Whether this is the `influence` program, or `python -m influence`."""
    program = Path(sys.argv[0])
    return program.stem == "influence" or program.parts[-2:] == ("influence", "__main__.py")


def _commit() -> str | None:
    """The commit of a checkout this runs from, with `+` when it has uncommitted changes; None when installed."""
    folder = Path(__file__).resolve().parent
    if not (folder.parent / ".git").exists():
        return None
    git = ["git", "-C", str(folder)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, timeout=10
        )
        dirty = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return commit.stdout.strip() + ("+" if dirty.returncode else "") if commit.returncode == 0 else None
