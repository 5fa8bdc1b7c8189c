"""Does a document's gradient depend on what it should not depend on: its batch, the attention kernel, the precision?"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from influence.curvature.sketch import LayerSketch, random_rows, sketch_documents
from influence.data.tokens import frame_ids, tokenise
from influence.engine.batching import pad
from influence.engine.passes import backward
from influence.errors import ModelError
from influence.models.capture import require_no_vocabulary
from influence.models.layers import TrackedLayer, all_layers, decoder_blocks, starred
from influence.models.load import LanguageModel
from influence.models.probe import NO_TEXT, independence
from influence.models.selection import find_layers

#: Rows of the random projections on each side of a layer: differences are estimated to a few per cent of themselves.
_ROWS = 32
#: Each way is timed so often, the fastest counts.
_REPEATS = 2

Tokens = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one change does to the gradients of some documents, over all tracked layers.

    Attributes:
        change: What was done otherwise than in one padded batch.
        difference: Largest `‖G' − G‖ / ‖G‖` of a document.
        cosine: Least cosine between `G'` and `G` of a document.
        cost: Time, in multiples of that of one padded batch.
        advice: What to do where this is not harmless.
    """

    change: str
    difference: float
    cosine: float
    cost: float
    advice: str

    @property
    def harmless(self) -> bool:
        """Whether scores stay the same to three digits."""
        return self.cosine > 0.999 and self.difference < 0.05


def examine(
    model: LanguageModel, layers: Sequence[str], documents: Tokens, exclude: Sequence[str] = ()
) -> list[Finding]:
    """Gradients of documents of different lengths in one padded batch, against other ways to compute them.

    The model is left as it came.

    Args:
        layers, exclude: As in `influence.config.FitConfig`.

    Raises:
        ModelError: no such layers, or layers that cannot be tracked.
        ComputeError: a value is not finite.
    """
    rows = sorted(documents, key=len, reverse=True)
    tracked = find_layers(model.model, layers, exclude)
    require_no_vocabulary(tracked, "influence doctor")
    sketches = _projections(tracked)

    def together(which: LanguageModel) -> Tensor:
        return _sketch(which, find_layers(which.model, layers, exclude), sketches, [rows])

    def alone() -> Tensor:
        return _sketch(model, tracked, sketches, [[row] for row in rows])

    reference, seconds = _timed(model, lambda: together(model))
    norm_D = torch.linalg.vector_norm(reference, dim=1)
    findings = []

    def compare(change: str, run: Callable[[], Tensor], advice: str) -> None:
        found, taken = _timed(model, run)
        difference_D = torch.linalg.vector_norm(found - reference, dim=1) / norm_D
        cosine_D = torch.cosine_similarity(found, reference, dim=1)
        findings.append(
            Finding(change, float(difference_D.max()), float(cosine_D.min()), taken / seconds, advice)
        )

    compare(
        "the same again",
        lambda: together(model),
        "The model is not deterministic: scores will not repeat.",
    )
    compare("each document alone", alone, "Fit and score with --batch-tokens 1, at the cost above.")
    kernel = model.model.config._attn_implementation
    if kernel != "eager":
        with _attention(model, "eager"):
            compare(
                f"eager attention instead of {kernel}",
                lambda: together(model),
                "Fit and score with one version of torch and transformers, on one kind of device.",
            )
    if model.device.type == "cuda" and model.precision == "float32":
        with _rounded_products():
            compare("tf32 instead of float32", lambda: together(model), "Score in --dtype float32.")
    if model.dtype != torch.bfloat16 and model.quantisation is None:
        lower = LanguageModel(copy.deepcopy(model.model).bfloat16(), model.tokenizer, model.name)
        compare(
            f"bfloat16 instead of {model.precision}", lambda: together(lower), "Score in --dtype float32."
        )
    return findings


def random_documents(vocabulary: int, most: int, count: int = 8) -> list[list[int]]:
    """Random tokens in documents of an eighth to all of `most` tokens."""
    generator = np.random.default_rng(0)
    lengths = np.linspace(max(2, most // 8), most, count).astype(int)
    return [generator.integers(0, vocabulary, length).tolist() for length in lengths]


@contextmanager
def _attention(model: LanguageModel, kernel: str) -> Iterator[None]:
    before = model.model.config._attn_implementation
    model.model.set_attn_implementation(kernel)
    try:
        yield
    finally:
        model.model.set_attn_implementation(before)


@contextmanager
def _rounded_products() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _projections(layers: Sequence[TrackedLayer]) -> list[LayerSketch]:
    """Random rows for both sides of each layer: the norm of what they leave of a gradient is nearly its own."""
    generator = torch.Generator().manual_seed(0)
    sketches = []
    for layer in layers:
        left, right = (random_rows(min(_ROWS, size), size, generator) for size in layer.shape)
        sketches.append(LayerSketch(left, right, left, right))
    return sketches


def _sketch(
    model: LanguageModel,
    layers: Sequence[TrackedLayer],
    sketches: Sequence[LayerSketch],
    plan: Sequence[Tokens],
) -> Tensor:
    """Projected gradients of all documents over all layers, `[D, K]` in float64."""
    dtype = torch.promote_types(model.dtype, torch.float32)
    parts: list[list[Tensor]] = [[] for _ in layers]

    def reduce(layer: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
        sketch = LayerSketch(*(rows.to(a_BTI.device, dtype) for rows in _sides(sketches[layer])))
        parts[layer].append(sketch_documents(s_BTO.to(dtype), a_BTI.to(dtype), sketch).double().cpu())

    for tokens in plan:
        batch = pad([list(row) for row in tokens], model.device)
        backward(model, layers, batch, reduce, what=f"{len(tokens)} documents of this examination")
    return torch.cat([torch.cat(part) for part in parts], 1)


def _sides(sketch: LayerSketch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return sketch.left, sketch.right, sketch.query_left, sketch.query_right


def _timed(model: LanguageModel, run: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """The result, and the seconds of the fastest of a few runs."""
    taken = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        result = run()
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return result, min(taken)


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
    counts = Counter(map(starred, names))
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
