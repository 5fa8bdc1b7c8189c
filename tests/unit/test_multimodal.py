"""Models that read images or sound beside text load as a whole; the text model in them is tracked and scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from inputs import write_records
from test_adapters import by_autograd, captured
from texts import random_documents, random_queries
from tiny import VOCABULARY, character_tokenizer
from transformers import (
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    Gemma3Config,
    LlamaConfig,
    LlavaConfig,
    Qwen2VLConfig,
)

from influence.cli.main import cli
from influence.data.queries import write_queries
from influence.models.load import load_model
from influence.store.scores import open_scores

TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


def config(kind: str) -> Any:
    if kind == "llava":
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
        vision = CLIPVisionConfig(**sizes, image_size=8, patch_size=4)
        return LlavaConfig(vision_config=vision, text_config=LlamaConfig(**TEXT), image_token_index=66)
    if kind == "gemma3":
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
        vision = {**sizes, "model_type": "siglip_vision_model", "image_size": 8, "patch_size": 4}
        text = {**TEXT, "head_dim": 8, "sliding_window": 16}
        tokens = {"image_token_index": 66, "boi_token_index": 64, "eoi_token_index": 65}
        return Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=1, **tokens)
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}
    vision = {"depth": 1, "embed_dim": 16, "num_heads": 2, "hidden_size": 16, "patch_size": 4, "mlp_ratio": 1}
    tokens = {"image_token_id": 64, "video_token_id": 65, "vision_start_token_id": 63}
    return Qwen2VLConfig(text_config={**TEXT, "rope_parameters": rope}, vision_config=vision, **tokens)


@pytest.fixture(scope="module", params=["gemma3", "llava", "qwen2_vl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config(request.param))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder / "model")
    character_tokenizer().save_pretrained(folder / "model")
    return folder / "model"


def test_the_text_model_has_the_gradients_of_autograd(folder: Path) -> None:
    model = load_model(folder, dtype="float64", device="cpu")
    expected = by_autograd(model)
    for selection, count in (("mlp", 2 * 3), ("all", 2 * 7)):
        gradients = captured(model, (selection,))
        assert len(gradients) == count
        assert not any("vision" in name or "visual" in name for name in gradients)
        for name, gradient in gradients.items():
            weight, bias = expected[f"{name}.weight"], expected.get(f"{name}.bias")
            torch.testing.assert_close(
                gradient, weight if bias is None else torch.cat([weight, bias[:, None]], 1)
            )


def test_fit_and_score_through_the_command_line(folder: Path, tmp_path: Path) -> None:
    corpus, queries, hessian = tmp_path / "corpus.jsonl", tmp_path / "queries.jsonl", tmp_path / "hessian"
    rows = [{"id": d.id, "text": d.text} for d in random_documents(12, seed=4, shortest=5, longest=30)]
    write_records(corpus, rows)
    write_queries(random_queries(2), queries)
    common = ["--corpus", str(corpus), "--device", "cpu"]
    fit = ["fit-hessian", "--model", str(folder), *common, "--out", str(hessian)]
    score = ["score", "--queries", str(queries), "--model", str(folder), "--hessian", str(hessian), *common]
    for command in (
        fit,
        [*score, "--out", str(tmp_path / "scores")],
        ["doctor", "--model", str(folder), "--documents", "2"],
    ):
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
    assert "left out      no text goes through them" in done.output
    dot = open_scores(tmp_path / "scores").dot
    assert np.isfinite(dot).all()
    assert dot.any()
