"""EK-FAC of a weight over the vocabulary: the output head, the token embedding, or one weight that is both.

The gradient of a document is `G_VI = Σ_t u_t w_tᵀ`. On the vocabulary's side `u` is the gradient of the logits, or 1 at
the token that was embedded; on the other `w` is what goes into the head, or the gradient of the embedding's output.
A covariance of `u` would have `V²` numbers, so the curvature is diagonal over the vocabulary:

    C = Σ_t ‖u_t‖² w_t w_tᵀ,   C = Q diag Qᵀ,   lam_VI = mean over documents of (G Q)²
    P = ((G Q) / (lam + damping)) Qᵀ

`C` is the sum over the vocabulary of the per-token Fisher's blocks, of both uses of a tied weight alike. No gradient
is formed whole but that of a query: all else takes some rows of the vocabulary at a time.

Source: George et al., arXiv 1806.03884, with the identity for the basis of the outputs; damping as in
`influence.curvature.ekfac`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from influence.blocks import Eigenvectors
from influence.curvature.ekfac import damped_eigenvalues
from influence.curvature.statistics import GRADIENT_STACK_ELEMENTS
from influence.types import VocabularyFactors, VocabularyTokens


def weighted_inputs(tokens: VocabularyTokens, like: Tensor) -> list[Tensor]:
    """`‖u_t‖ w_t` of each use, `[B, T, I]` with the dtype of `like`: their covariance is `C`."""
    parts = []
    if tokens.head is not None:
        a_BTI, s_BTV = tokens.head
        parts.append(a_BTI.to(like) * torch.linalg.vector_norm(s_BTV, dim=2, keepdim=True, dtype=like.dtype))
    if tokens.embedding is not None:
        parts.append(tokens.embedding[0].to(like))
    return parts


def vocabulary_gradients(tokens: VocabularyTokens) -> Iterator[tuple[slice, Tensor]]:
    """Gradients of documents, some rows at a time in bounded memory: `(rows of the vocabulary, G_BvI)`."""
    for use in (tokens.head, tokens.embedding):
        if use is not None:
            w_BTI = use[0]
    size = max(1, GRADIENT_STACK_ELEMENTS // (w_BTI.shape[0] * w_BTI.shape[2]))
    for start in range(0, tokens.vocabulary, size):
        rows = slice(start, min(start + size, tokens.vocabulary))
        if tokens.head is not None:
            a_BTI, s_BTV = tokens.head
            g_BvI = torch.bmm(s_BTV[:, :, rows].mT, a_BTI)
        else:
            g_BvI = w_BTI.new_zeros(len(w_BTI), rows.stop - start, w_BTI.shape[2])
        if tokens.embedding is not None:
            g_BTI, token_BT = tokens.embedding
            document, place = ((token_BT >= start) & (token_BT < rows.stop)).nonzero(as_tuple=True)
            word = token_BT[document, place] - start
            g_BvI.index_put_((document, word), g_BTI[document, place], accumulate=True)
        yield rows, g_BvI


def add_squared_rotated(total_VI: Tensor, tokens: VocabularyTokens, q: Eigenvectors) -> None:
    """Add `Σ_documents (G Q)²`, elementwise, the sum behind the corrected eigenvalues, to `total_VI`."""
    rotated = _rotated(tokens.to(total_VI), q)
    if rotated.head is None and rotated.embedding is not None:  # most rows are zero
        g_BTI, token_BT = rotated.embedding
        document_B1 = torch.arange(len(token_BT), device=token_BT.device)[:, None]
        word_N, place_BT = (document_B1 * tokens.vocabulary + token_BT).unique(return_inverse=True)
        g_NI = g_BTI.new_zeros(len(word_N), g_BTI.shape[2])
        g_NI.index_add_(0, place_BT.flatten(), g_BTI.flatten(0, 1))
        total_VI.index_add_(0, word_N % tokens.vocabulary, g_NI.square_())
        return
    for rows, g_BvI in vocabulary_gradients(rotated):
        total_VI[rows] += g_BvI.square_().sum(0)


@dataclass(frozen=True, slots=True)
class VocabularyInverse:
    """`(H + damping)⁻¹` of a weight over the vocabulary.

    Attributes:
        q: Eigenvectors `[I, I]` in columns.
        inverse_VI: `1 / (lam + damping)`.
    """

    q: Eigenvectors
    inverse_VI: Tensor

    @staticmethod
    def of(factors: VocabularyFactors, relative_damping: float, like: Tensor) -> VocabularyInverse:
        """Return the inverse for gradients with the dtype and device of `like`."""
        inverse_VI = damped_eigenvalues(factors.lam, relative_damping).reciprocal_().to(like)
        return VocabularyInverse(factors.eigenvectors.to(like), inverse_VI)

    def precondition(self, tokens: VocabularyTokens) -> Tensor:
        """`P = (H + damping)⁻¹ G` of each document or query, `[B, V, I]`."""
        parts = [
            (g_BvI.mul_(self.inverse_VI[rows])) @ self.q.mT
            for rows, g_BvI in vocabulary_gradients(_rotated(tokens, self.q))
        ]
        return torch.cat(parts, 1)


def embedding_products(p_QVI: Tensor, g_BTI: Tensor, token_BT: Tensor) -> Tensor:
    """`<P_q, G_d>` of what the embedding adds to `G_d`, by index, for each position: `[Q, B, T]`."""
    return torch.stack([(p_VI[token_BT] * g_BTI).sum(-1) for p_VI in p_QVI])


def embedding_squared_norms(tokens: VocabularyTokens) -> Tensor:
    """What the embedding adds to `‖G_d‖²`, `[B]`: `‖E‖² + 2 <G of the head, E>`, from pairs of tokens."""
    assert tokens.embedding is not None
    g_BTI, token_BT = tokens.embedding
    same_BTT = token_BT[:, :, None] == token_BT[:, None, :]
    part_BTT = torch.bmm(g_BTI, g_BTI.mT) * same_BTT
    if tokens.head is not None:
        a_BTI, s_BTV = tokens.head
        s_BTT = s_BTV.gather(2, token_BT[:, None, :].expand(-1, s_BTV.shape[1], -1))
        part_BTT += 2 * s_BTT * torch.bmm(a_BTI, g_BTI.mT)
    squared_B: Tensor = part_BTT.sum((1, 2), dtype=torch.promote_types(part_BTT.dtype, torch.float32))
    return squared_B


def _rotated(tokens: VocabularyTokens, q: Eigenvectors) -> VocabularyTokens:
    """The tokens of `G Q`: rotating them costs `T I²` products, far below `V I²` of a gradient."""
    head, embedding = (use and (use[0] @ q, use[1]) for use in (tokens.head, tokens.embedding))
    return VocabularyTokens(tokens.vocabulary, head, embedding)
