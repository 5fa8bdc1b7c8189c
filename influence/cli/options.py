"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from influence.models.load import LanguageModel
    from influence.types import Query

Command = Callable[..., Any]


def model_option(**attributes: Any) -> Callable[[Command], Command]:
    """`--model`."""
    text = "A folder that save_pretrained wrote, a hub name, or the ready model miniworld."
    return click.option("--model", **{"metavar": "MODEL", "help": text, **attributes})


def corpus_options(*, required: bool = True) -> Callable[[Command], Command]:
    """`--corpus` and how to read it."""

    def decorate(command: Command) -> Command:
        for option in (
            click.option(
                "--source-field", default="source", show_default=True, help="Field of the source label."
            ),
            click.option("--id-field", default="id", show_default=True, help="Field of the document id."),
            click.option(
                "--text-field",
                default="text",
                show_default=True,
                help="Field of the text. Without it: prompt and completion, messages, or input_ids.",
            ),
            click.option(
                "--split", default="train", show_default=True, help="Split of a hub or saved dataset."
            ),
            click.option(
                "--corpus",
                metavar="CORPUS",
                required=required,
                help="JSONL, JSON, CSV, TSV (plain, .gz, .zst), Parquet, a folder, a saved dataset, a hub name, or the "
                "ready corpus miniworld.",
            ),
        ):
            command = option(command)
        return command

    return decorate


def taken_fields(settings: dict[str, Any]) -> dict[str, Any]:
    """Take how to read a corpus, the arguments of `read_corpus`, out of what a command with `corpus_options` got."""
    names = ("split", "text_field", "id_field", "source_field", "loss")
    return {name: settings.pop(name) for name in names if name in settings}


def loss_option(command: Command) -> Command:
    """`--loss`."""
    return click.option(
        "--loss",
        type=click.Choice(["assistant", "all", "last"]),
        default="assistant",
        show_default=True,
        help="Tokens of a fine-tuning example that count: the assistant's (the completion's), all, or those of its "
        "last turn.",
    )(command)


def device_options(command: Command) -> Command:
    """Where and in what precision to compute."""
    for option in (
        click.option("--device", help="cpu, cuda, cuda:1, …  [default: a GPU where there is one]"),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "tf32", "bfloat16", "float64"]),
            default="float32",
            show_default=True,
            help="Precision of the model, tf32 on a GPU only; sums are kept in float32 at least.",
        ),
    ):
        command = option(command)
    return command


def compute_options(command: Command) -> Command:
    """`device_options`, in how large batches, and `model_options`."""
    for option in (
        click.option(
            "--batch-tokens",
            type=click.IntRange(1),
            help="Padded tokens of a batch; halves by itself when memory runs out.  "
            "[default: 1024 on a CPU, 16384 on a GPU]",
        ),
        device_options,
        model_options,
    ):
        command = option(command)
    return command


base_option = click.option(
    "--base", help="Model that an adapter's folder is for.  [default: what its adapter_config.json says]"
)


def model_options(command: Command) -> Command:
    """`--revision` and `--base`: which model is meant."""
    return click.option("--revision", help="Branch, tag or commit of a hub model.")(base_option(command))


def dry_run_option(command: Command) -> Command:
    """`--dry-run`."""
    return click.option(
        "--dry-run",
        is_flag=True,
        help="Only say what it will take. Documents, tokens, passes, time, memory and disk are estimated by a "
        "rehearsal on documents drawn from the corpus.",
    )(command)


def chat_template_option(command: Command) -> Command:
    """`--no-chat-template`."""
    return click.option(
        "--no-chat-template",
        is_flag=True,
        help="Give prompts to an instruct model as they are, not by its chat template.",
    )(command)


def by_chat_template(
    queries: Sequence[Query], model: LanguageModel, no_chat_template: bool
) -> Sequence[Query]:
    """Return the queries as chats where the model has a chat template and it is wanted, and say so."""
    from influence.data.query_tokens import as_chats

    if no_chat_template or not getattr(model.tokenizer, "chat_template", None):
        return queries
    click.echo(f"Prompts are written by the chat template of {model.name} (--no-chat-template: as they are).")
    return as_chats(queries)


def out_option(*, required: bool = True) -> Callable[[Command], Command]:
    """`--out`, a folder."""
    return click.option(
        "--out",
        metavar="DIR",
        required=required,
        type=click.Path(path_type=Path),
        help="Folder of the result. An unfinished run with the same arguments is resumed.",
    )
