"""`influence tokens`: the values of a document's tokens add up to its score, and cover its text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

from influence.engine.decompose import decompose
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.errors import InputError, StoreError
from influence.report.pages import write_report
from influence.store.scores import Scores
from influence.store.token_scores import open_token_scores

CORPUS = MemoryCorpus(random_documents(8))
QUERIES = random_queries(3)


@pytest.mark.parametrize("bos", [False, True], ids=["plain", "bos"])
def test_tokens_add_up_to_the_scores(tmp_path: Path, bos: bool) -> None:
    model = tiny_model("llama", bos=bos)
    factors = fit_hessian(model, CORPUS, out=tmp_path / "hessian")
    scores = score(model, factors, QUERIES, CORPUS, tmp_path / "scores")
    assert open_token_scores(scores) is None
    done = decompose(scores, model, factors, k=3)
    tokens = open_token_scores(scores)
    assert tokens is not None
    assert done.left_out == 0
    assert done.worst < 1e-9
    seen = 0
    for row, query in enumerate(QUERIES):
        for by in ("normed", "dot"):
            for column in scores.ranking(query.id, 3, by).tolist():  # type: ignore[arg-type]
                assert (row, column) in tokens
                value_T, length_T = tokens.values(row, column), tokens.lengths(column)
                assert value_T.sum() == pytest.approx(scores.dot[row, column], rel=1e-4, abs=1e-6)
                assert len(value_T) == len(length_T) == len(scores.documents.tokens(column))
                assert length_T.sum() == len(scores.documents.text(column))
                assert (length_T[0] == 0) == bos
                seen += 1
    assert seen == 18
    assert (0, 99) not in tokens
    page = write_report(scores.folder, tmp_path / "r.html")
    assert 'id="d-k-0"' in page.read_text()
    assert 'id="d-k-0"' not in write_report(scores.folder, tmp_path / "r.html", texts="none").read_text()


def test_another_model_is_refused(tmp_path: Path) -> None:
    model = tiny_model("llama")
    scores = score(model, None, QUERIES, CORPUS, tmp_path / "scores")
    with pytest.raises(StoreError, match="another model"):
        decompose(scores, tiny_model("llama", seed=1), None)
    with pytest.raises(StoreError, match="another hessian"):
        decompose(scores, model, fit_hessian(model, CORPUS, out=tmp_path / "hessian"))
    with pytest.raises(InputError, match="k must be"):
        decompose(scores, model, None, k=0)
    assert isinstance(scores, Scores)
    assert np.isfinite(scores.dot).all()
