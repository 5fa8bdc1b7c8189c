"""The run card: what made the scores, read from the store's manifest; what is missing is said to be missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from influence.report.text import count
from influence.store.scores import Scores

NOT_RECORDED = "not recorded"
_FINGERPRINT_CHARACTERS = 12


@dataclass(frozen=True)
class Fact:
    """A row of the run card; `code` marks a value to be set in a fixed-width face."""

    name: str
    value: str
    note: str = ""
    code: bool = False


def run_card(scores: Scores) -> list[Fact]:
    """What a reader must know of a run before believing a score."""
    config, provenance = _manifest(scores)
    model, query_model = _text(provenance, "model_name"), _text(provenance, "query_model_name")
    same = "model" in config and config.get("model") == config.get("query_model") and model == query_model
    fitted = fitted_documents(scores)
    lengths_D = scores.documents.lengths
    lengths_D = lengths_D if scores.scored is None else lengths_D[scores.scored]
    facts = [
        Fact("Model", model, "gives the Hessian and the documents' gradients"),
        Fact("Query model", "the same" if same else query_model, "gives the queries' gradients"),
        Fact("Corpus", _text(provenance, "corpus_name"), _text(provenance, "summary", "")),
        Fact("Documents scored", scored_of(scores), _lengths(config)),
        Fact("Tokens scored", count(int(lengths_D.sum()))),
        Fact("Queries", count(len(scores.queries)), queries_by_group(scores)),
        Fact("Curvature", _curvature(config), f"fitted on {fitted}" if fitted else ""),
        Fact("Damping", _damping(config)),
        Fact("Tracked layers", _layers(config), "parameters elsewhere do not count"),
        Fact("dtype", _text(config, "dtype"), code=True),
        Fact("Finished", _text(provenance, "finished"), _duration(provenance)),
        Fact("Program", _program(provenance), _text(provenance, "machine", "")),
        Fact("Libraries", _libraries(provenance)),
        Fact("Fingerprints", _fingerprints(config), "first 12 characters; whole below", code=True),
    ]
    return [fact if fact.value != NOT_RECORDED else Fact(fact.name, NOT_RECORDED) for fact in facts]


def scored_of(scores: Scores) -> str:
    """How many documents were scored, `3,000`, and of how many where an index chose them."""
    found, total = count(scores.documents_scored), count(len(scores.documents))
    return found if scores.scored is None else f"{found} of {total}, found by an index"


def tracked_layers(scores: Scores) -> list[str]:
    """Names of the tracked layers, if recorded."""
    layers = _manifest(scores)[0].get("layers")
    return [str(name) for name in layers] if isinstance(layers, list) else []


def truncated(scores: Scores) -> tuple[int | None, str]:
    """How many documents lost text to the token limit (None: not recorded), and that limit."""
    config, provenance = _manifest(scores)
    tokens = provenance.get("tokens")
    number_cut = tokens.get("truncated") if isinstance(tokens, Mapping) else None
    return (number_cut if isinstance(number_cut, int) else None), _text(config, "max_length")


def fitted_documents(scores: Scores) -> str:
    """On how many documents the factors were fitted, `at most 1,000 documents`; empty if not recorded."""
    documents = _hessian(_manifest(scores)[0]).get("documents")
    return f"at most {count(documents)} documents" if isinstance(documents, int) else ""


def model_and_corpus(scores: Scores) -> tuple[str, str]:
    """Names of the model whose completions are explained and of the corpus, for the title."""
    provenance = _manifest(scores)[1]
    return (
        _text(provenance, "query_model_name", _text(provenance, "model_name", "a model not recorded")),
        _text(provenance, "corpus_name", "a corpus not recorded"),
    )


def queries_by_group(scores: Scores) -> str:
    """`reasoning 40, factual 40, control 20`."""
    groups = Counter(query.group for query in scores.queries)
    return ", ".join(f"{group} {count(n)}" for group, n in groups.items())


def _manifest(scores: Scores) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    config, provenance = (scores.manifest.get(part) for part in ("config", "provenance"))
    return (
        config if isinstance(config, Mapping) else {},
        provenance if isinstance(provenance, Mapping) else {},
    )


def _text(values: Mapping[str, Any], key: str, missing: str = NOT_RECORDED) -> str:
    value = values.get(key)
    return missing if value is None or value == "" else str(value)


def _lengths(config: Mapping[str, Any]) -> str:
    limit = _text(config, "max_length", "")
    if not limit:
        return ""
    return f"at most {limit} tokens each" + (", longer ones in windows" if config.get("windows") else "")


def _hessian(config: Mapping[str, Any]) -> Mapping[str, Any]:
    hessian = config.get("hessian")
    return hessian if isinstance(hessian, Mapping) else {}


def _curvature(config: Mapping[str, Any]) -> str:
    hessian = _hessian(config)
    if "kronfluence" in hessian:
        return "EK-FAC, fitted by kronfluence"
    if "empirical" not in hessian:
        return NOT_RECORDED
    return "EK-FAC, " + (
        "the corpus's own labels" if hessian["empirical"] else "labels sampled from the model"
    )


def _damping(config: Mapping[str, Any]) -> str:
    damping = config.get("damping")
    if isinstance(damping, int | float):
        return f"{damping:g} × mean eigenvalue of each layer"
    return _text(config, "damping")


def _layers(config: Mapping[str, Any]) -> str:
    layers = config.get("layers")
    return f"{count(len(layers))} linear layers" if isinstance(layers, list) else _text(config, "layers")


def _duration(provenance: Mapping[str, Any]) -> str:
    seconds = provenance.get("seconds")
    if not isinstance(seconds, int | float):
        return ""
    minutes = int(seconds // 60)
    parts = (
        f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds % 60:.0f} s"
    )
    return f"after {parts if minutes else f'{seconds:.1f} s'}"


def _program(provenance: Mapping[str, Any]) -> str:
    commit = _text(provenance, "commit", "")
    return f"influence {_text(provenance, 'version')}" + (f", commit {commit}" if commit else "")


def _libraries(provenance: Mapping[str, Any]) -> str:
    libraries = provenance.get("libraries")
    if not isinstance(libraries, Mapping) or not libraries:
        return NOT_RECORDED
    return ", ".join(f"{name} {version}" for name, version in sorted(libraries.items()))


def _fingerprints(config: Mapping[str, Any]) -> str:
    names = ("model", "query_model", "tokenizer", "corpus", "queries")
    parts = [
        f"{name.replace('_', ' ')} {str(config[name])[:_FINGERPRINT_CHARACTERS]}"
        for name in names
        if config.get(name)
    ]
    return "\n".join(parts) or NOT_RECORDED
