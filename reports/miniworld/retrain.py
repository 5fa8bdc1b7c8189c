"""Train again without some documents, and ask the new model what the old one said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence.data.corpus import Corpus
from influence.data.examples import read_examples
from influence.data.records import Fields
from influence.data.rows import Row, shard_rows
from influence.data.sources import Source
from influence.data.tokens import tokenise
from influence.engine.complete import is_right
from influence.engine.query import completion_losses
from influence.models.decode import greedy
from influence.models.load import LanguageModel, load_model
from influence.train.pretrain import pretrain
from influence.train.settings import PretrainSettings, SftSettings
from influence.train.sft import sft
from influence.types import Query
from reports.miniworld.scales import Scale

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_BATCH = 32


def train_base(
    corpus: Corpus, out: Path, scale: Scale, seed: int, tokenizer: PreTrainedTokenizerFast | None = None
) -> None:
    """Pretrain with the recipe of a scale, with a tokenizer of its own unless one is given."""
    settings = PretrainSettings(size=scale.size, epochs=scale.epochs, seed=seed)
    pretrain(corpus, out, settings, tokenizer=tokenizer)


def train_tuned(base: Path, tuning: Path, out: Path, scale: Scale, seed: int) -> None:
    """Fine-tune with the recipe of a scale."""
    sft(
        load_model(base),
        read_examples(tuning),
        out,
        SftSettings(epochs=scale.tuning_epochs, lr=scale.tuning_lr, seed=seed),
    )


def without(path: Path, dropped: Set[str]) -> Corpus:
    """The corpus in a JSONL file without the documents of these ids."""

    def rows() -> Iterator[Row]:
        return (row for row in shard_rows(path, path.stem) if row.fields["id"] not in dropped)

    origin = f"{path} without {len(dropped)} documents"
    return Corpus(Source(path.stem, "jsonl", origin, None, rows), Fields("text", "id", "source"))


def retrained(
    corpus: Corpus, first: Path, tuning: Path, folder: Path, scale: Scale, seed: int
) -> LanguageModel:
    """A model pretrained on a corpus and fine-tuned, in `folder`; a killed run goes on.

    Args:
        first: The base model of the whole corpus, whose tokenizer serves again: other tokens would change the loss.
    """
    from transformers import PreTrainedTokenizerFast

    base, tuned = folder / "base", folder / "tuned"
    if not base.exists():
        train_base(corpus, base, scale, seed, PreTrainedTokenizerFast.from_pretrained(first))
    if not tuned.exists():
        train_tuned(base, tuning, tuned, scale, seed)
    return load_model(tuned)


def asked(model: LanguageModel, queries: Sequence[Query], max_new_tokens: int) -> list[dict[str, Any]]:
    """What a model makes of queries.

    Returns:
        Records: query, nll (−log p(completion | prompt) of the query's own completion, in nats, summed over its
        tokens), right (whether the model's own greedy answer is right).
    """
    losses = completion_losses(model, queries, model.model.config.max_position_embeddings)
    said = _answers(model, queries, max_new_tokens)
    return [
        {"query": query.id, "nll": nll, "right": bool(is_right(query, text))}
        for query, nll, text in zip(queries, losses, said, strict=True)
    ]


def _answers(model: LanguageModel, queries: Sequence[Query], max_new_tokens: int) -> list[str]:
    encoded = tokenise(model.tokenizer, [query.prompt for query in queries], ends=False)
    prompts = [tokens.whole for tokens in encoded]
    said: list[str] = []
    for start in range(0, len(prompts), _BATCH):
        said += greedy(model, prompts[start : start + _BATCH], max_new_tokens)
    return said
