"""Whether models, a Hessian and queries go together, and what identifies their scores."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from influence.config import ScoreConfig
from influence.data.chats import chat_template
from influence.data.queries import queries_digest
from influence.errors import InputError, ModelError, StoreError
from influence.models.capture import require_no_vocabulary
from influence.models.layers import TrackedLayer, all_layers
from influence.models.load import LanguageModel
from influence.models.selection import find_layers
from influence.store.factors import Factors
from influence.types import Query


def checked_layers(
    model: LanguageModel,
    query_model: LanguageModel,
    factors: Factors | None,
    queries: Sequence[Query],
    config: ScoreConfig,
    other_checkpoint: bool,
) -> tuple[list[TrackedLayer], list[TrackedLayer]]:
    """The tracked layers of the model and of the query model; it raises what `score` raises before it reads."""
    if not queries:
        raise InputError("There are no queries to score.")
    if factors is None and config.query_error is not None:
        raise InputError(
            "Queries are compressed in the metric of a Hessian, and there is none.",
            fix="Leave out --query-error, or give a fitted --hessian.",
        )
    if factors is not None:
        require_same_model(factors, model, other_checkpoint)
    layers, query_layers = matching_layers(factors, model), matching_layers(factors, query_model)
    if [(a.name, a.shape, len(a.modules)) for a in query_layers] != [
        (b.name, b.shape, len(b.modules)) for b in layers
    ]:
        raise InputError(
            f"{query_model.name} has other layers than {model.name}: it cannot give the queries' gradients."
        )
    if config.query_error is not None:
        require_no_vocabulary(layers, "--query-error")
    return layers, query_layers


#: A setting that runs without it do not name: they are as they were before there was one.
_SELF = "self_influence"


def run_identity(
    model: LanguageModel,
    query_model: LanguageModel,
    layers: Sequence[TrackedLayer],
    factors: Factors | None,
    queries: Sequence[Query],
    config: ScoreConfig,
) -> dict[str, Any]:
    """What determines the scores of a document; those of a run depend on the corpus too."""
    return {
        **{
            name: value
            for name, value in asdict(config).items()
            if value is not None and (value or name != _SELF)
        },
        "layers": [layer.name for layer in layers],
        "model": model.fingerprint,
        "query_model": query_model.fingerprint,
        "tokenizer": model.tokenizer_fingerprint,
        "query_tokenizer": query_model.tokenizer_fingerprint,
        "dtype": model.precision,
        "queries": queries_digest(queries),
        **_template(query_model, queries),
        "hessian": factors.identity if factors else "identity",
    }


def _template(query_model: LanguageModel, queries: Sequence[Query]) -> dict[str, str]:
    """What writes the queries that are chats."""
    if not any(query.messages for query in queries):
        return {}
    template = chat_template(query_model.tokenizer)
    return {"chat_template": hashlib.blake2b(template.encode(), digest_size=16).hexdigest()}


def matching_layers(factors: Factors | None, model: LanguageModel) -> list[TrackedLayer]:
    """The layers of `model` that `factors` covers (without: the MLPs); StoreError where name or shape differ."""
    if factors is None:
        return _mlps(model)
    present = {*dict(model.model.named_modules()), *all_layers(model.model)}
    missing = [name for name in factors.layers if name not in present]
    if missing:
        raise StoreError(
            f"The Hessian in {factors.folder} is of another model than {model.name}.",
            have=f"{missing[0]} is in the Hessian but not in the model",
            fix="Fit a Hessian of this model: influence fit-hessian.",
        )
    layers = find_layers(model.model, factors.layers)
    for layer in layers:
        if layer.shape != factors.shape(layer.name):
            raise StoreError(
                f"The Hessian in {factors.folder} is of another model than {model.name}.",
                have=f"{layer.name} is {factors.shape(layer.name)} there and {layer.shape} here",
                fix="Fit a Hessian of this model: influence fit-hessian.",
            )
        if (layer.vocabulary is not None) != (layer.name in factors.vocabulary):
            raise StoreError(
                f"The Hessian in {factors.folder} has a covariance over the vocabulary for {layer.name}; curvature is "
                "diagonal there now.",
                fix="Fit it again: influence fit-hessian --layers head, and what else it covers.",
            )
    return layers


def _mlps(model: LanguageModel) -> list[TrackedLayer]:
    try:
        return find_layers(model.model)
    except ModelError as error:  # its advice is for those who choose layers
        raise ModelError(
            f"Without a Hessian the MLPs are scored. {error.message.removeprefix('--layers mlp: ')}",
            have=error.have,
            fix="A Hessian chooses the layers: fit one with influence fit-hessian --layers, and score with it. "
            f"{error.fix}",
        ) from error


def require_same_model(factors: Factors, model: LanguageModel, other_checkpoint: bool = False) -> None:
    """StoreError where the Hessian is of another model or tokenizer; a warning where it does not say."""
    if factors.manifest is None:
        warnings.warn(
            f"{factors.folder} was fitted by kronfluence, which does not record the model: not verified.",
            stacklevel=3,
        )
    elif factors.manifest["config"]["model"] != model.fingerprint and not other_checkpoint:
        raise StoreError(
            f"The Hessian in {factors.folder} is of another model than {model.name}.",
            have=f"fitted on {factors.manifest['provenance'].get('model_name')}",
            fix="Score with the model it was fitted on (--query-model is for the tuned one), or fit again.",
        )
    elif factors.manifest["config"]["tokenizer"] != model.tokenizer_fingerprint:
        raise StoreError(
            f"The Hessian in {factors.folder} was fitted with another tokenizer than that of {model.name}.",
            fix="Score with the tokenizer it was fitted with, or fit again.",
        )
