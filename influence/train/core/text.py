"""From the documents of a corpus to the batches of a training run.

Each document becomes windows of at most `max_length` tokens, each window starting with BOS and the last one ending
with EOS; no window holds text of two documents. A window is one row of a batch; rows of similar length share a
batch of about `batch_tokens` tokens, so hardly anything is padding. The batches of all epochs are laid out before
training from the seed alone: a killed run goes on with the very next batch.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from influence.data.corpus import Corpus
from influence.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
IGNORED_LABEL = -100
Tokens = npt.NDArray[np.int32]

_TOKENIZE_DOCUMENTS = 512


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """The tokens of one training example; those from position `start` on are predicted."""

    tokens: Tokens
    start: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """The windows of a corpus in training order, and what was counted on the way."""

    windows: list[Row]
    documents: int
    empty: int
    chunked: int

    @property
    def tokens(self) -> int:
        """Tokens of all windows together."""
        return sum(len(window.tokens) for window in self.windows)


def digest(rows: Sequence[Row]) -> str:
    """SHA-256 over the tokens of all rows, their ends and starts."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(len(row.tokens).to_bytes(4, "little") + row.start.to_bytes(4, "little"))
        sha.update(row.tokens.tobytes())
    return sha.hexdigest()


def train_tokenizer(texts: Iterator[str], vocab: int, max_length: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: numbers in groups of three digits, BOS first; any text survives a round trip."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d{1,3}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, core.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def tokenize_rows(corpus: Corpus, tokenizer: PreTrainedTokenizerFast, max_length: int) -> Rows:
    """Cut each document into windows: BOS + at most `max_length − 1` tokens, EOS after the document's last token."""
    windows: list[Row] = []
    documents = empty = chunked = 0
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    texts = (document.text for document in corpus)
    while some := list(islice(texts, _TOKENIZE_DOCUMENTS)):
        kept = [text for text in some if text.strip()]
        empty += len(some) - len(kept)
        documents += len(kept)
        for ids in tokenizer(kept, add_special_tokens=False, verbose=False)["input_ids"] if kept else []:
            body = [*ids, eos]
            starts = range(0, len(body), max_length - 1)
            windows += [Row(np.array([bos, *body[at : at + max_length - 1]], np.int32)) for at in starts]
            chunked += len(starts) > 1
    if not windows:
        raise InputError(
            f"The corpus {corpus.name} has no text to train on.", have=f"{empty} empty documents"
        )
    return Rows(windows, documents, empty, chunked)


def layout_batches(lengths: Sequence[int], batch_tokens: int, epochs: int, seed: int) -> list[list[int]]:
    """The row numbers of every batch of every epoch, in training order.

    In each epoch every row comes once. Rows are sorted by length with a random tie-break and cut into batches of at
    most `batch_tokens` tokens counted with padding; the order of the batches is shuffled.
    """
    rng = np.random.default_rng(seed)
    length = np.asarray(lengths)
    batches: list[list[int]] = []
    for _ in range(epochs):
        # noise of up to a tenth of the length: other neighbours in each epoch, little padding
        order = np.argsort(length * rng.uniform(1.0, 1.1, len(length)))
        epoch: list[list[int]] = [[]]
        longest = 0
        for row in order.tolist():
            longest = max(longest, int(length[row]))
            if epoch[-1] and longest * (len(epoch[-1]) + 1) > batch_tokens:
                epoch.append([])
                longest = int(length[row])
            epoch[-1].append(row)
        batches += [epoch[i] for i in rng.permutation(len(epoch))]
    return batches


class Batches:
    """All batches of a run as a sequence of ready inputs `input_ids`, `labels`: int64 `[B, T]`.

    Padding stands at the right, where a causal model needs no mask to ignore it, and is no label.
    """

    def __init__(self, rows: Sequence[Row], batches: Sequence[Sequence[int]], pad: int) -> None:
        self._rows = rows
        self._batches = batches
        self._pad = pad

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return pad_rows([self._rows[row] for row in self._batches[index]], self._pad)


def pad_rows(rows: Sequence[Row], pad: int) -> dict[str, torch.Tensor]:
    """Right-padded `input_ids` and `labels`, int64 `[B, T]`; what is not to be predicted is no label."""
    import torch

    ids_BT = torch.full((len(rows), max(len(row.tokens) for row in rows)), pad)
    labels_BT = torch.full_like(ids_BT, IGNORED_LABEL)
    for number, row in enumerate(rows):
        ids_BT[number, : len(row.tokens)] = torch.from_numpy(row.tokens)
        labels_BT[number, row.start : len(row.tokens)] = torch.from_numpy(row.tokens[row.start :])
    return {"input_ids": ids_BT, "labels": labels_BT}
