"""The dense worlds, and our own fit of each, made once."""

from __future__ import annotations

import pytest
from dense_world import MAX_LENGTH, ORACLE_FAMILIES, World, world

from influence.config import FitConfig
from influence.engine.fit import fit_hessian
from influence.store.factors import Factors


@pytest.fixture(scope="session", params=ORACLE_FAMILIES)
def dense(request: pytest.FixtureRequest) -> World:
    return world(request.param)


@pytest.fixture(scope="session")
def factors(dense: World, tmp_path_factory: pytest.TempPathFactory) -> Factors:
    """Empirical Fisher: the labels are the documents' own, as in the dense Fisher."""
    folder = tmp_path_factory.mktemp("fit") / "hessian"
    return fit_hessian(
        dense.model,
        dense.corpus,
        out=folder,
        config=FitConfig(max_length=MAX_LENGTH, empirical=True),
        batch_tokens=100,
    )
