"""Checks without retraining: consistent with the scores they check, the model left as it came, lines of the report."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

from influence.config import FitConfig, ScoreConfig
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.errors import StoreError
from influence.report.run_card import checks
from influence.store.factors import Factors
from influence.store.formats.tables import read_tables
from influence.store.formats.validation import CHECKS, EXACT, SOLVED
from influence.store.scores import Scores
from influence.validation.exact import _Sample, check
from influence.validation.settings import CheckConfig

CORPUS = MemoryCorpus(random_documents(12, seed=3, longest=16))
CONFIG = CheckConfig(queries=2, documents=10, learnt=5, residual=0.05, steps=12)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scores, Factors]:
    folder, model = tmp_path_factory.mktemp("run"), tiny_model("gpt2")
    factors = fit_hessian(model, CORPUS, out=folder / "hessian", config=FitConfig(max_length=48))
    config = ScoreConfig(max_length=48)
    return score(model, factors, random_queries(3), CORPUS, folder / "scores", config=config), factors


def test_products_with_the_factors_are_the_scores(run: tuple[Scores, Factors]) -> None:
    scores, factors = run
    sample = _Sample.of(scores, tiny_model("gpt2"), factors, CONFIG)
    assert sample.queries == [0, 2]
    assert len(sample.learnt) == 5
    for place in range(2):
        found_D = sample.along(sample.inverse(sample.gradients[place]))
        np.testing.assert_allclose(found_D, sample.score_QD[place], rtol=1e-8)


def test_each_check_fills_a_line_and_the_model_stays(run: tuple[Scores, Factors]) -> None:
    scores, factors = run
    model = tiny_model("gpt2")
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    said: list[str] = []
    tables = check(scores, model, factors, CORPUS, CONFIG, said.append)
    assert all(torch.equal(value, before[name]) for name, value in model.model.state_dict().items())
    assert not any(parameter.grad is not None for parameter in model.model.parameters())
    assert (tables["solved"]["residual"] < tables["solved"]["residual_ekfac"]).all()
    assert tables["learned"][["score", "gradient"]].abs().to_numpy().max() <= 1
    stored = read_tables(scores.folder, EXACT, ("checks",))
    assert stored is not None
    names = [name for name, table in CHECKS.items() if table == EXACT]
    lines = {one.name.lower(): one for one in checks(scores, {EXACT: stored["checks"]})}
    assert all(lines[name].state in ("pass", "warn") for name in names if name != SOLVED)
    assert (lines[SOLVED].state == "not run") == (tables["solved"]["residual"].max() > 0.0505)
    assert "residual at most" in lines[SOLVED].text
    assert all(one.state == "not run" for one in checks(scores, {}) if one.name.lower() in names)
    assert any("residual" in line for line in said)
    assert not list(scores.folder.parent.glob("*.part"))


def test_another_model_or_a_sum_is_refused(run: tuple[Scores, Factors]) -> None:
    scores, factors = run
    with pytest.raises(StoreError, match="made with another model"):
        check(scores, tiny_model("gpt2", seed=1), factors, CORPUS, CONFIG)
    config = scores.manifest["config"] | {"sum": []}
    summed = dataclasses.replace(scores, manifest={**scores.manifest, "config": config})
    with pytest.raises(StoreError, match="is a sum over checkpoints"):
        check(summed, tiny_model("gpt2"), factors, CORPUS, CONFIG)
