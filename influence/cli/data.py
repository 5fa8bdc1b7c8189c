"""`influence data`: tasks with a chain of thought."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence.cli.command import Group

if TYPE_CHECKING:
    from influence.data.tasks.folder import Maker


@click.group(cls=Group)
def data() -> None:
    """Make a task with a chain of thought.

    A folder with train.txt, valid.txt, test.txt and task.json; one example a line: <input>||<chain> #### <answer>.
    The same options give the same bytes. Own files in this form, or JSONL with input, chain and answer, need no
    command: a folder with train, valid and test files is a task.
    """


_OUT = click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of the task; it appears when it is whole.",
)
_SEED = click.option("--seed", type=int, default=0, show_default=True, help="Chooses the examples.")
_COUNT = click.IntRange(1)


def _held_out(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, use in (("test", "testing"), ("valid", "validation")):
        help_text = f"Examples for {use}."
        command = click.option(f"--{name}", type=_COUNT, default=1000, show_default=True, help=help_text)(
            command
        )
    return command


@data.command(
    "multiplication",
    shown={"Options": ("digits", "chain", "train", "out")},
    example="influence data multiplication --digits 4 --out data/mult4",
)
@click.option("--digits", type=int, required=True, help="N: digits of both numbers, 1 to 19.")
@click.option(
    "--chain",
    type=click.Choice(["rows", "tree"]),
    default="rows",
    show_default=True,
    help="rows: partial products with their running sums. tree: all of them, then sums of neighbours, level by level.",
)
@click.option("--train", type=_COUNT, help="Examples to train on.  [default: 808000, or all there are]")
@_held_out
@_SEED
@_OUT
def multiplication(**options: Any) -> None:
    """Multiplication of two numbers of N digits, least significant digit first.

    No problem stands twice, and none of a held-out split stands in another split, also not with its numbers swapped.

    \b
    7 6 9 2 * 1 6 3 6||7 6 9 2 0 + 0 2 0 8 7 1 ( 7 8 9 0 8 1 ) + ... #### 7 8 0 3 7 8 8 1
    """
    from influence.data.tasks.makers.multiplication import Multiplication

    out = options.pop("out")
    _write(Multiplication(**options), out)


@data.command(
    "parity",
    shown={"Options": ("bits", "k", "train", "out")},
    example="influence data parity --bits 32 --k 16 --out data/parity16",
)
@click.option("--bits", type=int, required=True, help="Digits of an input.")
@click.option("--k", type=int, help="How many of them are summed; the seed chooses which.  [default: all]")
@click.option(
    "--modulus", type=int, default=2, show_default=True, help="2 for parity; up to 10 for sums of digits."
)
@click.option("--train", type=_COUNT, help="Examples to train on.  [default: 100000, or all there are]")
@_held_out
@_SEED
@_OUT
def parity(**options: Any) -> None:
    """Parity of k of the bits shown, with the running parity as the chain.

    The k positions are the same in all examples and not shown. No input stands twice.

    \b
    0 1 1 0||0 1 #### 1            (bits 1, 2 and 4)
    """
    from influence.data.tasks.makers.parity import Parity

    out = options.pop("out")
    _write(Parity(**options), out)


@data.command(
    "reachability",
    shown={"Options": ("hops", "nodes", "train", "out")},
    example="influence data reachability --hops 4 --nodes 16 --out data/graphs",
)
@click.option("--hops", type=int, default=4, show_default=True, help="Edges from the root to the answer.")
@click.option(
    "--nodes", type=int, default=16, show_default=True, help="Nodes of a graph, 2 × (hops + 1) or more."
)
@click.option("--train", type=_COUNT, default=100_000, show_default=True, help="Examples to train on.")
@_held_out
@_SEED
@_OUT
def reachability(**options: Any) -> None:
    """Which of two nodes a root reaches in a directed graph, with the path as the chain.

    Exactly one path leads from the root to the answer, and none to the other node: guessing is right half the time.
    No question stands twice, also not with its edges in another order.

    \b
    7 1 , 0 4 , 3 7 , 4 5 ? 3 : 5 1||7 #### 1
    """
    from influence.data.tasks.makers.reachability import Reachability

    out = options.pop("out")
    _write(Reachability(**options), out)


@data.command(
    "gsm8k",
    shown={"Options": ("source", "valid_source", "test_source", "out")},
    example="influence data gsm8k --source train.jsonl --test-source test.jsonl --out data/gsm8k",
)
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    required=True,
    help="Training file: GSM8K's JSONL with <<...>> marks, JSONL with question, steps and answer, or ||/#### lines.",
)
@click.option("--valid-source", type=click.Path(path_type=Path), help="A file of its own for validation.")
@click.option("--test-source", type=click.Path(path_type=Path), help="A file of its own for testing.")
@click.option(
    "--valid",
    type=_COUNT,
    default=500,
    show_default=True,
    help="Else: questions to draw from the training file.",
)
@click.option("--test", type=_COUNT, default=500, show_default=True, help="The same for testing.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the questions.")
@_OUT
def gsm8k(
    source: Path,
    valid_source: Path | None,
    test_source: Path | None,
    valid: int,
    test: int,
    seed: int,
    out: Path,
) -> None:
    """GSM8K with its equations as the chain, as its own marks give them.

    \b
    <question>||<<16-3-4=9>> <<9*2=18>> #### 18
    """
    from influence.data.tasks.makers.gsm8k import GSM8K

    _write(GSM8K(source, valid_source or valid, test_source or test, seed), out)


def _write(maker: Maker, out: Path) -> None:
    import time

    from influence.data.tasks.folder import write_task
    from influence.data.tasks.task import steps

    start = time.perf_counter()
    task = write_task(maker, out)
    seconds = time.perf_counter() - start
    sizes = ", ".join(f"{size:,} {split}" for split, size in task.sizes.items())
    megabytes = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    click.echo(f"{out}: {sizes} ({megabytes:,.1f} MB, {seconds:.1f} s)")
    example = next(task.examples("train"))
    click.echo(example.line())
    click.echo(f"Steps of its chain: {len(steps(example.chain, task.step_pattern))}")
