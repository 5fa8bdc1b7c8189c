"""Fine-tuning: what is a label, that it learns, and that a killed run ends as if it had not been killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from tiny import tiny_model

from influence.cli.main import cli
from influence.data.examples import PromptCompletion, read_examples, write_examples
from influence.errors import InputError
from influence.models.load import LanguageModel, load_model
from influence.train.core.batches import IGNORED_LABEL
from influence.train.core.text import TextTrainer, mean_loss, pad_rows
from influence.train.settings import SftSettings
from influence.train.sft import example_rows, sft

EXAMPLES = [PromptCompletion(f"say {word}", f" {word} {word}") for word in ("one", "two", "six")] * 4


@pytest.fixture
def base(tmp_path: Path) -> Path:
    language_model = tiny_model()
    language_model.model.save_pretrained(tmp_path / "base")
    language_model.tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def loss(language_model: LanguageModel, example: PromptCompletion) -> float:
    rows = example_rows([example], language_model.tokenizer, None)
    return mean_loss(language_model.model, rows, 0)


def test_only_the_completion_is_a_label(base: Path) -> None:
    tokenizer = load_model(base).tokenizer
    (row,) = example_rows([PromptCompletion("say one", " two")], tokenizer, None)
    labels = pad_rows([row], 0)["labels"][0]
    kept = [int(label) for label in labels if int(label) != IGNORED_LABEL]
    assert kept == list(row.tokens[row.start :])
    assert tokenizer.decode(kept, skip_special_tokens=True).replace(" ", "") == "two"
    if tokenizer.eos_token_id is not None:
        assert kept[-1] == tokenizer.eos_token_id


def test_it_learns_the_completions_and_starts_from_the_base(base: Path, tmp_path: Path) -> None:
    before = loss(load_model(base), EXAMPLES[0])
    record = sft(
        load_model(base),
        EXAMPLES,
        tmp_path / "tuned",
        SftSettings(epochs=10, lr=1e-2, batch_tokens=64, dtype="fp32"),
    )
    assert loss(load_model(tmp_path / "tuned"), EXAMPLES[0]) < before / 3
    assert record["base"]["fingerprint"] == load_model(base).fingerprint
    assert record["examples"] == len(EXAMPLES)


def test_a_killed_run_ends_as_an_undisturbed_one(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SftSettings(epochs=10, lr=1e-2, batch_tokens=64, dtype="fp32")
    sft(load_model(base), EXAMPLES, tmp_path / "whole", settings)
    with monkeypatch.context() as patch:
        whole_step = TextTrainer.get_batch_samples

        def dies(self: TextTrainer, *arguments: Any) -> Any:
            if self.state.global_step == 14:
                raise KeyboardInterrupt
            return whole_step(self, *arguments)

        patch.setattr(TextTrainer, "get_batch_samples", dies)
        with pytest.raises(KeyboardInterrupt):
            sft(load_model(base), EXAMPLES, tmp_path / "killed", settings, resume_seconds=0)
    record = sft(load_model(base), EXAMPLES, tmp_path / "killed", settings)
    assert record["resumed_at_step"] == 14
    whole, killed = load_model(tmp_path / "whole"), load_model(tmp_path / "killed")
    for one, other in zip(whole.model.parameters(), killed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "killed")]
    assert metrics[0] == metrics[1]


def test_bad_data_are_refused_before_training(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Example 2 has"):
        sft(load_model(base), [EXAMPLES[0], PromptCompletion("say", " one" * 200)], tmp_path / "out")
    path = tmp_path / "data.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n')
    with pytest.raises(InputError, match=r"data\.jsonl.* 'completion'"):
        read_examples(path)
    path.write_text("")
    with pytest.raises(InputError, match="no examples"):
        read_examples(path)
    with pytest.raises(InputError, match="no file"):
        read_examples(tmp_path / "absent.jsonl")


def test_the_command(base: Path, tmp_path: Path) -> None:
    write_examples(EXAMPLES, tmp_path / "data.jsonl")
    assert read_examples(tmp_path / "data.jsonl") == EXAMPLES
    arguments = [
        "train", "sft", "--model", str(base), "--data", str(tmp_path / "data.jsonl"),
        "--out", str(tmp_path / "tuned"), "--epochs", "1",
    ]  # fmt: skip
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert "12 examples" in result.output
    load_model(tmp_path / "tuned")
    assert "Already there" in CliRunner().invoke(cli, arguments, catch_exceptions=False).output
