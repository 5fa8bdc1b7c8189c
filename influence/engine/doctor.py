"""Does a document's gradient depend on what it should not depend on: its batch, the attention kernel, the precision?"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from influence.curvature.sketch import LayerSketch, random_rows, sketch_documents
from influence.engine.batching import pad
from influence.engine.passes import backward
from influence.models.capture import require_no_vocabulary
from influence.models.layers import TrackedLayer, find_layers
from influence.models.load import LanguageModel

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
