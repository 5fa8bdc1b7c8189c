"""Runs that look evaluated, written by hand: what each number of a table or page must be is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from influence.analysis.internalization import Evaluation, read_evaluation
from influence.store.artefact import claim, finish, write_json

DIGITS = 6


def write_run(
    run: Path,
    accuracies: dict[int, float],
    *,
    mode: str = "stepwise",
    seed: int = 0,
    n: int = 200,
    timed: int = 40,
    baseline: bool = True,
    text: str = "7 9 1 * 2 0 4",
    settings: dict[str, Any] | None = None,
) -> Evaluation:
    """A run with a stage for each number of removed tokens, right in that share of the examples.

    The last half of the answers that are wrong is wrong at the middle position alone, the rest everywhere.
    """
    rng = np.random.default_rng(seed)
    total = 24
    config = {
        "task": "multiplication",
        "task_settings": {"digits": 3},
        "split": "test",
        "examples": n,
        "examples_sha256": "0" * 64,
        "dtype": "float32",
    }
    manifest = claim(run / "evaluation", "evaluation", config)
    for removed, accuracy in accuracies.items():
        right = ["1" if number < round(accuracy * n) else "0" for number in range(n)]
        positions = [
            "1" * DIGITS if mark == "1" else "110111" if number % 2 else "0" * DIGITS
            for number, mark in enumerate(right)
        ]
        tokens = total - removed + DIGITS + 3
        about = {
            "mode": mode,
            "side": "left",
            "by_step": False,
            "keep_positions": False,
            "seed": seed,
            "total": total,
            "model": "laptop",
            "task": {"name": "multiplication", "settings": {"digits": 3}},
            "settings": {"mode": mode, "delta": 8.0, "smoothing": 4.0, "lora_rank": None} | (settings or {}),
            "removed": removed,
            "step": 100 * (removed + 1),
        }
        samples = [
            {
                "input": text,
                "answer": "4 6 2 1 6 1",
                "chain": text,
                "right": right_one,
                "said": "4 6 2 1 6 1" if right_one else "4 6 3 1 6 1",
                "generated": f"{text} <sep> #### 4 6 2 1 6 1 <eos>",
            }
            for right_one in (True, False)
        ]
        own = tokens * 1e-3 * rng.uniform(0.95, 1.05, timed)
        other = (DIGITS + 3) * 1e-3 * rng.uniform(0.95, 1.05, timed)
        stored = {
            "digest": "0",
            "about": about,
            "right": "".join(right),
            "positions": positions,
            "tokens": [tokens] * n,
            "samples": samples,
            "measured": {"too_long": 0, "most_new_tokens": tokens + 16, "unfinished": 0},
            "speed": {
                "how": {"timed": timed, "baseline": "0" if baseline else None, "device": "cpu"},
                "threads": 1,
                "seconds": own.tolist(),
                "baseline_seconds": other.tolist() if baseline else None,
            },
        }
        write_json(run / "evaluation" / f"stage-{removed:03d}.json", stored)
    finish(run / "evaluation", manifest, {"command": "by hand"})
    return read_evaluation(run)


def write_metrics(run: Path, removed: list[int]) -> None:
    """Four checks of each stage: the loss jumps at its beginning and recovers."""
    lines = []
    for level, amount in enumerate(removed):
        for check in range(4):
            recovered = check / 3
            line = {
                "kind": "stage" if check == 3 else "check",
                "step": 25 * (4 * level + check + 1),
                "epoch": (4 * level + check + 1) / 4,
                "level": level,
                "removed": amount,
                "train_loss": 0.30 - 0.2 * recovered,
                "loss": 0.32 - 0.2 * recovered,
                "token_accuracy": 0.9 + 0.08 * recovered,
                "answer_accuracy": 0.6 + 0.3 * recovered,
                "target_accuracy": 0.5 + 0.3 * recovered,
            }
            lines.append(json.dumps(line) + "\n")
    run.mkdir(parents=True, exist_ok=True)
    (run / "metrics.jsonl").write_text("".join(lines), encoding="utf-8")
