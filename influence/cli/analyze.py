"""`influence analyze`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from influence.analysis.grouping import Grouping
    from influence.analysis.judges import Judge, KeptReplies
    from influence.analysis.tables import Tables
    from influence.store.scores import Scores
    from influence.types import Reading

_K = {
    "concentration": 500,
    "answers": 500,
    "reuse": 500,
    "stages": 500,
    "bm25": 500,
    "relations": 10,
    "sanity": 20,
}
#: Options that an analysis takes beside --out; another one is refused rather than ignored.
_TAKES = {
    "correlation": ("by", "group_by"),
    "two runs": ("by",),
    "concentration": ("by", "group_by", "k"),
    "answers": ("by", "group_by", "k", "judge", "prompt", "no_scan"),
    "relations": ("by", "group_by", "k", "judge", "prompt"),
    "sources": ("by", "group_by"),
    "reuse": ("by", "group_by", "k"),
    "bm25": ("group_by", "k"),
    "stages": ("by", "group_by", "k"),
    "sanity": ("k", "no_scan"),
}


@click.command("analyze")
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
    no_scan: bool,
    out: Path | None,
) -> None:
    """Run the analysis NAME on the score store RUN and write its tables as Parquet.

    correlation takes one run, or two for equal prompts of two models; stages takes two or more, each as RUN or
    LABEL=RUN, in the order of training. Positive scores: the document is predicted to RAISE log p(completion | prompt).
    """
    from influence.analysis.tables import ANALYSES, describe_runs, write_tables
    from influence.cli.summary import summary
    from influence.errors import InputError
    from influence.store.scores import open_scores

    if listing or name is None:
        for known, (question, default) in ANALYSES.items():
            click.echo(f"{known:<14} {question}  [by {default}]")
        return
    if name not in ANALYSES:
        raise InputError(f"There is no analysis {name!r}.", fix=f"Use one of {', '.join(ANALYSES)}.")
    _refuse_others(context, name, _TAKES["two runs" if name == "correlation" and len(runs) == 2 else name])
    labelled = _labelled(name, runs)
    opened = [(label, open_scores(path)) for label, path in labelled]
    folder = out or labelled[-1][1] / "analysis" / name
    reading = by or ANALYSES[name][1]
    k = k or _K.get(name, 0)
    tables = _run(name, opened, reading, _grouping(group_by), k, judge, folder, prompt, not no_scan)
    made_by = {
        "analysis": name,
        "by": reading,
        "group_by": group_by,
        "k": k,
        "judge": judge,
        "runs": describe_runs([scores for _, scores in opened]),
    }
    paths = write_tables(tables, folder, made_by)
    click.echo(summary(name, tables))
    for path in paths:
        click.echo(f"{path}  ({len(tables[path.stem]):,} rows)")


def _refuse_others(context: click.Context, name: str, takes: tuple[str, ...]) -> None:
    from click.core import ParameterSource

    from influence.errors import InputError

    for option in ("by", "group_by", "k", "judge", "prompt", "no_scan"):
        given = context.get_parameter_source(option) is ParameterSource.COMMANDLINE
        if given and option not in takes:
            known = ", ".join(_flag(other) for other in (*takes, "out"))
            raise InputError(f"{name} has no {_flag(option)}.", fix=f"It takes {known}.")


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")


def _labelled(name: str, runs: tuple[str, ...]) -> list[tuple[str, Path]]:
    from influence.errors import InputError

    wanted = {"correlation": (1, 2), "stages": (2, 10**6)}.get(name, (1, 1))
    if not wanted[0] <= len(runs) <= wanted[1]:
        number = {(1, 1): "one run", (1, 2): "one run or two"}.get(wanted, "two or more runs")
        raise InputError(f"{name} takes {number}.", have=f"{len(runs)}", fix=f"influence analyze {name} RUN")
    pairs = []
    for run in runs:
        label, equals, path = run.partition("=")
        if name != "stages" or not equals or Path(run).exists():
            label, path = run, run
        pairs.append((label, Path(path)))
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


def _run(
    name: str,
    runs: list[tuple[str, Scores]],
    by: Reading,
    group_by: Grouping,
    k: int,
    judge: str,
    folder: Path,
    prompt: Path | None,
    scan: bool,
) -> Tables:
    from influence.analysis import tables
    from influence.errors import InputError

    scores = runs[0][1]
    if name == "correlation":
        if len(runs) == 2:
            return tables.cross_tables(scores, runs[1][1], by)
        return tables.correlation_tables(scores, by, group_by)
    if name == "concentration":
        return tables.concentration_tables(scores, by, group_by, k)
    if name == "sources":
        return tables.source_tables(scores, by, group_by)
    if name == "reuse":
        return tables.reuse_tables(scores, by, group_by, k)
    if name == "stages":
        return tables.stage_tables(runs, by, group_by, k)
    if name in ("sanity", "bm25"):
        with _Progress("texts") as progress:
            if name == "bm25":
                return tables.bm25_tables(scores, group_by, k, progress)
            return tables.sanity_tables(scores, k, scan, progress)
    model, kept = _judge(judge, folder)
    with _Progress("judge") as progress:
        if name == "answers":
            return tables.answer_tables(
                scores, by, group_by, k, judge=model, kept=kept, prompt=prompt, scan=scan, progress=progress
            )
        if model is None:
            raise InputError(
                "relations needs a judge model.",
                fix="Add --judge hf:PATH or --judge openai:http://localhost:8000/v1",
            )
        return tables.relation_tables(scores, by, group_by, k, model, kept, prompt, progress)


def _judge(spec: str, folder: Path) -> tuple[Judge | None, KeptReplies]:
    """The judge that `--judge` names, and where its replies are kept: beside the tables, to resume from."""
    from influence.analysis.judges import FunctionJudge, KeptReplies
    from influence.errors import InputError

    kept = KeptReplies(folder / "judge-replies.jsonl")
    kind, _, rest = spec.partition(":")
    if spec == "keywords":
        return None, kept
    if kind == "openai" and rest:
        from influence.analysis.openai_judge import OpenAIJudge

        url, _, model = rest.partition("#")
        return OpenAIJudge(url, model), kept
    if kind == "hf" and rest:
        from influence.models.generate import Generator
        from influence.models.load import load_model

        generator = Generator(load_model(rest))
        return FunctionJudge(generator.name, generator), kept
    raise InputError(f"There is no judge {spec!r}.", fix="Use keywords, hf:PATH or openai:URL#MODEL.")


class _Progress:
    """A bar of documents, drawn once the first are done."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._bar: Any = None

    def __enter__(self) -> _Progress:
        return self

    def __call__(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, unit="document", desc=self._what)
        self._bar.update(done - self._bar.n)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
