"""Fit an EK-FAC Hessian: covariances, eigenbases, corrected eigenvalues; each part is stored whole and resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from influence.config import FitConfig
from influence.engine.fit_parts import Fit, require_something_to_share
from influence.engine.parallel.distributed import ALONE, World
from influence.engine.run import Run, unreached
from influence.engine.tokenised import Corpus
from influence.errors import InputError, ModelError
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.selection import find_layers
from influence.store.documents import FILE as DOCUMENTS
from influence.store.factors import (
    Factors,
    open_factors,
    write_kronfluence_arguments,
)


def fit_hessian(
    model: LanguageModel,
    corpus: Corpus,
    *,
    out: str | Path | None = None,
    config: FitConfig = FitConfig(),
    batch_tokens: int | None = None,
    world: World = ALONE,
) -> Factors:
    """Fit the EK-FAC Hessian of a model on a corpus, resuming a fit that was killed.

    Args:
        out: Folder of the result; default `runs/hessian-HASH`, the hash being that of all settings.
        config: Settings of the fit.
        batch_tokens: Padded tokens of a batch, by default what suits the device; halves by itself when memory runs out.
        world: Processes that share the documents: `influence.processes`.

    Raises:
        ModelError: no such layers, or layers that cannot be tracked.
        StoreError: `out` holds a fit with other settings, or of another model or corpus.
        ComputeError: a value is not finite, a layer has no gradient, or a document does not fit into memory.
    """
    run = Run(world, temporary=(DOCUMENTS, "*.state.safetensors", "*.part"))
    config = replace(config, max_length=model.fitting(config.max_length))
    layers = find_layers(model.model, config.layers, config.exclude_layers)
    vocabulary = [layer.name for layer in layers if layer.vocabulary]
    _require_kronfluence_can(config, layers, world)
    require_something_to_share(config, layers)
    surveyed = run.survey(corpus, model)
    identity = {
        **config.identity(),
        "layers": [layer.name for layer in layers],
        "model": model.fingerprint,
        "tokenizer": model.tokenizer_fingerprint,
        "dtype": model.precision,
        "corpus": surveyed.fingerprint,
        **({"vocabulary": vocabulary} if vocabulary else {}),
    }
    folder = Path(out) if out is not None else Path("runs") / f"hessian-{_hash(identity)}"
    if run.claim(folder, "hessian", identity):
        table = run.tokenise(corpus, surveyed, model, config, draw=config.documents, seed=config.seed)
        budget = run.budget(model, table, batch_tokens)
        if config.backend == "kronfluence":
            from influence.engine.kronfluence_fit import fit_with_kronfluence

            alone = budget.batch_tokens == 1
            fit_with_kronfluence(folder, model, layers, table, config, 1 if alone else batch_tokens)
        else:
            fit = Fit(folder, model, layers, table, config, budget, world)
            fit.covariances()
            fit.eigenbases()
            fit.corrected_eigenvalues()
        plain = config.covariance_blocks == 1 and config.expert_covariances == "own" and not vocabulary
        if world.first and plain:  # known to kronfluence
            write_kronfluence_arguments(folder, config.empirical)
        summary = run.summary + unreached(layers, folder)
        run.finish(model, budget, corpus_documents=surveyed.documents, summary=summary)
    return open_factors(folder)


def _require_kronfluence_can(config: FitConfig, layers: Sequence[TrackedLayer], world: World) -> None:
    if config.backend != "kronfluence":
        return
    if find_spec("kronfluence") is None:
        raise InputError(
            "The package kronfluence is missing.", fix="Run pip install 'influence-lm[kronfluence]'."
        )
    if world.size > 1:
        raise InputError("The backend kronfluence runs as one process.", have=f"{world.size} processes")
    others = [layer.name for layer in layers if layer.vocabulary or layer.router or layer.expert is not None]
    if others:
        raise ModelError(
            "kronfluence knows linear layers only, no fused experts, routers, output heads and embeddings.",
            have=f"{len(others)} of them are tracked, first {others[0]}",
            fix="Leave out --backend kronfluence, or track other layers.",
        )


def _hash(identity: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=5).hexdigest()
