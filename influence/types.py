"""Plain records that travel between the layers, and the legend of shape letters.

Shape letters, worn by tensor names (`s_BTO` is `[B, T, O]`):

    B batch   T tokens   I inputs of a layer (+1 for its bias)   O outputs of a layer
    Q queries   D documents   R rank   L layers   V vocabulary
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from influence.blocks import Eigenvectors

#: Any word; reasoning, factual and control have their published treatment in analyses and reports.
Group = str
Reading = Literal["dot", "per_nat", "normed"]
#: Whose tokens the loss of a chat or a prompt with its completion counts.
Loss = Literal["assistant", "all", "last"]

#: One sentence that every table header, chart and help text repeats.
SIGN_STATEMENT = (
    "Positive: adding this document is predicted to raise log p(completion | prompt). "
    "Negative: to lower it. A first-order prediction, not an experiment."
)

#: The unit of each reading of a score.
READING_UNITS: dict[Reading, str] = {
    "dot": "nats, summed over tokens",
    "per_nat": "dot / −log p(completion | prompt)",
    "normed": "dot / ‖document gradient‖₂",
}


@dataclass(frozen=True, slots=True)
class Completion:
    """A prompt and the completion that was learnt; together they are the text, and EOS follows."""

    prompt: str
    completion: str
    loss: Loss = "assistant"


@dataclass(frozen=True, slots=True)
class Chat:
    """Messages as a chat template takes them, with the tools on offer.

    Attributes:
        prompt_messages: Messages that are the prompt, where prompt and completion were given apart; else 0.
    """

    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...] = ()
    prompt_messages: int = 0
    loss: Loss = "assistant"


@dataclass(frozen=True, slots=True)
class TokenIds:
    """A text that was tokenised by whoever trained on it; `counts` says of each token whether its loss counts."""

    input_ids: tuple[int, ...]
    counts: tuple[bool, ...] | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One training document: what a score is about.

    Attributes:
        example: What a fine-tuning example was before it became a text; None for a plain text.
        loss_mask: Of a document with tokens: whether the loss of each token counts; None: that of every token.
    """

    id: str
    text: str
    source: str = "unknown"
    metadata: dict[str, Any] = field(default_factory=dict)
    example: Completion | Chat | TokenIds | None = None
    loss_mask: tuple[bool, ...] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """An intermediate result a reasoning answer needs, with the spellings that mark it."""

    text: str
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """A prompt and the completion whose log-probability the documents explain.

    Attributes:
        contrast: Another completion; where it is not empty, what is explained is log p(completion | prompt) −
            log p(contrast | prompt).
        messages: Of a chat: the messages that are the prompt; `completion` is then what the assistant answers.
    """

    id: str
    task: str
    group: Group
    prompt: str
    completion: str
    answer: str = ""
    steps: tuple[Step, ...] = ()
    keywords: tuple[str, ...] = ()
    correct: bool | None = None
    gold: tuple[str, ...] = ()
    contrast: str = ""
    messages: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class LayerFactors:
    """EK-FAC of one tracked layer: `activation_eigenvectors [I, I]`, `gradient_eigenvectors [O, O]` (columns),
    and the corrected eigenvalues `lam [O, I]`, a mean over documents. Of covariances in blocks, eigenvectors are
    `influence.blocks.BlockDiagonal`.
    """

    activation_eigenvectors: Eigenvectors
    gradient_eigenvectors: Eigenvectors
    lam: Tensor


@dataclass(frozen=True, slots=True)
class VocabularyFactors:
    """EK-FAC of a weight over the vocabulary, on whose side there is no basis: `eigenvectors [I, I]` (columns), and the
    corrected eigenvalues `lam [V, I]`, a mean over documents.
    """

    eigenvectors: Eigenvectors
    lam: Tensor


@dataclass(frozen=True, slots=True)
class VocabularyTokens:
    """Tokens of documents at a weight `[V, I]` over the vocabulary, whose gradient is the sum of its uses.

    `G_VI = Σ_t s_t a_tᵀ + Σ_t e(token_t) g_tᵀ`, where `e(v)` is 1 at word `v`. A weight has one use, or both where the
    output head and the token embedding are tied.

    Attributes:
        vocabulary: `V`.
        head: `(a_BTI, s_BTV)`, what goes into the output head and the gradient of the logits; None: no such use.
        embedding: `(g_BTI, token_BT)`, the gradient of the embedding's output and the token ids; None: no such use.
    """

    vocabulary: int
    head: tuple[Tensor, Tensor] | None = None
    embedding: tuple[Tensor, Tensor] | None = None

    def joined(self, other: VocabularyTokens) -> VocabularyTokens:
        """Both uses of a tied weight, each seen by itself."""
        return VocabularyTokens(self.vocabulary, self.head or other.head, self.embedding or other.embedding)

    def documents(self, rows: slice) -> VocabularyTokens:
        """Some documents of the batch."""
        head, embedding = (use and (use[0][rows], use[1][rows]) for use in (self.head, self.embedding))
        return VocabularyTokens(self.vocabulary, head, embedding)

    def to(self, like: Tensor) -> VocabularyTokens:
        """The same with the dtype and device of `like`; token ids stay integers."""
        head = self.head and (self.head[0].to(like), self.head[1].to(like))
        embedding = self.embedding and (self.embedding[0].to(like), self.embedding[1].to(like.device))
        return VocabularyTokens(self.vocabulary, head, embedding)
