"""What `influence doctor` says of a model before its gradients: layers, tokenizer, context, what batches change."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from torch import nn

from influence.data.tokens import frame_ids, tokenise
from influence.errors import ModelError
from influence.models.layers import TrackedLayer, all_layers, decoder_blocks, find_layers
from influence.models.load import LanguageModel
from influence.models.probe import NO_TEXT, independence

Tokens = Sequence[Sequence[int]]


def describe(
    model: LanguageModel, layers: Sequence[str], documents: Tokens, exclude: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """Return what there is to say, as pairs of a title and a text. Costs a few forward passes.

    Args:
        layers, exclude: As in `influence.config.FitConfig`.
        documents: Token ids of at least two documents.

    Raises:
        ModelError: no such layers, layers that cannot be tracked, or a loss that depends on what ran before.
    """
    tracked = find_layers(model.model, layers, exclude)
    total = sum(parameter.numel() for parameter in model.model.parameters())
    blocks = len(decoder_blocks(model.model))
    family = f"{model.model.config.model_type}, {type(model.model).__name__}"
    return [
        ("model", f"{family}: {blocks} blocks, {total:,} stored numbers"),
        ("precision", ", ".join(filter(None, (model.precision, model.quantisation, _adapters(model))))),
        ("tracked", _tracked(tracked)),
        *(("left out", line) for line in _left_out(model, tracked)),
        ("tokenizer", _tokenizer(model)),
        ("context", _context(model)),
        ("later tokens", f"a change of the last token moves earlier logits by {model.movement:.1e}"),
        ("batches", _batches(model, documents)),
    ]


def _adapters(model: LanguageModel) -> str:
    kinds = [str(config.peft_type.value) for config in getattr(model.model, "peft_config", {}).values()]
    return f"with an adapter ({', '.join(kinds)})" if kinds else ""


def _tracked(tracked: Sequence[TrackedLayer]) -> str:
    numbers = sum(outputs * inputs for outputs, inputs in (layer.shape for layer in tracked))
    return f"{len(tracked)} layers of {numbers:,} parameters: {_alike(layer.name for layer in tracked)}"


def _alike(names: Iterable[str]) -> str:
    """Names that differ in their numbers alone, as one with stars: `layers.*.mlp.up_proj (12)`."""
    counts = Counter(re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name in names)
    shown = [f"{name} ({count})" if count > 1 else name for name, count in counts.items()]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} kinds more" if len(shown) > 8 else "")


def _left_out(model: LanguageModel, tracked: Sequence[TrackedLayer]) -> list[str]:
    """Modules with weights of their own that are not tracked, by the reason."""
    covered = {layer.module_name for layer in tracked}
    possible = {layer.module_name for layer in all_layers(model.model).values()}
    try:
        chosen_by_all = {layer.module_name for layer in find_layers(model.model, ("all",))}
    except ModelError:
        chosen_by_all = set()
    head = model.model.get_output_embeddings()
    reasons: dict[str, list[str]] = {}
    for name, module in model.model.named_modules():
        weights = [parameter for _, parameter in module.named_parameters(recurse=False)]
        if not weights or name in covered:
            continue
        if name in chosen_by_all:
            reason = "not selected, --layers all has them"
        elif NO_TEXT.search(name):
            reason = "no text goes through them"
        elif module is head:
            reason = "the output head"
        elif isinstance(module, nn.Embedding):
            reason = "embeddings"
        elif name in possible:
            reason = "not selected, a glob over their names has them"
        elif all(parameter.ndim < 2 for parameter in weights):
            reason = "scales and offsets, not linear layers"
        else:
            reason = "weights that are no linear layer"
        reasons.setdefault(reason, []).append(name)
    return [f"{reason}: {_alike(names)}" for reason, names in reasons.items()]


def _tokenizer(model: LanguageModel) -> str:
    prefix, suffix = frame_ids(model.tokenizer)
    before = model.tokenizer.convert_ids_to_tokens(prefix)
    after = model.tokenizer.convert_ids_to_tokens(suffix)
    parts = [
        f"puts {' '.join(before)} before a text, which stays" if before else "puts nothing before a text",
        f"appends {' '.join(after)}, which is left off" if after else "appends nothing",
    ]
    if getattr(model.tokenizer, "is_fast", False):
        (tokens,) = tokenise(model.tokenizer, ["a.\n\nb"])
        joins = "joins" if len("a.") not in tokens.ends else "parts"
        parts.append(
            f"{joins} a full stop and an empty line (a token on the border belongs to the completion)"
        )
    else:
        parts.append("cannot say where its tokens lie in a text, so that runs refuse it")
    return "; ".join(parts)


def _context(model: LanguageModel) -> str:
    limit, trained = model.positions, model.trained_context
    table = f"learned positions, at most {limit:,} tokens" if limit else "computed positions, without an end"
    return f"{table}; trained on " + (f"{trained:,} tokens" if trained else "an unknown number of tokens")


def _batches(model: LanguageModel, documents: Tokens) -> str:
    longer, *_, shorter = sorted(documents, key=len, reverse=True)
    found = independence(model.model, longer, shorter, model.rounding)
    neighbour = 0.0 if found.neighbour is None else found.neighbour
    verdict = "each document is scored alone" if found.alone else "documents share batches"
    return f"a neighbour changes a document's loss by {neighbour:.1e}, what ran before by {found.past:.1e}: {verdict}"
