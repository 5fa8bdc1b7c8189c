"""What made the scores of a run, and which checks say that they can be believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from influence.report.format import count, duration
from influence.store.formats.validation import CHECKS, EXACT, VALIDATION
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
        Fact("dtype", _text(config, "dtype"), _text(provenance, "quantisation", ""), code=True),
        Fact("Finished", _text(provenance, "finished"), _after(provenance.get("seconds"))),
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
    """On how many documents the factors were fitted, `1,000 documents`; empty if not recorded.

    The setting is a limit: of a corpus that has fewer, all were used.
    """
    limit = _hessian(_manifest(scores)[0]).get("documents")
    if not isinstance(limit, int):
        return ""
    used = min(limit, len(scores.documents))
    return f"{count(used)} documents" + (", all of the corpus" if used < limit else "")


def model_and_corpus(scores: Scores) -> tuple[str, str]:
    """Names of the model whose completions are explained and of the corpus, for the title."""
    provenance = _manifest(scores)[1]
    return (
        _text(provenance, "query_model_name", _text(provenance, "model_name", "a model not recorded")),
        _text(provenance, "corpus_name", "a corpus not recorded"),
    )


def who_did_what(scores: Scores) -> list[tuple[str, str]]:
    """Who wrote the completions, whose log-probability was explained, and whose gradients the documents have."""
    provenance = _manifest(scores)[1]
    model = _text(provenance, "model_name")
    return [
        ("Completions written by", _text(provenance, "completions_by")),
        ("scored by", _text(provenance, "query_model_name", model)),
        ("documents' gradients and Hessian from", model),
    ]


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


def _after(seconds: Any) -> str:
    return f"after {duration(seconds)}" if isinstance(seconds, int | float) else ""


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


State = Literal["pass", "warn", "not run"]

#: Part of the documents that may lose text to the token limit before that is a warning.
MOST_TRUNCATED = 0.1
_STATES: dict[str, State] = {"holds": "pass", "does not hold": "warn", "not checked": "not run"}
#: What `influence analyze sanity` looks at, for a run where it did not.
_SANITY = (
    "a memorised passage finds its near copies",
    "token scores add up to the score",
    "a text raises itself",
)

#: The command of each table of `CHECKS`.
_COMMANDS = {VALIDATION: "influence validate", EXACT: "influence check"}


@dataclass(frozen=True)
class Check:
    """A question to the run, whether the answer is as it should be, and the answer."""

    name: str
    state: State
    text: str


def verdict(checked: list[Check]) -> str:
    """One line on all checks: what those that were run say, and what to run for the others."""
    ran = [check for check in checked if check.state != "not run"]
    warned = [check.name for check in ran if check.state == "warn"]
    open_ = [check.name for check in checked if check.state == "not run"]
    if not ran:
        text = "Not known: no check was run."
    elif warned:
        text = f"With care: {len(warned)} of the {len(ran)} checks that were run warn ({'; '.join(warned)})."
    elif open_:
        passed = (
            f"all {len(ran)} checks that were run pass"
            if len(ran) > 1
            else "the one check that was run passes"
        )
        text = f"As far as checked: {passed}, {len(open_)} {'was' if len(open_) == 1 else 'were'} not run."
    else:
        text = f"Yes: all {len(ran)} checks pass."
    unrun = {_sentence(name) for name in _SANITY} & set(open_)
    return text + (" Run influence analyze sanity for the rest that a run can check itself." if unrun else "")


def checks(scores: Scores, made: Mapping[str, pd.DataFrame]) -> list[Check]:
    """The checks of a run; what nobody ran says so, with the command that does.

    Args:
        made: Tables `checks` (check, state, why) by the analysis that left them: sanity, and those of `CHECKS`.
    """
    sanity = made.get("sanity")
    by_itself = (
        [Check(_sentence(name), "not run", "influence analyze sanity") for name in _SANITY]
        if sanity is None
        else [_check(row) for row in sanity.to_dict("records")]
    )
    known = {
        row["check"]: _check(row)
        for name in (VALIDATION, EXACT)
        if name in made
        for row in made[name].to_dict("records")
    }
    others = [
        known.get(name, Check(_sentence(name), "not run", _COMMANDS[table])) for name, table in CHECKS.items()
    ]
    of_documents = [
        *_found(scores),
        _scored_whole(scores),
        *_beyond_context(scores),
        _gradients(scores),
    ]
    return [*by_itself, *of_documents, *others]


def _check(row: Mapping[Any, Any]) -> Check:
    state = _STATES.get(str(row["state"]), "not run")
    return Check(_sentence(str(row["check"])), state, _sentence(str(row["why"])))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _found(scores: Scores) -> list[Check]:
    """Of a run that an index made: how much of the corpus it left out."""
    if scores.scored is None:
        return []
    text = f"{scored_of(scores)}; the others may rank above some of these, and are not known."
    return [Check("Every document was scored", "warn", text)]


def _scored_whole(scores: Scores) -> Check:
    cut, limit = truncated(scores)
    total = len(scores.documents)
    name = "Documents were scored whole"
    if cut is None:
        return Check(name, "not run", "How many were cut is not recorded.")
    if not cut:
        return Check(name, "pass", f"All {count(total)}.")
    state: State = "warn" if cut > MOST_TRUNCATED * total else "pass"
    return Check(name, state, f"{count(cut)} of {count(total)} were cut to {limit} tokens.")


def _beyond_context(scores: Scores) -> list[Check]:
    """A warning where documents are longer than any text of the model's training."""
    tokens = _manifest(scores)[1].get("tokens")
    beyond = tokens.get("beyond_context") if isinstance(tokens, Mapping) else None
    if not isinstance(beyond, int) or not beyond:
        return []
    text = f"{count(beyond)} of {count(len(scores.documents))} are longer: their last tokens say less of the model."
    return [Check("Documents are no longer than the texts that the model was trained on", "warn", text)]


def _gradients(scores: Scores) -> Check:
    without = int((np.asarray(scores.gradient_norm) == 0).sum())
    text = (
        f"{count(without)} of {count(len(scores.documents))} have none: their scores are 0."
        if without
        else ""
    )
    return Check("Every document has a gradient", "warn" if without else "pass", text or "All of them.")
