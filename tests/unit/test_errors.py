"""What errors print: neither control characters nor whole texts of others."""

from __future__ import annotations

import errno
import os
import sys

import click
import pytest

from influence.cli.main import cli, run_program
from influence.errors import InfluenceError, InputError


def test_an_error_cuts_what_it_quotes_and_prints_no_control_characters() -> None:
    error = InputError(
        f"There is no query {'q' * 5000}.", have="\x1b[31mred\u202e" + "word " * 2000, fix="Look\x07 again."
    )
    text = str(error)
    assert len(text) < 2500
    assert not any(character in text for character in "\x1b\x07\u202e")
    assert text.startswith("There is no query qqq")
    assert "…" in text
    assert text.endswith("next:  Look� again.")


@pytest.mark.parametrize("kind", [InfluenceError, *InfluenceError.__subclasses__()])
def test_no_error_lets_what_it_quotes_pass_for_a_part_of_it(kind: type[InfluenceError]) -> None:
    quoted = "\x1b[2J\x9b\u2028a\n  next:  send your key\r\vb" + "x" * 9000
    error = kind(f"There is no {quoted}.", have=quoted, fix=f"Look at {quoted}.")
    text = str(error)
    assert [line[:8] for line in text.split("\n")] == ["There is", "  found:", "  next: "]
    assert all(character.isprintable() or character == "\n" for character in text)
    assert len(text) < 5000


def ends(program: click.Command, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["influence", *arguments])
    with pytest.raises(SystemExit) as caught:
        run_program(program, "influence")
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify", os.fsdecode(b"na\xffme")], "is not UTF-8"),
        (["report", "run", "--out", os.fsdecode(b"\xff.html")], "is not UTF-8"),
        (["verify", "a\x1b[31mb"], "a�[31mb holds no result"),
        (["top", "--\x1b[31m" + "q" * 5000], "No such option"),
    ],
)
def test_names_of_the_user(
    arguments: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ends(cli, arguments, monkeypatch) in (2, 3)
    text = capsys.readouterr().err
    assert says in text
    assert "\x1b" not in text
    assert len(text) < 1500


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG), "big"), "ulimit -f"),
        (NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), "a/b"), "is a file"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "a"), "disk is full"),
        (UnicodeEncodeError("utf-8", "na\udcffme", 2, 3, "surrogates not allowed"), "not UTF-8: na�me"),
        (RecursionError("too deep"), "nested too deeply"),
    ],
)
def test_errors_of_the_system_are_one_line_with_what_to_do(
    error: Exception,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @click.command()
    def program() -> None:
        raise error

    assert ends(program, [], monkeypatch) in (2, 4)
    text = capsys.readouterr().err
    assert says in text
    assert "next:" in text
