"""Checkpoints of a small fixed run of each trainer equal those of the version that stored them.

Training is in float32, whose sums differ a little from one machine to another, so weights are compared to 1e-5.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from chain_tasks import sums_task
from golden.measure import compare, numbers
from safetensors.numpy import load_file
from tiny import tiny_model

from influence.data.corpus import read_corpus
from influence.data.examples import PromptCompletion
from influence.distill.lessons import Lesson
from influence.distill.settings import TuneSettings
from influence.distill.tune import internalise
from influence.models.load import load_model
from influence.train.kd.run import icot_kd
from influence.train.pretrain import SIZES, pretrain
from influence.train.settings import PretrainSettings, SftSettings
from influence.train.sft import sft
from influence.train.stepwise.run import internalize
from influence.train.stepwise.settings import KdSettings, Mode, Settings

RELATIVE = 1e-5
QUICK = Settings(
    delta=2, smoothing=0.5, explicit_epochs=0.5, after_epochs=0.5, batch_size=8, lr=1e-2, dropout=0.2
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    model = tiny_model(dtype=torch.float32, bos_token_id=None)
    model.tokenizer.eos_token = model.tokenizer.bos_token
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


def compare_weights(name: str, folder: Path) -> None:
    """Compare the weights of all checkpoints in a folder with those stored under the name."""
    compare(
        f"train-{name}",
        {
            str(path.relative_to(folder)): numbers_of(path)
            for path in sorted(folder.rglob("*.safetensors"))
            if "resume" not in path.parts
        },
        RELATIVE,
    )


def numbers_of(path: Path) -> dict[str, list[float | int]]:
    """Of each weight of a checkpoint."""
    return {name: numbers(array) for name, array in load_file(path).items()}


def test_pretraining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = dataclasses.replace(
        SIZES["tiny"], hidden=16, mlp=32, vocab=300, max_length=32, batch_tokens=256, epochs=2
    )
    monkeypatch.setitem(SIZES, "tiny", size)
    texts = [f"Ada likes {['red', 'green', 'blue', 'pink'][n % 4]} {n}{n}." for n in range(40)]
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    pretrain(read_corpus(path), tmp_path / "model", PretrainSettings(size="tiny", dtype="fp32"))
    compare_weights("pretrain", tmp_path / "model")


def test_fine_tuning(base: Path, tmp_path: Path) -> None:
    examples = [PromptCompletion(f"say {word}", f" {word} {word}") for word in ("one", "two", "six")] * 4
    sft(load_model(base), examples, tmp_path / "model", SftSettings(lr=1e-2, batch_tokens=64, dtype="fp32"))
    compare_weights("sft", tmp_path / "model")


@pytest.mark.parametrize("mode", ["stepwise", "explicit-cot", "no-cot"])
def test_stages(tmp_path: Path, mode: Mode) -> None:
    task = sums_task(tmp_path / "sums", digits=(4, 5))
    internalize(task, "tiny", tmp_path / "run", dataclasses.replace(QUICK, mode=mode))
    compare_weights(mode, tmp_path / "run")


def test_icot_kd(tmp_path: Path) -> None:
    task = sums_task(tmp_path / "sums", digits=(4, 5))
    icot_kd(task, "tiny", tmp_path / "run", KdSettings(epochs=1, batch_size=16, lr=1e-3, seed=3))
    compare_weights("icot-kd", tmp_path / "run")


def test_context_distillation(base: Path, tmp_path: Path) -> None:
    lessons = [
        Lesson(f"{n}", f"say {word}", word[0], f"{word[1]} {word[2]}", f"the word {word} has first")
        for n, word in enumerate(("abc", "bcd", "cde", "dea"))
    ]
    settings = TuneSettings(way="context", epochs=3, lr=3e-3, batch_size=2, max_tokens=3)
    internalise(base, lessons, tmp_path / "model", settings)
    compare_weights("context", tmp_path / "model")
