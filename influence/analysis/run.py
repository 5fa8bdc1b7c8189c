"""Any analysis by its name: what `influence analyze` runs, for notebooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from influence.analysis import tables
from influence.analysis.grouping import Grouping
from influence.analysis.judges import Judge, JudgeReplies
from influence.analysis.tables import ANALYSES, Tables
from influence.errors import InputError
from influence.store.checkpoints import is_checkpoints, open_checkpoints
from influence.store.formats.tables import write_tables
from influence.store.scores import Scores, open_scores
from influence.types import Reading

#: A score store, its folder, or either of them with a name (for stages).
Run = Scores | str | Path
#: Documents of each query that an analysis looks at, if not told otherwise.
K = {
    "concentration": 500,
    "answers": 500,
    "reuse": 500,
    "stages": 500,
    "bm25": 500,
    "relations": 10,
    "sanity": 20,
}
#: What an analysis takes beside its runs and `out`; anything else is refused rather than ignored.
TAKES: dict[str, tuple[str, ...]] = {
    "correlation": ("by", "group_by"),
    "concentration": ("by", "group_by", "k"),
    "answers": ("by", "group_by", "k", "judge", "prompt", "scan"),
    "relations": ("by", "group_by", "k", "judge", "prompt"),
    "sources": ("by", "group_by", "field"),
    "reuse": ("by", "group_by", "k"),
    "bm25": ("group_by", "k"),
    "stages": ("by", "group_by", "k"),
    "sanity": ("k", "scan"),
}
_RUNS = {"correlation": (1, 2, "one run or two"), "stages": (2, 10**6, "two or more runs")}


def analyze(
    name: str,
    *runs: Run | tuple[str, Run],
    by: Reading | None = None,
    group_by: Grouping | None = None,
    k: int | None = None,
    judge: Judge | None = None,
    prompt: Path | None = None,
    scan: bool | None = None,
    field: Sequence[str] | None = None,
    out: str | Path | None = None,
) -> Tables:
    """The tables of one analysis as DataFrames; what they hold is in docs/analyses.md.

    >>> import influence as inf
    >>> tables = inf.analyze("concentration", "runs/demo/scores", group_by="group")
    >>> list(tables["power_law_by_group"].columns)
    ['label', 'side', 'n', 'mean', 'sd', 'low', 'high']

    Args:
        name: One of `influence.analysis.tables.ANALYSES`.
        runs: One run; for correlation one or two; for stages two or more in the order of training, each alone or as
            (name of the stage, run), or the folder of all of them.
        by: Reading of the scores; by default per_nat for concentration, normed elsewhere.
        group_by: "task" (default), "group", or query id -> label.
        k: Documents a query; by default as in `K`.
        judge: For relations, and for answers beside the keywords; its replies are kept in `out`, or in
            `RUN/analysis/NAME`, and asked only once.
        prompt: A prompt for the judge in the stead of ours.
        scan: answers, sanity: look through all texts of the corpus (default).
        field: sources: fields of the documents' metadata, whose values (with several: combinations) are groups.
        out: Write the tables as Parquet to this folder too. A report reads them from `RUN/analysis/NAME`.

    Returns:
        `{table name: DataFrame}`.

    Raises:
        InputError: no such analysis, another number of runs, something that it does not take, or no judge.
        StoreError: no finished score store lies there.
        ComputeError: a score is not finite.
    """
    if name not in ANALYSES:
        raise InputError(f"There is no analysis {name!r}.", fix=f"Use one of {', '.join(ANALYSES)}.")
    given: dict[str, object] = {"by": by, "group_by": group_by, "k": k, "judge": judge, "prompt": prompt}
    given |= {"scan": scan, "field": field}
    runs = tuple(one for run in runs for one in _checkpoints_of(name, run))
    check_options(name, len(runs), [option for option, value in given.items() if value is not None])
    opened = [_opened(run) for run in runs]
    by = by or ANALYSES[name][1]
    k = K.get(name, 0) if k is None else k
    group_by = "task" if group_by is None else group_by
    folder = Path(out) if out is not None else opened[-1][1].folder / "analysis" / name
    if name in ("answers", "relations"):
        made = _judged(name, opened[0][1], by, group_by, k, judge, folder, prompt, scan is not False)
    else:
        made = _made(name, opened, by, group_by, k, scan is not False, field)
    if out is not None:
        write_tables(
            made,
            folder,
            [scores for _, scores in opened],
            analysis=name,
            by=by,
            group_by=group_by,
            k=k,
            judge=judge.name if judge else "keywords",
        )
    return made


def check_options(
    name: str, n_runs: int, given: Sequence[str], show: Callable[[str], str] = lambda option: option
) -> None:
    """Refuse what an analysis does not take.

    Args:
        show: An option as the user writes it.

    Raises:
        InputError: another number of runs, or an option that it does not take.
    """
    least, most, number = _RUNS.get(name, (1, 1, "one run"))
    if not least <= n_runs <= most:
        raise InputError(f"{name} takes {number}.", have=f"{n_runs}", fix=f"influence analyze {name} RUN")
    takes = ("by",) if name == "correlation" and n_runs == 2 else TAKES[name]
    for option in given:
        if option not in takes:
            known = ", ".join(show(other) for other in (*takes, "out"))
            raise InputError(f"{name} has no {show(option)}.", fix=f"It takes {known}.")


def _checkpoints_of(name: str, run: Run | tuple[str, Run]) -> Sequence[Run | tuple[str, Run]]:
    """A folder of checkpoints stands for its checkpoints."""
    if name == "stages" and isinstance(run, str | Path) and is_checkpoints(run):
        return open_checkpoints(run)
    return [run]


def _opened(run: Run | tuple[str, Run]) -> tuple[str, Scores]:
    label, store = run if isinstance(run, tuple) else (None, run)
    scores = store if isinstance(store, Scores) else open_scores(store)
    return label or str(scores.folder), scores


def _made(
    name: str,
    runs: list[tuple[str, Scores]],
    by: Reading,
    group_by: Grouping,
    k: int,
    scan: bool,
    field: Sequence[str] | None,
) -> Tables:
    scores = runs[0][1]
    match name:
        case "correlation" if len(runs) == 2:
            return tables.cross_tables(scores, runs[1][1], by)
        case "correlation":
            return tables.correlation_tables(scores, by, group_by)
        case "concentration":
            return tables.concentration_tables(scores, by, group_by, k)
        case "sources":
            return tables.source_tables(scores, by, group_by, field)
        case "reuse":
            return tables.reuse_tables(scores, by, group_by, k)
        case "stages":
            return tables.checkpoint_tables(runs, by, group_by, k)
        case "bm25":
            return tables.bm25_tables(scores, group_by, k)
        case _:
            return tables.sanity_tables(scores, k, scan)


def _judged(
    name: str,
    scores: Scores,
    by: Reading,
    group_by: Grouping,
    k: int,
    judge: Judge | None,
    folder: Path,
    prompt: Path | None,
    scan: bool,
) -> Tables:
    kept = JudgeReplies(folder / "judge-replies.jsonl")
    if name == "answers":
        return tables.answer_tables(scores, by, group_by, k, judge=judge, kept=kept, prompt=prompt, scan=scan)
    if judge is None:
        raise InputError(
            "relations needs a judge model.",
            fix="Add --judge hf:PATH or --judge openai:http://localhost:8000/v1",
        )
    return tables.relation_tables(scores, by, group_by, k, judge, kept, prompt)
