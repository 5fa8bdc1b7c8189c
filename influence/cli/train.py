"""`influence train`: language models whose every training document is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from influence.cli.command import Group
from influence.cli.internalize import explicit_cot, icot_kd, no_cot, stepwise
from influence.cli.options import corpus_options, model_option, options_from, taken_fields
from influence.train.settings import PretrainSettings, SftSettings


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


@train.command(
    "pretrain",
    shown={"What": ("corpus", "out", "held_out"), "Settings": ("size", "epochs", "seed")},
    example="influence train pretrain --corpus miniworld --size tiny --out runs/mine/model",
)
@corpus_options()
@_OUT
@options_from(PretrainSettings, name="settings")
@click.option("--held-out", help="Another corpus, never trained on, for the held-out loss.")
def pretrain(corpus: str, out: Path, settings: PretrainSettings, held_out: str | None, **names: Any) -> None:
    """Train a tokenizer and a small Llama-like model from scratch on every document of a corpus."""
    from influence.data.corpus import read_corpus
    from influence.train.pretrain import pretrain as run

    fields = taken_fields(names)
    record = run(
        read_corpus(corpus, **fields),
        out,
        settings,
        held_out=read_corpus(held_out, **fields) if held_out else None,
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
@options_from(SftSettings, name="settings", without=("lora_rank",))
def sft(model: str, data: Path, out: Path, settings: SftSettings) -> None:
    """Fine-tune a model on prompts and completions, with the loss on the completions only."""
    from influence.data.examples import read_examples
    from influence.models.load import load_model
    from influence.train.core.resume import must_not_exist
    from influence.train.sft import sft as run

    must_not_exist(out)
    record = run(load_model(model), read_examples(data), out, settings)
    click.echo(
        f"{record['examples']:,} examples, {record['tokens_per_epoch']:,} tokens an epoch, "
        f"{record['steps']:,} steps, {record['seconds']:,.0f} s"
    )
    click.echo(f"Loss (nats a completion token): {record['loss_nats_per_token']['train']:.3f}")
    click.echo(f"Model: {out}")
