"""Which training documents made this model say that?

The public API, loaded lazily (PEP 562): `import influence` imports neither torch nor transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "Document": "influence.types",
    "Query": "influence.types",
    "FitConfig": "influence.config",
    "IndexConfig": "influence.config",
    "ScoreConfig": "influence.config",
    "SearchConfig": "influence.config",
    "InfluenceError": "influence.errors",
    "read_corpus": "influence.data.corpus",
    "read_queries": "influence.data.queries",
    "load_model": "influence.models.load",
    "LanguageModel": "influence.models.load",
    "fit_hessian": "influence.engine.fit",
    "open_factors": "influence.store.factors",
    "score": "influence.engine.score",
    "processes": "influence.engine.parallel.distributed",
    "merge": "influence.engine.parallel.merge",
    "open_scores": "influence.store.scores",
    "build_index": "influence.engine.index.build",
    "search_index": "influence.engine.index.search",
    "open_index": "influence.store.index",
    "analyze": "influence.analysis.run",
    "write_report": "influence.report.pages",
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        value = getattr(importlib.import_module(_EXPORTS[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'influence' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from influence.analysis.run import analyze as analyze
    from influence.config import FitConfig as FitConfig
    from influence.config import IndexConfig as IndexConfig
    from influence.config import ScoreConfig as ScoreConfig
    from influence.config import SearchConfig as SearchConfig
    from influence.data.corpus import read_corpus as read_corpus
    from influence.data.queries import read_queries as read_queries
    from influence.engine.fit import fit_hessian as fit_hessian
    from influence.engine.index.build import build_index as build_index
    from influence.engine.index.search import search_index as search_index
    from influence.engine.parallel.distributed import processes as processes
    from influence.engine.parallel.merge import merge as merge
    from influence.engine.score import score as score
    from influence.errors import InfluenceError as InfluenceError
    from influence.models.load import LanguageModel as LanguageModel
    from influence.models.load import load_model as load_model
    from influence.report.pages import write_report as write_report
    from influence.store.factors import open_factors as open_factors
    from influence.store.index import open_index as open_index
    from influence.store.scores import open_scores as open_scores
    from influence.types import Document as Document
    from influence.types import Query as Query
