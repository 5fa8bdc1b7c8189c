"""Commands with arguments that make no sense, on folders that are damaged: each ends with a line, never a traceback.

    INFLUENCE_FUZZ_SECONDS=600 python -m pytest tests/attack/test_fuzz_commands.py --timeout 0

Half of the damaged files get a checksum that fits, so that what reads them is reached, not only what verifies them.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import click
import numpy as np
import pytest
from distillations import write_distillation
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from internalization_runs import write_metrics, write_run
from stores import write_hessian, write_scores

from influence.analysis.run import analyze
from influence.cli.main import COMMANDS, LazyGroup, cli, run_program
from influence.store.artefact import read_manifest, write_manifest
from influence.store.formats.manifest import MANIFEST
from influence.store.journal import stored_file

SECONDS = float(os.environ.get("INFLUENCE_FUZZ_SECONDS", "12"))

#: Commands that make large data, or a whole run, from nothing, whatever they are given.
_LEFT_OUT = {"data", "corpus", "demo", "run"}


def leaves(
    group: click.Group, before: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that name it."""
    for name in group.list_commands(click.Context(group)):
        if not before and name in _LEFT_OUT:
            continue
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, (*before, name))
        else:
            yield (*before, name), command


def make_scores(folder: Path) -> None:
    write_scores(folder, np.random.default_rng(0).normal(size=(2, 12)), checked=True)
    analyze("concentration", folder, out=folder / "analysis" / "concentration")


def make_run(folder: Path) -> None:
    write_run(folder, {0: 0.9, 8: 0.8}, n=8, timed=4)
    write_metrics(folder, [0, 8])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One result of each kind that is made without a model."""
    folder = tmp_path_factory.mktemp("whole")
    make_scores(folder / "scores")
    make_run(folder / "run")
    write_hessian(folder / "hessian")
    write_distillation(folder / "distillation")
    (folder / "rows.jsonl").write_text('{"id": "a", "prompt": "x", "completion": " y", "text": "words"}\n')
    return folder


CONTENTS = [
    b"",
    b"\0" * 64,
    b"null",
    b"[]",
    b"{}",
    b"[" * 2000,
    b'{"a": ' * 900 + b"1" + b"}" * 900,
    b'[{"id": "\\ud800", "n": NaN}]',
    b'{"format": 2, "kind": "scores", "status": "complete"}',
    b"\xff\xfe\x00",
]
PATHS = [
    "scores",
    "run",
    "hessian",
    "distillation",
    "rows.jsonl",
    "nothing",
    "rows.jsonl/below",
    "a\x1b[31mb",
]
WORDS = [
    "",
    "q0",
    "0",
    "-1",
    "1e400",
    "nan",
    "9" * 400,
    "q" * 5000,
    "\x1b[31m",
    "\udcff",
    "a,b",
    "a=b",
    "é",
    "--",
    "all",
]


@st.composite
def damages(draw: st.DrawFn) -> tuple[int, str, int, bytes, bool]:
    """Which file, how it is changed, where, its new content, and whether its checksum is made to fit."""
    how = draw(st.sampled_from(["none", "flipped", "cut", "replaced", "removed", "a folder"]))
    where = draw(st.integers(min_value=0, max_value=10_000))
    return draw(st.integers(0, 200)), how, where, draw(st.sampled_from(CONTENTS)), draw(st.booleans())


def damage(folder: Path, spoiled: tuple[int, str, int, bytes, bool]) -> None:
    """Change one file below a folder."""
    number, how, where, content, sealed = spoiled
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[number % len(files)]
    data = bytearray(path.read_bytes())
    if how == "flipped" and data:
        data[where % len(data)] ^= 1 << where % 8
    elif how == "cut":
        del data[where % (len(data) + 1) :]
    elif how == "replaced":
        data = bytearray(content)
    path.unlink()
    if how == "a folder":
        path.mkdir()
    elif how != "removed":
        path.write_bytes(data)
        if sealed and path.name != MANIFEST:
            _reseal(path)


def _reseal(path: Path) -> None:
    for folder in path.parents:
        if (folder / MANIFEST).is_file():
            manifest = read_manifest(folder)
            name = path.relative_to(folder).as_posix()
            for part in ("files", "added"):
                if manifest is not None and name in manifest[part]:
                    manifest[part][name] = stored_file(path)
                    write_manifest(folder, manifest)
                    return


def arguments_of(command: click.Command) -> st.SearchStrategy[list[str]]:
    """Values for the arguments and some options of a command: sensible ones, paths, and words."""
    values = st.one_of(st.sampled_from(PATHS), st.sampled_from(WORDS), st.integers(-2, 9).map(str))
    parts: list[st.SearchStrategy[list[str]]] = []
    for parameter in command.params:
        kind = parameter.type
        value = values
        if isinstance(kind, click.Choice):
            value = st.one_of(st.sampled_from([str(choice) for choice in kind.choices]), values)
        elif isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
            value = st.one_of(st.integers(0, 9).map(str), values)
        elif isinstance(kind, click.Path):
            value = st.one_of(st.sampled_from(PATHS), values)
        if isinstance(parameter, click.Argument):
            parts.append(value.map(lambda word: [word]))
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            parts.append(st.sampled_from([[], [], [parameter.opts[0]]]))
        else:
            option = parameter.opts[0]
            some = value.map(lambda word, option=option: [option, word])
            parts.append(some if parameter.required else st.one_of(st.just([]), st.just([]), some))
    return st.tuples(*parts).map(lambda lists: [word for words in lists for word in words])


@pytest.mark.timeout(max(300, 3 * SECONDS))
def test_no_arguments_and_no_folder_end_in_a_traceback(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    commands = list(leaves(cli)) if isinstance(cli, LazyGroup) else []
    assert {words[0] for words, _ in commands} == COMMANDS.keys() - _LEFT_OUT
    calls = st.one_of(
        [arguments_of(command).map(lambda rest, words=words: [*words, *rest]) for words, command in commands]
    )
    end = time.monotonic() + SECONDS
    counts = {"ended": 0}

    @settings(
        max_examples=int(10 * SECONDS),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],  # a call is short as it is, and a smaller one would come after the end
    )
    @given(arguments=calls, spoiled=damages())
    def fuzz(arguments: list[str], spoiled: tuple[int, str, int, bytes, bool]) -> None:
        if time.monotonic() > end:
            return
        place = tmp_path / "place"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole, place)
        damage(place, spoiled)
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "argv", ["influence", *arguments])
        text = io.StringIO()
        with redirect_stdout(text), redirect_stderr(text), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                run_program(cli, "influence")
            except SystemExit:
                pass
        counts["ended"] += 1
        assert "\x1b" not in text.getvalue()

    fuzz()
    assert counts["ended"] >= 20
