"""`influence train`: language models whose every training document is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from influence.cli.command import Group
from influence.cli.internalize import explicit_cot, icot_kd, no_cot, stepwise
from influence.cli.options import corpus_options, model_option, taken_fields


@click.group(cls=Group)
def train() -> None:
    """Train a language model."""


for _command in (stepwise, no_cot, explicit_cot, icot_kd):
    train.add_command(_command)

_OUT = click.option(
    "--out",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the model; it appears when training is done. The same command after a kill resumes.",
)
_KEEP = click.option(
    "--keep",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Models to keep on the way, at equal distances, the last at the end: OUT/checkpoint-STEP, for influence "
    "score --checkpoints auto.",
)
_DTYPE = click.option(
    "--dtype",
    type=click.Choice(["bf16", "fp32"]),
    default="bf16",
    show_default=True,
    help="Precision of the computation; the saved weights are float32.",
)


@train.command(
    "pretrain",
    shown={"What": ("corpus", "out", "held_out"), "Settings": ("size", "epochs", "seed")},
    example="influence train pretrain --corpus miniworld --size tiny --out runs/mine/model",
)
@corpus_options()
@_OUT
@click.option(
    "--size",
    type=click.Choice(["tiny", "mini", "small"]),
    default="small",
    show_default=True,
    help="tiny: 0.2 million parameters, a minute on two cores. mini: 2.8 million, for the controlled world. "
    "small: 6.3 million, for real text.",
)
@click.option("--epochs", type=click.IntRange(1), help="Passes over the corpus.  [default: the size's own]")
@click.option("--held-out", help="Another corpus, never trained on, for the held-out loss.")
@click.option("--seed", default=0, show_default=True, help="Seeds the weights and the order of the batches.")
@_KEEP
@_DTYPE
def pretrain(corpus: str, out: Path, held_out: str | None, **settings: Any) -> None:
    """Train a tokenizer and a small Llama-like model from scratch on every document of a corpus."""
    from influence.data.corpus import read_corpus
    from influence.train.pretrain import pretrain as run

    fields = taken_fields(settings)
    record = run(
        read_corpus(corpus, **fields),
        out,
        held_out=read_corpus(held_out, **fields) if held_out else None,
        **settings,
    )
    losses = record["loss_nats_per_token"]
    click.echo(
        f"{record['documents']:,} documents, {record['tokens_per_epoch']:,} tokens an epoch, "
        f"{record['steps']:,} steps, {record['seconds']:,.0f} s"
    )
    click.echo(
        f"Loss (nats a token): train {losses['train']:.3f}"
        + (f", held out {losses['held_out']:.3f}" if losses["held_out"] is not None else "")
    )
    click.echo(f"Model: {out}")


@train.command(
    "sft",
    shown={"What": ("model", "data", "out"), "Settings": ("epochs", "lr")},
    example="influence train sft --model miniworld --data examples.jsonl --out runs/mine/tuned",
)
@model_option(required=True, help="The model to start from: a folder, a hub name, or miniworld.")
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="JSONL records with prompt and completion."
)
@_OUT
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True, help="Passes over the data.")
@click.option("--lr", default=5e-4, show_default=True, help="Peak learning rate.")
@click.option(
    "--batch-tokens",
    default=2048,
    show_default=True,
    type=click.IntRange(1),
    help="Padded tokens of a batch.",
)
@click.option("--seed", default=0, show_default=True, help="Seeds the order of the batches.")
@_KEEP
@_DTYPE
def sft(model: str, data: Path, out: Path, dtype: Any, **settings: Any) -> None:
    """Fine-tune a model on prompts and completions, with the loss on the completions only."""
    from influence.data.examples import read_examples
    from influence.models.load import load_model
    from influence.train.core.resume import must_not_exist
    from influence.train.sft import sft as run

    must_not_exist(out)
    record = run(
        load_model(model),
        read_examples(data),
        out,
        dtype=dtype,
        **settings,
    )
    click.echo(
        f"{record['examples']:,} examples, {record['tokens_per_epoch']:,} tokens an epoch, "
        f"{record['steps']:,} steps, {record['seconds']:,.0f} s"
    )
    click.echo(f"Loss (nats a completion token): {record['loss_nats_per_token']['train']:.3f}")
    click.echo(f"Model: {out}")
