"""The first five minutes of a newcomer, played in an empty folder with nothing but the wheel: `make newcomer`.

Builds the wheel, installs it without its dependencies into a fresh environment that sees those of this one, types each
line of `LINES` literally, and compares what is printed with the transcript in docs/start.md, but for times and sizes.
With `--write` the transcript is written anew. A line that ends with another status than expected fails at once.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "start.md"
BEGIN, END = (
    "<!-- The transcript is written by tests/newcomer.py. -->\n```\n",
    "```\n<!-- End of the transcript. -->",
)

#: What is typed, and the status it ends with. Of a demo only its commands and its last line are kept.
LINES = [
    ("influence fit-hessian", 0),
    ("influence score --queries slopes.jsonl", 0),
    ("influence report", 0),
    ("influence runs", 0),
    ("influence show runs/miniworld", 2),
    ("influence show runs/miniworld/scores-slopes", 0),
    ("influence top runs/miniworld slopes-01 --k 3", 0),
    ("influence fit-hessian", 0),
    ("influence score --queries slopes.jsonl", 0),
    ("influence scroe", 2),
    ("influence score --queries slops.jsonl", 2),
    ("influence fit-hessian --model mine", 2),
    ("influence demo", 0),
    ("influence demo", 0),
]
#: What differs between two runs of the same program.
VARIES = [
    (re.compile(r"\b[\d,.]+ (s|min|h|d)\b"), "N s"),
    (re.compile(r"\b[\d,.]+ (kB|MB|GB)\b"), "N MB"),
    (re.compile(r"^(finished|seconds|age) .*$", re.MULTILINE), r"\1"),
    (re.compile(r"-?\d+\.\d+(e[+-]?\d+)?"), "X"),  # the last digits of a score are the machine's
    (re.compile(r" {2,}"), "  "),
]
PROGRESS = re.compile(r"^[a-z ]+: [\d,]+ of [\d,]+ .* left\n", re.MULTILINE)


def environment(folder: Path) -> dict[str, str]:
    """A fresh environment with the wheel, whose dependencies are those of the one that runs this."""
    python = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*python, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT], check=True
    )
    venv.create(folder / "env", symlinks=True)
    site = next((folder / "env").glob("lib/python*/site-packages"))
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [*python, "--python", folder / "env" / "bin" / "python", "install", "--no-deps", wheel], check=True
    )
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return clean | {"PATH": f"{folder / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}


def played(folder: Path) -> str:
    """Everything that is typed and printed."""
    variables, empty, text = environment(folder), folder / "empty", ""
    empty.mkdir()
    for line, status in LINES:
        started = time.monotonic()
        done = subprocess.run(
            line.split(),
            env=variables,
            cwd=empty,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        sys.stderr.write(f"{time.monotonic() - started:6.1f} s  {line}\n")
        printed = PROGRESS.sub("", done.stdout)
        if line == "influence demo":
            lines = printed.splitlines()
            printed = "\n".join([*(row for row in lines if row.startswith("$ ")), lines[-1]]) + "\n"
        text += f"$ {line}\n{printed}\n"
        if done.returncode != status:
            raise SystemExit(f"{line} ended with {done.returncode}, not {status}:\n{done.stdout}")
    return text


def masked(text: str) -> list[str]:
    """The lines of a transcript without what varies."""
    for pattern, instead in VARIES:
        text = pattern.sub(instead, text)
    return [line.rstrip() for line in text.splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="Write the transcript into docs/start.md.")
    write = parser.parse_args().write
    with tempfile.TemporaryDirectory() as folder:
        text = played(Path(folder))
    page = PAGE.read_text(encoding="utf-8")
    start = page.index(BEGIN) + len(BEGIN)
    end = page.index(END, start)
    if write:
        PAGE.write_text(page[:start] + text.rstrip() + "\n" + page[end:], encoding="utf-8")
        return
    differences = list(
        difflib.unified_diff(masked(page[start:end]), masked(text.rstrip()), "docs", "now", lineterm="")
    )
    if differences:
        raise SystemExit("\n".join(differences))


if __name__ == "__main__":
    main()
