"""bergson's contenders in the benchmark of run.py, for the Python of an environment that has bergson.

    BERGSON_PYTHON tests/bench/peer_bergson.py fit|score|agree FOLDER

The folder holds what run.py wrote: `tokens.json` and the model. Nothing of influence is imported here.

The work is done by bergson's own workers, in one process and in the order of its `hessian` pipeline. A model that was
loaded before the clock started stands in for their loading of it; nothing else is changed, and all of it runs on a CPU
as published. Its options are its defaults (sums of losses, float32, no projection, damping of a tenth of the mean
eigenvalue, documents that it packs into batches by length) but for the labels, which are the corpus's own, the layers,
which are the MLPs', and batches of 1,024 padded tokens, not 2,048, which made it 10 % faster on one core.

bergson leaves the activation at a document's last token out of its covariances; influence and kronfluence count it.
`agree` is the fit and the score with it counted, not timed, to compare the scores.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bergson.build
import bergson.collector.collector as collector
import bergson.hessians.hessian_approximations as hessian
import bergson.score.score as scoring
import numpy as np
import torch
from bergson.config.config import (
    HessianConfig,
    IndexConfig,
    InversionConfig,
    PreprocessConfig,
    ScoreConfig,
)
from bergson.data import load_scores
from bergson.hessians.apply_hessian import EkfacConfig, apply_worker
from bergson.utils.worker_utils import setup_model_and_peft
from datasets import Dataset

ONE_PROCESS = (0, 0, 1)  # rank, local rank, processes


def main(work: str, folder: Path) -> dict[str, float]:
    """Seconds of CPU by stage, and peak memory in MB."""
    torch.set_num_threads(1)
    data = json.loads((folder / "tokens.json").read_text())
    loaded = setup_model_and_peft(config(folder / "bergson", "loading"))
    for module in (bergson.build, hessian, scoring):
        module.setup_model_and_peft = lambda _: loaded
    result = {"fit": fit, "score": score, "agree": agree}[work](data, folder / "bergson")
    result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def config(folder: Path, name: str) -> IndexConfig:
    """bergson's settings for a stage that writes to `name`."""
    return IndexConfig(
        run_path=str(folder / name),
        model=str(folder.parent / "model"),
        filter_modules="*attn*",
        token_batch_size=1024,
    )


def stage(folder: Path, name: str) -> IndexConfig:
    """The same, with its folder made new."""
    made = config(folder, name)
    shutil.rmtree(made.run_path, ignore_errors=True)
    shutil.rmtree(made.partial_run_path, ignore_errors=True)
    made.partial_run_path.mkdir(parents=True)
    return made


def dataset(rows: list[list[int]]) -> Dataset:
    """Rows as bergson reads documents that are tokenised already."""
    return Dataset.from_dict({"input_ids": rows, "length": [len(row) for row in rows]})


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def timed(module: Any, name: str) -> list[float]:
    """CPU seconds of every call of a module's function from now on."""
    function, taken = getattr(module, name), []

    def call(*arguments: Any, **keywords: Any) -> Any:
        results: list[Any] = []
        taken.append(seconds(lambda: results.append(function(*arguments, **keywords))))
        return results[0]

    setattr(module, name, call)
    return taken


def fit(data: Any, folder: Path) -> dict[str, float]:
    """EK-FAC: covariances, eigendecompositions, corrected eigenvalues."""
    written = stage(folder, "hessian")
    wanted = HessianConfig(method="kfac", ev_correction=True, use_dataset_labels=True)
    rows = dataset(data["rows"])
    passes = timed(hessian, "collect_hessians")
    total = seconds(lambda: hessian.hessian_worker(*ONE_PROCESS, written, wanted, rows))
    written.partial_run_path.rename(written.run_path)
    covariances, eigenvalues = passes
    return {"covariances": covariances, "eigenbases": total - sum(passes), "eigenvalues": eigenvalues}


def score(data: Any, folder: Path, result: str = "bergson.npy") -> dict[str, float]:
    """Query gradients on disk, preconditioned, and the documents' whole gradients against them."""
    queries, preconditioned = stage(folder, "queries"), folder / "preconditioned"
    shutil.rmtree(preconditioned, ignore_errors=True)
    rows, query_rows = dataset(data["rows"]), dataset(data["queries"])

    def prepare() -> None:
        bergson.build.build_worker(*ONE_PROCESS, queries, PreprocessConfig(), query_rows)
        queries.partial_run_path.rename(queries.run_path)
        apply = EkfacConfig(
            hessian_method_path=str(folder / "hessian"),
            gradient_path=queries.run_path,
            run_path=str(preconditioned),
            ev_correction=True,
        )
        apply_worker(*ONE_PROCESS, apply, InversionConfig())

    query_seconds = seconds(prepare)
    scans = timed(scoring, "collect_gradients")
    scores = stage(folder, "scores")
    wanted = ScoreConfig(query_path=str(preconditioned))
    total = seconds(lambda: scoring.score_worker(*ONE_PROCESS, scores, wanted, PreprocessConfig(), rows))
    np.save(folder.parent / result, load_scores(scores.partial_run_path)[:].T)
    return {"queries": query_seconds + total - sum(scans), "scan": sum(scans)}


def agree(data: Any, folder: Path) -> dict[str, float]:
    """Fit and score with the activations at last tokens counted, as influence and kronfluence do."""
    padded = collector.pad_and_tensor

    def with_last_tokens(sequences: list[list[int]], **keywords: Any) -> Any:
        *tensors, _ = padded(sequences, **keywords)
        lengths = torch.tensor([len(row) for row in sequences])
        return *tensors, torch.arange(tensors[0].shape[1]) < lengths[:, None]

    collector.pad_and_tensor = with_last_tokens
    fit(data, folder)
    return score(data, folder, "bergson-last-tokens.npy")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
