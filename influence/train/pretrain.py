"""Train a small language model from scratch on a corpus, so that every document it ever saw is known.

Each document becomes windows of at most `max_length` tokens, each window starting with BOS and the last one ending
with EOS; no window holds text of two documents.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from influence.data.corpus import Corpus
from influence.data.tokens import tokenise
from influence.errors import InputError
from influence.provenance import provenance
from influence.store.artefact import claim
from influence.train.core.batches import order_by_tokens
from influence.train.core.resume import must_not_exist, publish, same_text
from influence.train.core.text import Row, digest, lengths_of, mean_loss, train_rows
from influence.train.core.trainer import RESUME_SECONDS
from influence.train.settings import PretrainSettings

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerFast

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"

_LOSS_WINDOWS = 256
_TOKENIZE_DOCUMENTS = 512


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A model and how it is trained. Lengths and batches in tokens."""

    hidden: int
    layers: int
    heads: int
    mlp: int
    vocab: int
    max_length: int
    batch_tokens: int
    lr: float
    epochs: int


SIZES = {
    # a demonstration: about 2,000 short documents in less than a minute on two cores
    "tiny": Size(
        hidden=64,
        layers=2,
        heads=2,
        mlp=256,
        vocab=1024,
        max_length=512,
        batch_tokens=2048,
        lr=4e-3,
        epochs=5,
    ),
    # the controlled world: 2.8 million parameters
    "mini": Size(
        hidden=192,
        layers=3,
        heads=4,
        mlp=768,
        vocab=5120,
        max_length=512,
        batch_tokens=2048,
        lr=3e-3,
        epochs=24,
    ),
    # real text: 6.3 million parameters
    "small": Size(
        hidden=256,
        layers=4,
        heads=4,
        mlp=1024,
        vocab=8192,
        max_length=512,
        batch_tokens=4096,
        lr=2e-3,
        epochs=6,
    ),
}


def pretrain(
    corpus: Corpus,
    out: Path,
    settings: PretrainSettings = PretrainSettings(),
    *,
    held_out: Corpus | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    resume_seconds: float = RESUME_SECONDS,
) -> dict[str, Any]:
    """Train a byte-level BPE tokenizer and a Llama-like model (tied embeddings, no biases) on a corpus.

    Works in `<out>.part/` and renames it to `out` at the end; the same call after a kill goes on from the last
    checkpoint there. `out` then holds the model (weights in float32, safetensors), the tokenizer,
    `training.json`, `metrics.jsonl` and `tensorboard/`.

    Args:
        corpus: Every document is trained on; none is held out, so that each one can be scored.
        out: A folder that does not exist yet.
        settings: What determines the run besides the corpus.
        held_out: Documents the model never sees, for the held-out loss.
        tokenizer: Use this one instead of training one, so that two corpora become the same kind of tokens.
        resume_seconds: Seconds between two states to resume from; irrelevant to the result.

    Returns:
        What `training.json` holds. Losses are mean nats a token.

    Raises:
        InputError: An unusable option, `out` exists, or the corpus has no text.
        StoreError: `<out>.part/` belongs to another run.
        ComputeError: The loss is not finite at the end.
    """
    import torch
    import transformers

    shape = _shape(settings.size, settings.epochs)
    must_not_exist(out)
    started = time.monotonic()
    part = out.with_name(out.name + ".part")
    seed, keep = settings.seed, settings.keep
    config = {"size": settings.size, **dataclasses.asdict(shape), "seed": seed, "dtype": settings.dtype}
    config |= {"keep": keep} if keep else {}
    claim(part, "pretraining", {**config, "corpus": corpus.describe()})
    tokenizer = tokenizer or _tokenizer(corpus, part / "tokenizer", shape)
    rows = tokenize_rows(corpus, tokenizer, shape.max_length)
    same_text(part / "text.json", digest(rows.windows))
    held_out_rows = tokenize_rows(held_out, tokenizer, shape.max_length) if held_out is not None else None

    transformers.set_seed(seed)
    model = transformers.LlamaForCausalLM(_llama_config(shape, tokenizer))
    order = order_by_tokens(lengths_of(rows.windows), shape.batch_tokens, shape.epochs, seed)
    pad = tokenizer.pad_token_id
    assert isinstance(pad, int)
    resumed_at = train_rows(
        model,
        rows.windows,
        order,
        part,
        pad=pad,
        lr=shape.lr,
        dtype=settings.dtype,
        seed=seed,
        resume_seconds=resume_seconds,
        keep=keep,
    )

    chosen = np.random.default_rng(seed).permutation(len(rows.windows))[:_LOSS_WINDOWS]
    losses = {
        "train": mean_loss(model, [rows.windows[i] for i in chosen], pad),
        "held_out": mean_loss(model, held_out_rows.windows, pad) if held_out_rows else None,
    }
    record = provenance(
        time.monotonic() - started,
        settings=config,
        corpus=corpus.describe(),
        held_out=held_out.describe() if held_out is not None else None,
        documents=rows.documents,
        empty_documents_skipped=rows.empty,
        documents_in_several_windows=rows.chunked,
        windows=len(rows.windows),
        tokens_per_epoch=rows.tokens,
        tokens_sha256=digest(rows.windows),
        steps=order.steps_per_epoch,
        resumed_at_step=resumed_at,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_dtype="float32",
        loss_nats_per_token=losses,
        loss_windows={
            "train": len(chosen),
            "held_out": len(held_out_rows.windows) if held_out_rows else 0,
        },
        threads=torch.get_num_threads(),
    )
    publish(part, out, model, tokenizer, record)
    return record


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


def _plain_texts(corpus: Corpus) -> Iterator[str]:
    """The texts of a corpus; InputError for a fine-tuning example, of which only a part was to be learnt."""
    for document in corpus:
        if document.example is not None:
            raise InputError(
                f"Document {document.id} of {corpus.name} is a fine-tuning example, not a text.",
                fix="Learn prompts and completions by influence train sft, or give the records a text.",
            )
        yield document.text


def tokenize_rows(corpus: Corpus, tokenizer: PreTrainedTokenizerFast, max_length: int) -> Rows:
    """Cut each document into windows: BOS + at most `max_length − 1` tokens, EOS after the document's last token."""
    windows: list[Row] = []
    documents = empty = chunked = 0
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    texts = _plain_texts(corpus)
    while some := list(islice(texts, _TOKENIZE_DOCUMENTS)):
        kept = [text for text in some if text.strip()]
        empty += len(some) - len(kept)
        documents += len(kept)
        for tokens in tokenise(tokenizer, kept, ends=False):
            body = [*tokens.ids, eos]
            starts = range(0, len(body), max_length - 1)
            windows += [Row(np.array([bos, *body[at : at + max_length - 1]], np.int32)) for at in starts]
            chunked += len(starts) > 1
    if not windows:
        raise InputError(
            f"The corpus {corpus.name} has no text to train on.", have=f"{empty} empty documents"
        )
    return Rows(windows, documents, empty, chunked)


def _shape(size: str, epochs: int | None) -> Size:
    if size not in SIZES:
        raise InputError(f"There is no size {size!r}.", fix=f"Choose one of {', '.join(SIZES)}.")
    return SIZES[size] if epochs is None else dataclasses.replace(SIZES[size], epochs=epochs)


def _tokenizer(corpus: Corpus, folder: Path, shape: Size) -> PreTrainedTokenizerFast:
    """The tokenizer in `folder`, trained there first unless an earlier start of the run did."""
    from transformers import PreTrainedTokenizerFast

    if not folder.exists():
        tokenizer = train_tokenizer(_plain_texts(corpus), shape.vocab, shape.max_length)
        writing = folder.with_name(folder.name + ".part")
        tokenizer.save_pretrained(writing)
        writing.replace(folder)
    loaded: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return loaded


def _llama_config(shape: Size, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),  # a small corpus may give fewer than asked for
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.mlp,
        max_position_embeddings=shape.max_length,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
