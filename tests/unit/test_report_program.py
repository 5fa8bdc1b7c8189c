"""The script of a page: all of its files in order, whole but for indentation and comments, and small."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import influence
from influence.report.program import SCRIPTS, script, style

ASSETS = Path(influence.__file__).parent / "report" / "assets"


def test_every_file_is_in_the_script() -> None:
    assert sorted(SCRIPTS) == sorted(path.name for path in ASSETS.glob("*.js"))
    assert (ASSETS / "report.css").read_text(encoding="utf-8") in style()


def test_only_indentation_and_comments_are_left_out() -> None:
    program = script()
    assert program.startswith('"use strict";\n{\n')
    rest = program
    for name in SCRIPTS:
        for line in (ASSETS / name).read_text(encoding="utf-8").splitlines():
            assert line.count("`") % 2 == 0, (name, line)  # indentation within a text would be lost
            words = line.strip()
            if words and not words.startswith("//"):
                assert words in rest, (name, line)
                rest = rest[rest.index(words) + len(words) :]
    assert rest == "\n}\n"
    assert not re.search(r"(?m)^(\s|//)", program)


def test_nothing_is_defined_outside_the_block_and_it_parses(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("no node on this machine")
    (tmp_path / "page.js").write_text(script(), encoding="utf-8")
    subprocess.run(["node", "--check", tmp_path / "page.js"], check=True)


def test_the_script_stays_small() -> None:
    assert len(script().encode()) < 56_800
