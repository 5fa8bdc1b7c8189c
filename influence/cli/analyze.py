"""`influence analyze`: run an analysis, and print the tables that a reader wants first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from influence.cli.command import Command, given, nearest
from influence.cli.runs import named_run
from influence.errors import plain

if TYPE_CHECKING:
    import pandas as pd

    from influence.analysis.grouping import Grouping
    from influence.analysis.judges import Judge
    from influence.analysis.tables import Tables
    from influence.types import Reading

_FIRST = {
    "correlation": ("blocks", "permutation", "cross_by_task"),
    "concentration": ("power_law_by_group", "slope_tests"),
    "answers": ("rates",),
    "relations": ("counts",),
    "sources": ("groups",),
    "reuse": (),
    "bm25": ("overlap_by_group", "recall"),
    "stages": ("facts",),
    "sanity": ("checks", "copy_ranks", "word_order", "self"),
}
_ROWS = 30


def summary(name: str, tables: Tables) -> str:
    """The first tables of an analysis as text, each cut to 30 rows; empty ones are left out."""
    shown = {title: tables[title] for title in _FIRST[name] if title in tables} | _more(name, tables)
    parts = [f"{title.replace('_', ' ')}\n{as_text(table)}\n" for title, table in shown.items() if len(table)]
    return "\n".join(parts)


def _more(name: str, tables: Tables) -> Tables:
    """Views of tables that are made for reading; one of the same title takes the place of the table."""
    if name == "sources":
        return _multipliers(tables["curves"])
    if name == "reuse":
        columns = ["document", "source", "queries", "labels", "best_rank"]
        return {"most shared": tables["documents"][columns].head(10)}
    if name == "concentration":
        whole = tables["curves_by_group"]
        whole = whole[(whole["unit"] == "percent") & (whole["at"] == 100)]
        return {"sum of all documents of a sign": whole.drop(columns=["unit", "at"])}
    if name == "relations":
        return {"counts": tables["counts"][tables["counts"]["count"] > 0]}
    if name == "answers" and "judged" in tables:
        states = tables["judged"]["status"].value_counts()
        return {"judged": states.rename_axis("status").reset_index(name="documents")}
    if name == "sanity" and "copy_ranks" in tables:
        return {"copy_ranks": tables["copy_ranks"][tables["copy_ranks"]["copies"] > 0]}
    if name == "stages":
        agreement = tables["agreement_by_group"]
        agreement = agreement[agreement["versus"].isin(("previous", "both"))]
        return {"agreement": agreement[agreement["measure"].isin(("r", "rbo"))].drop(columns="versus")}
    return {}


def _multipliers(curves: pd.DataFrame) -> Tables:
    """Sources side by side at the top 50, in the order of the table, not of the alphabet."""
    near = max((k for k in curves["k"] if k <= 50), default=1)
    top = curves[(curves["end"] == "top") & (curves["k"] == near)]
    wide = top.pivot(index="label", columns="source", values="multiplier")
    wide = wide.loc[top["label"].unique(), top["source"].unique()]
    title = f"times its share of the corpus, top {near} (intervals are in the file)"
    return {title: wide.rename_axis(None, axis=1).reset_index()}


def as_text(table: pd.DataFrame) -> str:
    """A table in fixed width, words to the left and numbers to the right, cut to 30 rows with a word on it."""
    from pandas.api.types import is_numeric_dtype

    head = table.head(_ROWS)
    columns = []
    for name in head:
        words = not is_numeric_dtype(head[name])
        cells = [str(name), *(_cell(value) for value in head[name])]
        width = max(map(len, cells))
        columns.append([cell.ljust(width) if words else cell.rjust(width) for cell in cells])
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    more = len(table) - len(head)
    return "\n".join([*lines, *([f"… and {more:,} more rows in the file"] if more else [])])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    return "–" if value is None else str(value)


@click.command(
    "analyze",
    cls=Command,
    shown={"Options": ("listing", "by", "group_by", "k", "judge")},
    keeps_result=False,
    example="""
    influence analyze correlation runs/x/scores
    influence analyze answers runs/x/scores --judge hf:MODEL
    """,
)
@click.argument("name", required=False)
@click.argument("runs", nargs=-1, metavar="RUN...")
@click.option("--list", "listing", is_flag=True, help="The analyses there are.")
@click.option(
    "--by",
    type=click.Choice(["normed", "dot", "per_nat"]),
    help="Reading of the scores.  [default: per_nat to sum (concentration), normed elsewhere]",
)
@click.option(
    "--group-by",
    default="task",
    show_default=True,
    help='Groups of queries: task, group, or a JSON file {"query id": "label", ...}.',
)
@click.option(
    "--k", type=click.IntRange(1), help="Documents a query.  [default: 500; relations 10, sanity 20]"
)
@click.option(
    "--judge",
    default="keywords",
    show_default=True,
    help="keywords, hf:PATH, or openai:URL#MODEL (answers and relations). Keywords always run for answers.",
)
@click.option(
    "--prompt",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A prompt of your own for the judge; start from those in influence/analysis/prompts.",
)
@click.option(
    "--field",
    multiple=True,
    help="sources: also the mean influence of documents by this field of their metadata, or source. Repeated: by "
    "each combination of values, such as topic and format.",
)
@click.option("--no-scan", is_flag=True, help="answers, sanity: do not look through the whole corpus.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the tables.  [default: RUN/analysis/NAME]"
)
@click.pass_context
def analyze(
    context: click.Context,
    name: str | None,
    runs: tuple[str, ...],
    listing: bool,
    by: Reading | None,
    group_by: str,
    k: int | None,
    judge: str,
    prompt: Path | None,
    field: tuple[str, ...],
    no_scan: bool,
    out: Path | None,
) -> None:
    """Run the analysis NAME on the score store RUN and write its tables as Parquet.

    correlation takes one run, or two for equal prompts of two models; stages takes two or more, each as RUN or
    LABEL=RUN, in the order of training, or the folder of influence score --checkpoints. Positive scores: the document
    is predicted to RAISE log p(completion | prompt).
    """
    from influence.analysis.run import analyze as run_analysis
    from influence.analysis.tables import ANALYSES
    from influence.errors import InputError
    from influence.store.scores import open_scores

    if listing or name is None:
        for known, (question, default) in ANALYSES.items():
            click.echo(f"{known:<14} {question}  [by {default}]")
        return
    if name not in ANALYSES:
        raise InputError(f"There is no analysis {name!r}.", fix=nearest(name, list(ANALYSES)))
    labelled = _labelled(name, runs)
    taken = _given(context, name, len(labelled))
    opened = [(label, open_scores(path)) for label, path in labelled]  # before a judge model is loaded
    folder = out or labelled[-1][1] / "analysis" / name
    tables = run_analysis(
        name,
        *opened,
        by=by,
        group_by=_grouping(group_by) if "group_by" in taken else None,
        k=k,
        judge=_judge(judge),
        prompt=prompt,
        scan=False if no_scan else None,
        field=field or None,
        out=folder,
    )
    click.echo(plain(summary(name, tables)))
    for table, rows in tables.items():
        click.echo(f"{folder / table}.parquet  ({len(rows):,} rows)")


def _given(context: click.Context, name: str, n_runs: int) -> list[str]:
    """The options on the command line; those that the analysis does not take are refused."""
    from influence.analysis.run import check_options

    flags = {
        "by": "by",
        "group_by": "group_by",
        "k": "k",
        "judge": "judge",
        "prompt": "prompt",
        "field": "field",
        "no_scan": "scan",
    }
    taken = [option for flag, option in flags.items() if given(context, flag)]
    flag_of = {option: "--" + flag.replace("_", "-") for flag, option in flags.items()} | {"out": "--out"}
    check_options(name, n_runs, taken, flag_of.__getitem__)
    return taken


def _labelled(name: str, runs: tuple[str, ...]) -> list[tuple[str, Path]]:
    """Runs with their labels: for stages what stands before the first =, unless that is a folder's name.

    A folder of stages stands for its stages.
    """
    from influence.store.checkpoints import is_checkpoints, read_checkpoints

    pairs: list[tuple[str, Path]] = []
    for run in runs:
        if name == "stages" and is_checkpoints(run):
            pairs += [(stage.name, Path(run) / stage.name) for stage in read_checkpoints(run)]
            continue
        label, equals, path = run.partition("=")
        if name != "stages" or not equals or Path(run).exists():
            label, path = run, run
        pairs.append((label, named_run(Path(path), "scores")))
    return pairs


def _grouping(group_by: str) -> Grouping:
    import json

    from influence.errors import InputError

    if group_by in ("task", "group"):
        return group_by  # type: ignore[return-value]
    try:
        labels = json.loads(Path(group_by).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"--group-by {group_by} is neither task nor group, nor a JSON file.",
            have=str(error),
            fix='Name a file with {"query id": "label", …}.',
        ) from error
    if not isinstance(labels, dict) or not all(isinstance(label, str) for label in labels.values()):
        raise InputError(
            f"{group_by} is not an object of query ids and labels.", fix='Write {"query id": "label", …}.'
        )
    return labels


def _judge(spec: str) -> Judge | None:
    """The judge model that `--judge` names, or None for keywords alone."""
    from influence.analysis.judges import FunctionJudge
    from influence.errors import InputError

    kind, _, rest = spec.partition(":")
    if spec == "keywords":
        return None
    if kind == "openai" and rest:
        from influence.analysis.judges import OpenAIJudge

        url, _, model = rest.partition("#")
        return OpenAIJudge(url, model)
    if kind == "hf" and rest:
        from influence.generate.local import LocalGenerator
        from influence.generate.request import Sampling
        from influence.models.load import load_model

        generator, sampling = LocalGenerator(load_model(rest), batch_size=1), Sampling(max_tokens=400)
        return FunctionJudge(generator.name, lambda prompts: generator.texts(prompts, sampling))
    raise InputError(f"There is no judge {spec!r}.", fix="Use keywords, hf:PATH or openai:URL#MODEL.")
