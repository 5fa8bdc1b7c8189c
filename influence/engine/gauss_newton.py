"""The exact Gauss–Newton matrix of the tracked layers, by its products: for checks on a few documents and queries.

With the softmax and the log-loss `F = mean over documents of Σ_t J_tᵀ (diag(p_t) − p_t p_tᵀ) J_t`, `J_t` the derivative
of the logits at position `t` by the tracked weights: the Fisher that EK-FAC approximates, without its assumptions. A
vector has the gradient matrices of all layers one after the other, `[P]`, each `[O, I + bias]` row-major.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.pytorch_utils import Conv1D

from influence.curvature.ekfac import Inverse, damping
from influence.engine.batching import TokenBatch
from influence.errors import ModelError
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.losses import token_nll
from influence.store.factors import Factors

Parameters = dict[str, Tensor]

#: Their types say that each may return one more value, which it does only where it is asked for it.
_jvp: Any = torch.func.jvp
_vjp: Any = torch.func.vjp


class TrackedWeights:
    """The weights of tracked linear layers as one vector, and the model as a function of them.

    Raises:
        ModelError: a layer is an expert, a router or over the vocabulary.
    """

    def __init__(self, model: LanguageModel, layers: Sequence[TrackedLayer]) -> None:
        others = [
            layer.name for layer in layers if layer.vocabulary or layer.router or layer.expert is not None
        ]
        if others:
            raise ModelError(
                "Exact products are for linear layers only.",
                have=f"{len(others)} others are tracked, first {others[0]}",
                fix="Check scores over --layers mlp or all.",
            )
        self._model, self.layers = model, layers
        self.values: Parameters = {}
        for layer in layers:
            for name in ("weight", "bias")[: 1 + layer.has_bias]:
                self.values[f"{layer.name}.{name}"] = getattr(layer.module, name).detach()

    def logits(self, values: Mapping[str, Tensor], batch: TokenBatch) -> Tensor:
        """Logits of a batch with these weights, `[B, T, V]`."""
        inputs = {"input_ids": batch.input_ids, "use_cache": False}
        result: Tensor = functional_call(self._model.model, dict(values), (), inputs).logits
        return result

    def losses(self, values: Mapping[str, Tensor], batch: TokenBatch) -> Tensor:
        """Summed NLL of each document of a batch with these weights, nats, `[B]`."""
        return token_nll(self.logits(values, batch), batch.input_ids, batch.loss_BT).sum(1)

    def named(self, vector_P: Tensor) -> Parameters:
        """A vector as changes of the weights, each in the shape of its parameter."""
        changes: Parameters = {}
        for layer, g_OI in self.matrices(vector_P):
            weight = g_OI[:, : layer.inputs]
            changes[f"{layer.name}.weight"] = (
                weight.mT.contiguous() if isinstance(layer.module, Conv1D) else weight
            )
            if layer.has_bias:
                changes[f"{layer.name}.bias"] = g_OI[:, -1]
        return changes

    def vector(self, changes: Mapping[str, Tensor]) -> Tensor:
        """Changes of the weights as a vector, `[P]`."""
        parts = []
        for layer in self.layers:
            weight = changes[f"{layer.name}.weight"]
            g_OI = weight.mT if isinstance(layer.module, Conv1D) else weight
            if layer.has_bias:
                g_OI = torch.cat([g_OI, changes[f"{layer.name}.bias"][:, None]], 1)
            parts.append(g_OI.flatten())
        return torch.cat(parts)

    def matrices(self, vector_P: Tensor) -> Iterator[tuple[TrackedLayer, Tensor]]:
        """The gradient matrix of each layer, `[O, I + bias]`."""
        sizes = [layer.shape[0] * layer.shape[1] for layer in self.layers]
        for layer, part in zip(self.layers, vector_P.split(sizes), strict=True):
            yield layer, part.view(layer.shape)

    def gradient(self, batch: TokenBatch) -> Tensor:
        """Gradient of the summed NLL of all documents of a batch, `[P]`."""
        _, pull = _vjp(lambda values: self.losses(values, batch).sum(), self.values)
        (changes,) = pull(torch.ones((), dtype=self._model.dtype, device=self._model.device))
        return self.vector(changes).detach()

    def along(self, vector_P: Tensor, batch: TokenBatch) -> Tensor:
        """`⟨vector, g_d⟩` of each document of a batch, `[B]`, without any `g_d`."""
        with sdpa_kernel(SDPBackend.MATH):
            _, slope_B = _jvp(
                lambda values: self.losses(values, batch), (self.values,), (self.named(vector_P),)
            )
        return torch.as_tensor(slope_B).detach()


class EkfacInverse:
    """`(H + damping)⁻¹` with EK-FAC's `H`, on vectors.

    Args:
        relative_damping: As in scores: each layer's is this × its mean corrected eigenvalue.
    """

    def __init__(self, weights: TrackedWeights, factors: Factors, relative_damping: float) -> None:
        like = next(iter(weights.values.values()))
        self._weights = weights
        self.dampings: dict[str, Tensor] = {}
        self._inverses: dict[str, Inverse] = {}
        for layer in weights.layers:
            of_layer = factors.layer(layer.name)
            self.dampings[layer.name] = damping(of_layer.lam, relative_damping).to(like)
            self._inverses[layer.name] = Inverse.of(of_layer, relative_damping, like)

    def __call__(self, vector_P: Tensor) -> Tensor:
        parts = []
        for layer, g_OI in self._weights.matrices(vector_P):
            inverse = self._inverses[layer.name]
            rotated_OI = (inverse.q_S.mT @ (g_OI @ inverse.q_A)) * inverse.inverse_OI
            parts.append((inverse.q_S @ (rotated_OI @ inverse.q_A.mT)).flatten())
        return torch.cat(parts)


class GaussNewton:
    """`F + damping` over the documents of some batches; damping is that of each layer's factors."""

    def __init__(
        self, weights: TrackedWeights, batches: Sequence[TokenBatch], dampings: Mapping[str, Tensor]
    ) -> None:
        self._weights, self._batches, self._dampings = weights, batches, dampings
        self._documents = sum(len(batch.input_ids) for batch in batches)

    def __call__(self, vector_P: Tensor) -> Tensor:
        changes, total_P = self._weights.named(vector_P), torch.zeros_like(vector_P)
        for batch in self._batches:
            run = lambda values, batch=batch: self._weights.logits(values, batch)  # noqa: E731
            with sdpa_kernel(SDPBackend.MATH):
                logits_BTV, moved_BTV = _jvp(run, (self._weights.values,), (changes,))
                p_BTV = logits_BTV.softmax(-1)
                image_BTV = p_BTV * (moved_BTV - (p_BTV * moved_BTV).sum(-1, keepdim=True))
                counted_BT = torch.zeros_like(batch.loss_BT)
                counted_BT[:, :-1] = batch.loss_BT[:, 1:]  # position t predicts the token after it
                _, pull = _vjp(run, self._weights.values)
                (pulled,) = pull((image_BTV * counted_BT[..., None]).detach())
            total_P += self._weights.vector(pulled).detach()
        damped = [(self._dampings[layer.name] * g).flatten() for layer, g in self._weights.matrices(vector_P)]
        return total_P / self._documents + torch.cat(damped)
