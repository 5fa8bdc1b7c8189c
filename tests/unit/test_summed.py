"""The sum over checkpoints is the sum of the separate stores, also after a kill; what differs is not added."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

from influence.config import ScoreConfig
from influence.engine import checkpoints as checkpoints_module
from influence.engine.checkpoints import Checkpoint, Opened, score_checkpoints, sum_scores
from influence.engine.decompose import decompose
from influence.errors import StoreError
from influence.store.scores import open_scores
from influence.store.stages import open_stages

CORPUS = MemoryCorpus(random_documents(9, seed=5, longest=20))
CHECKPOINTS = [Checkpoint(f"checkpoint-{seed}", str(seed)) for seed in range(3)]


def scored(folder: Path, checkpoints: Sequence[Checkpoint] = CHECKPOINTS) -> None:
    score_checkpoints(
        checkpoints,
        lambda one: Opened(tiny_model("llama", seed=int(one.model)), random_queries(3)),
        CORPUS,
        folder,
        layers=("mlp", "head"),
        summed=True,
        config=ScoreConfig(max_length=48),
    )


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_sum_is_that_of_the_separate_stores_also_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(checkpoints_module, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            scored(tmp_path)
    with pytest.raises(StoreError, match="unfinished"):
        open_scores(tmp_path / "sum")
    scored(tmp_path)
    stores = [scores for _, scores in open_stages(tmp_path)]
    assert len(stores) == 3
    assert "lm_head" in stores[0].manifest["config"]["layers"]
    summed = open_scores(tmp_path / "sum")
    first = np.array(summed.dot)
    np.testing.assert_allclose(first, sum(np.array(s.dot) for s in stores), rtol=1e-12)
    squares = sum(np.square(s.gradient_norm) for s in stores)
    np.testing.assert_allclose(summed.gradient_norm, np.sqrt(squares), rtol=1e-12)
    np.testing.assert_allclose(summed.query_nll, sum(np.array(s.query_nll) for s in stores) / 3, rtol=1e-12)
    assert list(summed.documents.ids) == list(stores[0].documents.ids)
    assert [part["name"] for part in summed.manifest["provenance"]["summed"]] == [c.name for c in CHECKPOINTS]
    assert len(summed.top("q0", k=3)) == 3
    with pytest.raises(StoreError, match="is a sum over checkpoints"):
        decompose(open_scores(tmp_path / "sum"), tiny_model("llama"), None)


def test_stores_of_other_queries_are_not_added(tmp_path: Path) -> None:
    from influence.engine.score import score

    parts = [
        (
            name,
            score(
                tiny_model("llama"), None, queries, CORPUS, tmp_path / name, config=ScoreConfig(max_length=48)
            ),
        )
        for name, queries in (("a", random_queries(3)), ("b", random_queries(2)))
    ]
    with pytest.raises(StoreError, match="The scores at a and at b cannot be added"):
        sum_scores(parts, tmp_path / "sum")
