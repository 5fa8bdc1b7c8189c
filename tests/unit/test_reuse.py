"""Added documents alone are scored: the rest is taken from an earlier run of the same queries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from settings import arguments
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

from influence.config import ScoreConfig
from influence.engine import passes
from influence.engine import score as module
from influence.engine.score import score
from influence.errors import StoreError
from influence.store.scores import Scores
from influence.types import Document

MODEL, QUERIES, DOCUMENTS = tiny_model(), random_queries(3), random_documents(12)


def run(folder: Path, documents: list[Document], **settings: Any) -> Scores:
    return score(
        MODEL,
        None,
        QUERIES,
        MemoryCorpus(documents),
        folder,
        **arguments(ScoreConfig, {"max_length": 24, **settings}),
    )


def test_only_new_and_changed_documents_go_through_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = run(tmp_path / "earlier", DOCUMENTS[:8])
    changed = Document(DOCUMENTS[2].id, "something else", DOCUMENTS[2].source)
    corpus = [DOCUMENTS[9], *DOCUMENTS[4:8], changed, DOCUMENTS[0], DOCUMENTS[10]]
    expected = run(tmp_path / "anew", corpus)
    seen: list[str] = []
    describe = passes.describe_documents

    def watched(ids: Any) -> str:
        seen.extend(ids)
        return describe(ids)

    monkeypatch.setattr(module, "describe_documents", watched)
    found = run(tmp_path / "reused", corpus, reuse=earlier)
    assert sorted(seen) == sorted([DOCUMENTS[9].id, DOCUMENTS[2].id, DOCUMENTS[10].id])
    np.testing.assert_allclose(found.dot, expected.dot, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.gradient_norm, expected.gradient_norm, rtol=1e-10)
    assert found.manifest["provenance"]["reused"] == 5
    assert found.manifest["config"] == expected.manifest["config"]


def test_nothing_new_is_no_pass_at_all(tmp_path: Path) -> None:
    earlier = run(tmp_path / "earlier", DOCUMENTS)
    found = run(tmp_path / "reused", DOCUMENTS[::-1], reuse=earlier)
    np.testing.assert_array_equal(found.dot, earlier.dot[:, ::-1])


def test_scores_made_otherwise_are_refused(tmp_path: Path) -> None:
    earlier = run(tmp_path / "earlier", DOCUMENTS, windows=True)
    with pytest.raises(StoreError, match="made otherwise") as error:
        run(tmp_path / "reused", DOCUMENTS, reuse=earlier)
    assert "windows" in (error.value.have or "")
