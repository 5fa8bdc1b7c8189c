"""Pieces of a run on independent machines, and one store of them: `influence score --shard`, `influence merge`."""

from __future__ import annotations

import json
import re
import shutil
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inputs import WRITER, Inputs
from program import Server

from influence.store.artefact import read_manifest, write_manifest
from influence.store.scores import open_scores

#: One document a batch: no score depends on which documents stand in its batch, so bits can be compared.
ALONE = ("--batch-tokens", "1")


@dataclass(frozen=True)
class Pieces:
    """A whole run and the four pieces of it."""

    whole: Path
    pieces: list[Path]


def score(inputs: Inputs, out: Path, *more: object) -> list[object]:
    return [*inputs.score(Path("identity"), out), *ALONE, *more]


def contents(folder: Path) -> dict[str, bytes]:
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("manifest.json", "run.toml")
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def manifest(folder: Path) -> dict[str, Any]:
    read = json.loads((folder / "manifest.json").read_text())
    assert isinstance(read, dict)
    return read


@pytest.fixture(scope="module")
def made(program: Server, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Pieces:
    folder = tmp_path_factory.mktemp("pieces")
    whole, pieces = folder / "whole", [folder / f"piece-{i}" for i in range(1, 5)]
    runs = [score(inputs, whole), *(score(inputs, p, "--shard", f"{i}/4") for i, p in enumerate(pieces, 1))]
    for arguments in runs:
        result = program.run(*arguments)
        assert result.exit_code == 0, result.stderr
    return Pieces(whole, pieces)


def test_merged_pieces_are_the_whole_run_bit_for_bit(program: Server, made: Pieces, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    merge = ["merge", *made.pieces[::-1], "--out", out]
    result = program.run(*merge)
    assert result.exit_code == 0, result.stderr
    assert f"Scores of 3 queries × 200 documents: {out}" in result.stdout
    assert contents(out) == contents(made.whole)
    merged, whole = manifest(out), manifest(made.whole)
    pieces = merged["provenance"].pop("pieces")
    assert [(piece["first"], piece["end"]) for piece in pieces] == [
        (0, 50),
        (50, 100),
        (100, 150),
        (150, 200),
    ]
    assert pieces[1]["command"].endswith("--shard 2/4")
    for record in (merged, whole):
        for changing in ("command", "commit", "finished", "seconds"):
            del record["provenance"][changing]
        del (
            record["added"],
            record["sha256"],
        )  # run.toml, which says which command was given, and what covers it
    assert merged == whole
    assert merged["provenance"]["completions_by"] == WRITER
    before = contents(out)
    assert program.run(*merge).exit_code == 0  # again: nothing to do
    assert contents(out) == before


def test_batches_of_other_documents_change_the_last_bits_at_most(
    program: Server, inputs: Inputs, made: Pieces, tmp_path: Path
) -> None:
    for number in (1, 2):
        piece = inputs.score(Path("identity"), tmp_path / f"{number}")
        assert program.run(*piece, "--shard", f"{number}/2").exit_code == 0
    assert program.run("merge", tmp_path / "1", tmp_path / "2", "--out", tmp_path / "run").exit_code == 0
    dot, whole = open_scores(tmp_path / "run").dot, open_scores(made.whole).dot
    assert np.abs(dot - whole).max() <= 2e-6 * np.abs(whole).max()


def test_a_piece_that_was_lost_may_be_made_of_halves(
    program: Server, inputs: Inputs, made: Pieces, tmp_path: Path
) -> None:
    halves = [tmp_path / "a", tmp_path / "b"]
    for number, out in zip((3, 4), halves, strict=True):
        assert program.run(*score(inputs, out, "--shard", f"{number}/8")).exit_code == 0
    pieces = [made.pieces[0], *halves, *made.pieces[2:]]
    assert program.run("merge", *pieces, "--out", tmp_path / "run").exit_code == 0
    assert contents(tmp_path / "run") == contents(made.whole)


def test_a_killed_piece_and_a_killed_merge_go_on(
    program: Server, inputs: Inputs, made: Pieces, tmp_path: Path
) -> None:
    out = tmp_path / "piece"
    arguments = score(inputs, out, "--shard", "2/4")
    killed = program.run(*arguments, signal_at=(signal.SIGKILL, out / "blocks" / "000001.safetensors"))
    assert killed.exit_code == -signal.SIGKILL
    refused = program.run("merge", made.pieces[0], out, *made.pieces[2:], "--out", tmp_path / "run")
    assert refused.exit_code == 3
    assert "unfinished" in refused.stderr
    assert not (tmp_path / "run").exists()
    assert program.run(*arguments).exit_code == 0
    merge = ["merge", made.pieces[0], out, *made.pieces[2:], "--out", tmp_path / "run"]
    for file in ("manifest.json", "documents.arrow", "scores.safetensors"):
        killed = program.run(*merge, signal_at=(signal.SIGKILL, tmp_path / "run" / file))
        assert killed.exit_code == -signal.SIGKILL, file
    assert program.run(*merge).exit_code == 0
    assert contents(tmp_path / "run") == contents(made.whole)


def test_gaps_and_overlaps_are_refused(program: Server, made: Pieces, tmp_path: Path) -> None:
    first, second, third, fourth = made.pieces
    for pieces, said in (
        ([first, second, fourth], "Documents 101 to 150 of 200 are in none of the pieces."),
        ([second, third, fourth], "Documents 1 to 50 of 200 are in none of the pieces."),
        ([first, second, third], "Documents 151 to 200 of 200 are in none of the pieces."),
        ([first, second, second, third, fourth], "hold the same documents"),
        ([first, tmp_path, third], "holds no piece"),
        ([made.whole, first], "holds a score store, not a piece of a score store"),
    ):
        result = program.run("merge", *pieces, "--out", tmp_path / "run")
        assert result.exit_code == 3, result.stderr
        assert said in result.stderr
        assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_foreign_pieces_are_refused(program: Server, inputs: Inputs, made: Pieces, tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text(inputs.queries.read_text().replace('"q0"', '"q9"'))
    piece = tmp_path / "queries"
    arguments = score(replace(inputs, queries=queries), piece, "--shard", "2/4")
    assert program.run(*arguments).exit_code == 0
    foreign = {"queries": piece}
    for name in ("corpus", "model", "query_model", "hessian", "damping", "max_length", "dtype"):
        foreign[name] = tmp_path / name
        shutil.copytree(made.pieces[1], foreign[name])
        record = read_manifest(foreign[name])
        assert record is not None
        record["config"][name] = "another"
        write_manifest(foreign[name], record)
    for name, folder in foreign.items():
        result = program.run("merge", made.pieces[0], folder, *made.pieces[2:], "--out", tmp_path / "run")
        assert result.exit_code == 3
        assert f"{folder} is a piece of another run than {made.pieces[0]}" in result.stderr
        assert re.search(f"found:.* {name}: ", result.stderr)
    assert not (tmp_path / "run").exists()


def test_a_piece_is_no_score_store(program: Server, made: Pieces) -> None:
    result = program.run("top", made.pieces[0], "q0")
    assert result.exit_code == 3
    assert "holds a piece of a score store, not a score store" in result.stderr
    assert "influence merge" in result.stderr


@pytest.mark.parametrize("shard", ["0/4", "5/4", "2", "2/", "-1/4", "1/4/2", "1/201", "a/b", "٣/4"])
def test_pieces_that_do_not_exist(program: Server, inputs: Inputs, tmp_path: Path, shard: str) -> None:
    result = program.run(*score(inputs, tmp_path / "out", "--shard", shard))
    assert result.exit_code == 2, result.stderr
    assert "Error: " in result.stderr
    assert not (tmp_path / "out").exists()


def test_windows_and_documents_without_text(program: Server, inputs: Inputs, tmp_path: Path) -> None:
    """Rows are documents of the corpus: a piece of them may have no text, and another many windows."""
    rows = [{"text": ""}, {"text": "x"}, {"text": "abcdefgh " * 9}, {"text": "0123"}]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = replace(inputs, corpus=corpus)
    more = ("--windows", "--max-length", "30")
    pieces = [tmp_path / f"{number}" for number in (1, 2)]
    assert program.run(*score(files, tmp_path / "whole", *more)).exit_code == 0
    for number, out in enumerate(pieces, 1):
        done = program.run(*score(files, out, *more, "--shard", f"{number}/2"))
        assert done.exit_code == 0, done.stderr
        assert number == 2 or "0 documents" in done.stdout
    assert program.run("merge", *pieces, "--out", tmp_path / "run").exit_code == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    assert len(open_scores(tmp_path / "run").documents) == 4
