"""Files that are appended to: what a kill cut short, what is damaged, and what is too long."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence.errors import StoreError
from influence.store import lines as module
from influence.store.artefact import claim, finish, open_complete
from influence.store.formats.training import METRICS, add_metrics, cut_metrics, read_metrics
from influence.store.lines import Lines

VALUES = [{"n": 1, "text": "é\ud800\n"}, [1.5, None], "x"]


@given(cut=st.integers(min_value=0, max_value=200))
def test_a_file_cut_anywhere_holds_its_whole_lines_and_goes_on(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = Lines(tmp_path_factory.mktemp("lines") / "deep" / "a.jsonl")
    file.append(*VALUES)
    data = file.path.read_bytes()
    file.path.write_bytes(data[:cut])
    whole = data[:cut].count(b"\n")
    assert file.read() == VALUES[:whole]
    file.append("next")
    assert file.read() == [*VALUES[:whole], "next"]
    assert file.path.read_bytes().count(b"\n") == whole + 1


def test_a_damaged_line_is_left_out_with_a_warning(tmp_path: Path) -> None:
    file = Lines(tmp_path / "a.jsonl")
    assert file.read() == []
    file.path.write_bytes(b'1\n{"a": \n\xff\xfe\n\n' + b"[" * 100_000 + b"\n2\n")
    with pytest.warns(UserWarning, match="3 damaged lines are left out"):
        assert file.read() == [1, 2]


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 100)
    file = Lines(tmp_path / "a.jsonl")
    file.append("x" * 90)
    assert file.read()
    file.append("x" * 110)
    with pytest.raises(StoreError, match="line of more than"):
        file.read()


def test_a_file_that_was_cut_and_grew_again_is_listed_as_it_ends(tmp_path: Path) -> None:
    manifest = claim(tmp_path / "run", "model", {})
    file = Lines(tmp_path / "run" / "a.jsonl")
    file.append(1, 2)
    file.rewrite([1])
    file.append(3)
    finish(tmp_path / "run", manifest, {})
    open_complete(tmp_path / "run", "model")


def test_metrics_after_a_step_are_forgotten(tmp_path: Path) -> None:
    cut_metrics(tmp_path, 1)
    assert read_metrics(tmp_path) == []
    lines = [{"step": step, "epoch": step / 2, "loss": float("inf")} for step in (1, 2, 3)]
    for line in lines:
        add_metrics(tmp_path, line)
    cut_metrics(tmp_path, 2)
    assert read_metrics(tmp_path) == lines[:2]
    Lines(tmp_path / METRICS).append({"epoch": 1.0})
    with pytest.raises(StoreError, match="no file of metrics") as caught:
        read_metrics(tmp_path)
    assert "step" in str(caught.value.have)
