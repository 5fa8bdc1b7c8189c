"""Our contenders and kronfluence's in the benchmark of run.py, which starts each in a process of its own.

    python tests/bench/contenders.py CONTENDER FOLDER

The folder holds what run.py wrote: `tokens.json` and the model. Prints CPU seconds by stage and the process's peak
memory as one line of JSON. A fit leaves its factors in the folder for the score that follows.
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

BATCH = 8  # documents a batch of kronfluence and of the plain step; ours is a budget of tokens


def main(contender: str, folder: Path) -> dict[str, float]:
    """Seconds of CPU by stage, and peak memory in MB."""
    import torch
    from transformers import LlamaForCausalLM

    from influence.models.load import LanguageModel

    torch.set_num_threads(1)
    data = json.loads((folder / "tokens.json").read_text())
    model = LanguageModel(LlamaForCausalLM.from_pretrained(folder / "model").eval(), None)  # type: ignore[arg-type]
    work = {
        "plain step": plain_step,
        "influence fit": our_fit,
        "kronfluence fit": kronfluence_fit,
        "influence score": our_score,
        "kronfluence score": kronfluence_score,
        "influence score in bfloat16": our_score_in_bfloat16,
    }[contender]
    result: dict[str, float] = work(model, data, folder)
    result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def plain_step(model: Any, data: Any, folder: Path) -> dict[str, float]:
    """Forward and full backward, length-sorted, no optimizer."""
    import torch

    from influence.engine.batching import pad
    from influence.models.losses import token_nll

    rows = sorted(data["rows"], key=len, reverse=True)

    def run() -> None:
        for start in range(0, len(rows), BATCH):
            batch = pad(rows[start : start + BATCH], torch.device("cpu"))
            logits = model.model(input_ids=batch.input_ids, use_cache=False).logits
            token_nll(logits, batch.input_ids, batch.loss_BT).sum().backward()
            model.model.zero_grad(set_to_none=True)

    return {"step": seconds(run)}


def document_table(folder: Path, rows: list[list[int]]) -> Any:
    """The rows as the engine's document table."""
    from influence.store.documents import DocumentTable, write_documents
    from influence.types import Document

    folder.mkdir()
    write_documents(folder, ((Document(f"d{i}", ""), row) for i, row in enumerate(rows)))
    return DocumentTable(folder)


def our_fit(model: Any, data: Any, folder: Path) -> dict[str, float]:
    """Our two passes and the eigendecompositions, with the corpus's own labels."""
    from influence.config import FitConfig
    from influence.engine.batching import BATCH_TOKENS, Budget
    from influence.engine.fit_parts import Fit
    from influence.models.selection import find_layers
    from influence.store.factors import write_kronfluence_arguments

    shutil.rmtree(folder / "ours", ignore_errors=True)
    table = document_table(folder / "ours", data["rows"])
    config = FitConfig(empirical=True)
    fit = Fit(folder / "ours", model, find_layers(model.model), table, config, Budget(BATCH_TOKENS))
    result = {
        "covariances": seconds(fit.covariances),
        "eigenbases": seconds(fit.eigenbases),
        "eigenvalues": seconds(fit.corrected_eigenvalues),
    }
    write_kronfluence_arguments(folder / "ours", empirical=True)
    return result


def our_score_in_bfloat16(model: Any, data: Any, folder: Path) -> dict[str, float]:
    """The same with the model, the gradients and their products in bfloat16; sums and preconditioning in float32."""
    model.model.bfloat16()
    return our_score(model, data, folder, "ours-bfloat16.npy")


def our_score(model: Any, data: Any, folder: Path, result: str = "ours.npy") -> dict[str, float]:
    """Query gradients, preconditioning, and one scan, with our factors."""
    import numpy as np

    from influence.engine.batching import BATCH_TOKENS, Budget
    from influence.engine.identity import matching_layers
    from influence.engine.query import completion_gradients, precondition_queries
    from influence.engine.score import Scan
    from influence.store.arrays import map_arrays
    from influence.store.factors import open_factors

    shutil.rmtree(folder / "scan", ignore_errors=True)
    table = document_table(folder / "scan", data["rows"])
    factors = open_factors(folder / "ours")
    layers = matching_layers(factors, model)
    budget = Budget(BATCH_TOKENS)
    held: list[Any] = []

    def prepare_queries() -> None:
        encoded = [(tokens, 1) for tokens in data["queries"]]
        names = [f"q{i}" for i in range(len(encoded))]
        gradients = completion_gradients(model, layers, encoded, names, budget)
        held.append(precondition_queries(gradients, layers, factors, 0.1, model.dtype).products())

    query_seconds = seconds(prepare_queries)
    scan_seconds = seconds(Scan(folder / "scan", model, layers, table, held[0], budget).run)
    np.save(folder / result, map_arrays(folder / "scan" / "scores.safetensors")["dot"])
    return {"queries": query_seconds, "scan": scan_seconds}


def analyzer(model: Any, folder: Path) -> tuple[Any, Any]:
    """Kronfluence's analyzer on our model, layers and loss."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.utils.dataset import DataLoaderKwargs

    from influence.engine.kronfluence_fit import LanguageModelTask, collate
    from influence.models.selection import find_layers

    task = LanguageModelTask([layer.name for layer in find_layers(model.model)])
    prepared = prepare_model(model=model.model, task=task)
    made = Analyzer("peer", prepared, task, cpu=True, output_dir=str(folder), disable_tqdm=True)
    made.set_dataloader_kwargs(DataLoaderKwargs(collate_fn=collate))
    return made, task


def dataset(rows: list[list[int]]) -> Any:
    """Rows, longest first, as kronfluence reads them."""
    import numpy as np

    from influence.engine.kronfluence_fit import TokenDataset

    return TokenDataset([(np.array(rows[i], np.int32), 1, None) for i in longest_first(rows)])


def longest_first(rows: list[list[int]]) -> list[int]:
    """Indices of rows by falling length."""
    return sorted(range(len(rows)), key=lambda i: len(rows[i]), reverse=True)


def kronfluence_fit(model: Any, data: Any, folder: Path) -> dict[str, float]:
    """Kronfluence's two passes and eigendecompositions, on sorted documents."""
    from kronfluence.arguments import FactorArguments

    shutil.rmtree(folder / "peer", ignore_errors=True)
    made, _ = analyzer(model, folder)
    arguments = FactorArguments(
        use_empirical_fisher=True, covariance_max_examples=None, lambda_max_examples=None
    )
    rows = dataset(data["rows"])
    fit = {"factors_name": "fit", "dataset": rows, "per_device_batch_size": BATCH}
    return {
        "covariances": seconds(lambda: made.fit_covariance_matrices(**fit, factor_args=arguments)),
        "eigenbases": seconds(
            lambda: made.perform_eigendecomposition(factors_name="fit", factor_args=arguments)
        ),
        "eigenvalues": seconds(lambda: made.fit_lambda_matrices(**fit, factor_args=arguments)),
    }


def kronfluence_score(model: Any, data: Any, folder: Path) -> dict[str, float]:
    """Kronfluence's pairwise scores with its factors, all queries in one group, on sorted documents."""
    import kronfluence.score.pairwise as pairwise
    import numpy as np
    from kronfluence.arguments import ScoreArguments

    made, _ = analyzer(model, folder)
    scan = pairwise.compute_dot_products_with_loader
    scan_seconds = []

    def timed(*arguments: Any, **keywords: Any) -> Any:
        results: list[Any] = []
        scan_seconds.append(seconds(lambda: results.append(scan(*arguments, **keywords))))
        return results[0]

    pairwise.compute_dot_products_with_loader = timed
    shutil.rmtree(folder / "peer" / "scores_scan", ignore_errors=True)
    total = seconds(
        lambda: made.compute_pairwise_scores(
            scores_name="scan",
            factors_name="fit",
            query_dataset=dataset(data["queries"]),
            train_dataset=dataset(data["rows"]),
            per_device_query_batch_size=len(data["queries"]),
            per_device_train_batch_size=BATCH,
            score_args=ScoreArguments(damping_factor=None),
        )
    )
    scores = made.load_pairwise_scores("scan")["all_modules"].numpy()
    in_order = np.empty_like(scores)
    in_order[np.ix_(longest_first(data["queries"]), longest_first(data["rows"]))] = scores
    np.save(folder / "kronfluence.npy", in_order)
    return {"queries": total - sum(scan_seconds), "scan": sum(scan_seconds)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
