"""The script of a page: all of its files in order, whole but for indentation and comments, and small."""

from __future__ import annotations

import re
from pathlib import Path

import influence
from influence.report.page import SCRIPTS, script, style

ASSETS = Path(influence.__file__).parent / "report" / "assets"


def test_every_file_is_in_the_script() -> None:
    assert sorted(SCRIPTS) == sorted(path.name for path in ASSETS.glob("*.js"))
    assert (ASSETS / "report.css").read_text(encoding="utf-8") in style()


def test_only_indentation_and_comments_are_left_out() -> None:
    program = script()
    assert program.startswith('"use strict";\n{\n')
    rest = program
    for name in SCRIPTS:
        text = (ASSETS / name).read_text(encoding="utf-8")
        for line in re.sub(r"(?ms)^import .*?;$", "", text).splitlines():
            words = line.strip().removeprefix("export ")
            if words and not words.startswith("//"):
                assert words in rest, (name, line)
                rest = rest[rest.index(words) + len(words) :]
    assert rest == "\n}\n"
    assert not re.search(r"(?m)^(\s|//)", program)


def test_no_text_of_the_script_spans_lines() -> None:
    """The indentation within it would be lost."""
    for name in SCRIPTS:
        text = re.sub(r"(?m)//.*$", "", (ASSETS / name).read_text(encoding="utf-8"))
        while whole := re.search(
            r"`[^`$]*`|\$\{[^{}`]*\}", text
        ):  # from the inside: texts, then what stands in texts
            assert whole[0].startswith("$") or "\n" not in whole[0], (name, whole[0])
            text = text[: whole.start()] + "''" + text[whole.end() :]


def test_no_two_modules_define_one_name() -> None:
    """Each is a scope to the linter; in the page they are one."""
    text = re.sub(
        r"(?m)^[ \t].*$", "", "".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    )
    names = re.findall(r"(?m)^(?:export )?(?:async )?(?:function|const|let) ([\w$]+)", text)
    assert sorted(names) == sorted(set(names))


def test_the_script_stays_small() -> None:
    assert len(script().encode()) < 80_000
