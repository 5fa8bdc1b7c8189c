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
    "InfluenceError": "influence.errors",
    "read_corpus": "influence.data.corpus",
    "read_queries": "influence.data.queries",
    "load_model": "influence.models.load",
    "LanguageModel": "influence.models.load",
    "fit_hessian": "influence.engine.fit",
    "open_factors": "influence.store.factors",
    "score": "influence.engine.score",
    "processes": "influence.engine.distributed",
    "merge": "influence.engine.merge",
    "open_scores": "influence.store.scores",
    "build_index": "influence.engine.index",
    "search_index": "influence.engine.search",
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
    from influence.data.corpus import read_corpus as read_corpus
    from influence.data.queries import read_queries as read_queries
    from influence.engine.distributed import processes as processes
    from influence.engine.fit import fit_hessian as fit_hessian
    from influence.engine.index import build_index as build_index
    from influence.engine.merge import merge as merge
    from influence.engine.score import score as score
    from influence.engine.search import search_index as search_index
    from influence.errors import InfluenceError as InfluenceError
    from influence.models.load import LanguageModel as LanguageModel
    from influence.models.load import load_model as load_model
    from influence.report.pages import write_report as write_report
    from influence.store.factors import open_factors as open_factors
    from influence.store.index import open_index as open_index
    from influence.store.scores import open_scores as open_scores
    from influence.types import Document as Document
    from influence.types import Query as Query
