"""Score one corpus at several checkpoints in one resumable job: a Hessian for each or one for all, a store for each."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from influence.config import FitConfig, ScoreConfig
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.engine.summed import EQUAL, read_weights, sum_scores
from influence.engine.tokenised import Corpus
from influence.errors import InputError
from influence.models.load import LanguageModel
from influence.provenance import provenance
from influence.store.artefact import claim, finish
from influence.store.checkpoints import HESSIANS, KIND, SUM, CheckpointRecord, write_checkpoints
from influence.store.factors import Factors, open_factors
from influence.store.scores import open_scores
from influence.types import Query

_logger = logging.getLogger(__name__)

#: The word for no Hessian: scores are gradient dot products.
IDENTITY = "identity"

_NUMBERED = re.compile(r"(?:checkpoint|stage|step)[-_]?\d+")
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model on the way of its training.

    Attributes:
        name: Of its folder in the result.
        model: A folder or hub name.
        revision: Of a hub name.
    """

    name: str
    model: str
    revision: str | None = None


@dataclass(frozen=True)
class Opened:
    """A checkpoint in memory, and what it is asked.

    Attributes:
        facts: Fields of `CheckpointRecord`: removed, total, accuracy, facts.
        completions_by: Who wrote the completions of the queries; None: not known.
    """

    model: LanguageModel
    queries: Sequence[Query]
    facts: Mapping[str, Any] = field(default_factory=dict)
    completions_by: str | None = None


def find_checkpoints(patterns: Sequence[str]) -> list[Checkpoint]:
    """The checkpoints that these name, in the order of the patterns and of the numbers in their names.

    A pattern is a folder of a model or an adapter, a folder with `stage-N` or `checkpoint-N` (a run of ours, the output
    of a `transformers` Trainer), a glob of either, or a hub name with revisions:
    `EleutherAI/pythia-14m@step1000,step4000`.

    Raises:
        InputError: one names no checkpoint, or a checkpoint is named twice.
    """
    found: list[tuple[str, str | None]] = []
    for pattern in patterns:
        model, at, revisions = pattern.partition("@")
        if at and not Path(pattern).exists():
            found += [(model, revision) for revision in revisions.split(",") if revision]
            continue
        found += [(str(folder), None) for path in _matching(pattern) for folder in _models_in(path)]
    if len({(str(Path(m).resolve()), r) for m, r in found}) < len(found):
        raise InputError(
            "A checkpoint is named twice.", fix="Name each once, by its folder, a glob or its run."
        )
    return [Checkpoint(name, *one) for name, one in zip(_names(found), found, strict=True)]


def choose_checkpoints(folder: str) -> list[Checkpoint]:
    """Those of a training that are nearest to a third, two thirds and the end of what is there, without repetition.

    Their sum predicted retraining as well as one of six did, see docs/maths.md. Far earlier ones can hurt.

    Raises:
        InputError: the folder holds no numbered checkpoints.
    """
    found = find_checkpoints([folder])
    steps = np.array(
        [int(re.findall(r"\d+", one.name)[-1]) for one in found if _NUMBERED.fullmatch(one.name)]
    )
    if len(steps) < len(found) or len(found) < 2:
        raise InputError(
            f"{folder} holds no checkpoints of a training.",
            have=", ".join(one.name for one in found),
            fix="Keep some while training: influence train pretrain --keep 3, or a Trainer's save_steps.",
        )
    nearest = [int(np.abs(steps - share * steps.max()).argmin()) for share in (1 / 3, 2 / 3, 1)]
    return [found[place] for place in dict.fromkeys(nearest)]


def _matching(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    if not _WILD.search(pattern) or path.exists():
        paths = [path] if path.is_dir() else []
    else:
        parts = path.parts
        fixed = next(place for place, part in enumerate(parts) if _WILD.search(part))
        paths = list(Path(*parts[:fixed]).glob(str(Path(*parts[fixed:]))))
    paths = [one for one in paths if one.is_dir() and one.suffix != ".part"]
    if not paths:
        raise InputError(
            f"--checkpoints {pattern} names no folder.",
            fix="Give folders, a quoted glob such as 'runs/icot/stage-*', or a hub name with revisions: "
            "NAME@step1000,step4000.",
        )
    return sorted(paths, key=_natural)


def _models_in(path: Path) -> list[Path]:
    """The numbered checkpoints in a folder, else the folder itself."""
    inside = [one for one in path.iterdir() if _NUMBERED.fullmatch(one.name) and _is_model(one)]
    if inside:
        return sorted(inside, key=_natural)
    if _is_model(path):
        return [path]
    raise InputError(
        f"{path} holds no checkpoint.",
        have="no config.json or adapter_config.json, and no stage-N or checkpoint-N with one",
        fix="Give folders that save_pretrained wrote.",
    )


def _is_model(path: Path) -> bool:
    """Whether a folder holds a model or an adapter."""
    return any((path / name).is_file() for name in ("config.json", "adapter_config.json"))


def _natural(path: Path) -> list[tuple[int, str]]:
    """Numbers in a name count as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def _names(found: Sequence[tuple[str, str | None]]) -> list[str]:
    """Folder names; with the run's name where two are alike."""
    short = [revision or Path(model).name for model, revision in found]
    if len(set(short)) < len(short):
        short = [
            f"{Path(model).name if revision else Path(model).resolve().parent.name}-{name}"
            for name, (model, revision) in zip(short, found, strict=True)
        ]
    names = [re.sub(r"[^\w.-]", "-", name) for name in short]
    alike = {name for name in names if names.count(name) > 1 or name in (HESSIANS, SUM)}
    return [f"{number}-{name}" if name in alike else name for number, name in enumerate(names)]


def score_checkpoints(
    checkpoints: Sequence[Checkpoint],
    open_checkpoint: Callable[[Checkpoint], Opened],
    corpus: Corpus,
    out: str | Path,
    *,
    hessian: str | None = None,
    layers: tuple[str, ...] = (),
    summed: bool = False,
    weights: str = EQUAL,
    config: ScoreConfig = ScoreConfig(),
    batch_tokens: int | None = None,
) -> list[CheckpointRecord]:
    """Influence of every document on every query, at each checkpoint; the same call after a kill goes on.

    A call with more checkpoints adds them. Scores of different checkpoints have different curvature: compare ranks and
    `normed`, not raw size.

    Args:
        checkpoints: In the order of training.
        open_checkpoint: Loads one, and says what it is asked.
        out: Folder of the checkpoints, see `influence.store.checkpoints`.
        hessian: None fits one on each checkpoint. The name of one of them fits on it alone and uses that for all, and a
            folder is a finished fit that is used for all; `identity` takes none.
        layers: Tracked layers of the Hessians that are fitted, as in `FitConfig`.
        summed: Store the sum of the scores at all checkpoints too, in the folder `sum`.
        weights: Of the checkpoints in the sum, as `influence.engine.summed.read_weights` takes them.
        config: Settings of the scores; Hessians are fitted on documents of the same length.

    Raises:
        InputError: no checkpoint, or `hessian` is none of these.
        StoreError: `out` holds something else, or a checkpoint was scored otherwise.
    """
    if not checkpoints:
        raise InputError("There are no checkpoints to score.")
    started, folder = time.monotonic(), Path(out)
    shared = _shared(hessian, checkpoints)
    identity = {name: value for name, value in asdict(config).items() if value is not None}
    identity |= {"hessian": hessian or "each", "corpus": corpus.name}
    identity |= {"layers": layers} if layers else {}
    weight_of: list[float] | None = None
    if summed:
        identity["sum"] = [checkpoint.name for checkpoint in checkpoints]
        weight_of = read_weights(weights, [(one.name, one.model) for one in checkpoints])
        identity |= {} if weights == EQUAL else {"weights": weight_of}
    manifest = claim(folder, KIND, identity)
    fitting = FitConfig(layers=layers, max_length=config.max_length, windows=config.windows)
    records, factors = [], shared if isinstance(shared, Factors) else None
    order = list(checkpoints)
    if isinstance(shared, Checkpoint):  # its Hessian is needed first
        order.remove(shared)
        order.insert(0, shared)
    for number, checkpoint in enumerate(order, 1):
        _logger.info("checkpoint %d of %d: %s", number, len(order), checkpoint.name)
        opened = open_checkpoint(checkpoint)
        fits = hessian is None or checkpoint == shared
        if fits:
            fitted = folder / HESSIANS / checkpoint.name
            factors = fit_hessian(opened.model, corpus, out=fitted, config=fitting, batch_tokens=batch_tokens)
        score(
            opened.model,
            factors,
            opened.queries,
            corpus,
            folder / checkpoint.name,
            completions_by=opened.completions_by,
            other_checkpoint=not fits,
            config=config,
            batch_tokens=batch_tokens,
        )
        place = str(factors.folder) if factors is not None else None
        other_hessian = bool(factors) and not fits
        records.append(
            CheckpointRecord(
                checkpoint.name, checkpoint.model, checkpoint.revision, place, other_hessian, **opened.facts
            )
        )
    records.sort(key=lambda record: [one.name for one in checkpoints].index(record.name))
    write_checkpoints(folder, records)
    if summed:
        parts = [(record.name, open_scores(folder / record.name)) for record in records]
        sum_scores(parts, folder / SUM, weight_of)
    finish(folder, manifest, provenance(time.monotonic() - started, corpus_name=corpus.name))
    return records


def _shared(hessian: str | None, checkpoints: Sequence[Checkpoint]) -> Checkpoint | Factors | None:
    """The checkpoint to fit on, or the finished fit, that is used for all; None where there is no such thing."""
    if hessian is None or hessian == IDENTITY:
        return None
    named = [one for one in checkpoints if hessian in (one.name, one.model)]
    if named:
        return named[0]
    if Path(hessian).is_dir():
        return open_factors(hessian)
    raise InputError(
        f"--hessian-from {hessian} is neither a checkpoint nor a folder.",
        have=", ".join(one.name for one in checkpoints[:8]),
        fix="Name one of the checkpoints, or the folder of a finished fit.",
    )
