"""`influence doctor` finds a model whose gradients depend on the batch, and leaves every model as it came."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from tiny import VOCABULARY, tiny_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from influence.cli.main import cli
from influence.engine.doctor import Finding, examine, random_documents


def found(family: str = "llama") -> tuple[dict[str, Finding], PreTrainedModel]:
    model = tiny_model(family, dtype=torch.float32)
    findings = examine(model, ("mlp",), random_documents(VOCABULARY, 40))
    return {one.change: one for one in findings}, model.model


def test_a_causal_model_is_sound_in_fp32() -> None:
    findings, model = found()
    assert set(findings) == {
        "the same again",
        "each document alone",
        "eager attention instead of sdpa",
        "bfloat16 instead of float32",
    }
    assert findings["the same again"].difference == 0
    assert findings["each document alone"].difference < 1e-4
    assert findings["eager attention instead of sdpa"].difference < 1e-4
    assert 1e-4 < findings["bfloat16 instead of float32"].difference < 0.2
    assert model.config._attn_implementation == "sdpa"
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_a_model_that_mixes_documents_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = nn.Embedding.forward

    def mixed(self: nn.Embedding, ids: Tensor) -> Tensor:
        x: Tensor = forward(self, ids)
        return x + x.mean(0, keepdim=True)

    monkeypatch.setattr(nn.Embedding, "forward", mixed)
    findings, _ = found()
    assert findings["the same again"].harmless
    assert not findings["each document alone"].harmless
    assert "--batch-tokens 1" in findings["each document alone"].advice


def test_the_command_prints_each_change_and_a_verdict(tmp_path: Path) -> None:
    model = tiny_model("gpt2", dtype=torch.float32)
    model.model.save_pretrained(tmp_path / "model")
    model.tokenizer.save_pretrained(tmp_path / "model")
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"text": "one and two"}\n{"text": "three"}\n', encoding="utf-8")
    for options in ([], ["--corpus", str(corpus)]):
        done = CliRunner().invoke(
            cli, ["doctor", "--model", str(tmp_path / "model"), "--documents", "2", *options]
        )
        assert done.exit_code == 0, done.output
        assert "each document alone" in done.output
        assert "bfloat16 instead of float32" in done.output
        assert "matter for scores" in done.output or "Gradients change with" in done.output
    assert "2 documents of 5 to 11 tokens" in done.output
