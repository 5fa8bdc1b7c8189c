"""The frame that fit, score, index and search share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from texts import MemoryCorpus, random_documents
from tiny import tiny_model

from influence.config import ScoreConfig
from influence.engine.batching import Budget
from influence.engine.run import Run
from influence.errors import StoreError

MODEL, CORPUS = tiny_model(), MemoryCorpus(random_documents(5))
TEMPORARY = ("blocks", "*.state")


def begun(folder: Path) -> tuple[Run, bool]:
    run = Run(temporary=TEMPORARY)
    surveyed = run.survey(CORPUS, MODEL)
    return run, run.claim(folder, "scores", {"corpus": surveyed.fingerprint})


def unfinished(folder: Path) -> None:
    """What a resumed run would need."""
    (folder / "blocks").mkdir()
    (folder / "blocks" / "000000").touch()
    (folder / "sums.state").touch()


def test_a_finished_run_says_what_made_it_and_leaves_nothing_temporary(tmp_path: Path) -> None:
    run, works = begun(tmp_path / "run")
    assert works
    table = run.tokenise(CORPUS, run.survey(CORPUS, MODEL), MODEL, ScoreConfig())
    unfinished(tmp_path / "run")
    run.finish(MODEL, Budget(64), hessian_folder="there")
    made = json.loads((tmp_path / "run" / "manifest.json").read_text())["provenance"]
    assert (made["model_name"], made["corpus_name"], made["batch_tokens"]) == (MODEL.name, CORPUS.name, 64)
    assert (made["hessian_folder"], made["tokens"]["documents"]) == ("there", len(table))
    assert "processes" not in made
    assert not (tmp_path / "run" / "blocks").exists()
    assert not (tmp_path / "run" / "sums.state").exists()


def test_a_run_that_is_there_already_is_only_tidied(tmp_path: Path) -> None:
    run, _ = begun(tmp_path / "run")
    run.finish(MODEL, Budget(64))
    unfinished(tmp_path / "run")  # a kill came between the result and its clean-up
    _, works = begun(tmp_path / "run")
    assert not works
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["manifest.json"]


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    with pytest.raises(StoreError, match="other arguments"):
        Run().claim(tmp_path / "run", "scores", {"corpus": "another"})
