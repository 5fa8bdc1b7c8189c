"""The page of `influence doctor`: what is said of a model must be true of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from click.testing import CliRunner
from test_adapters import save_adapter, save_base
from tiny import VOCABULARY, tiny_model
from tokenizers import processors

from influence.cli.main import cli
from influence.engine.doctor import describe, random_documents
from influence.models.load import LanguageModel


def page(model: LanguageModel, layers: tuple[str, ...] = ()) -> dict[str, str]:
    rows = describe(model, layers, random_documents(VOCABULARY, 30))
    left_out = " | ".join(text for title, text in rows if title == "left out")
    return dict(rows) | {"left out": left_out}


def test_layers_are_named_with_what_is_left_out_and_why() -> None:
    said = page(tiny_model("llama", dtype=torch.float32))
    assert said["model"].startswith("llama, LlamaForCausalLM: 2 blocks, ")
    assert said["precision"] == "float32"
    assert said["tracked"].startswith(
        f"6 layers of {6 * 16 * 24:,} parameters: model.layers.*.mlp.gate_proj (2)"
    )
    assert "not selected, --layers all has them: model.layers.*.self_attn.q_proj (2)" in said["left out"]
    assert "the output head: lm_head" in said["left out"]
    assert "embeddings: model.embed_tokens" in said["left out"]
    assert "scales and offsets, not linear layers: model.layers.*.input_layernorm (2)" in said["left out"]
    everything = page(tiny_model("llama", dtype=torch.float32), ("all",))
    assert "self_attn" not in everything["left out"]


@pytest.mark.parametrize(("family", "positions"), [("llama", "computed"), ("gpt2", "learned")])
def test_positions_are_learned_or_computed(family: str, positions: str) -> None:
    said = page(tiny_model(family, dtype=torch.float32))["context"]
    assert said.startswith(f"{positions} positions, ")
    assert said.endswith("trained on 64 tokens")


def test_the_frame_of_the_tokenizer() -> None:
    model = tiny_model("llama", dtype=torch.float32)
    assert page(model)["tokenizer"].startswith(
        "puts nothing before a text; appends nothing; parts a full stop"
    )
    backend: Any = model.tokenizer
    backend.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A <unk>", special_tokens=[("<s>", 0), ("<unk>", 1)]
    )
    said = page(model)["tokenizer"]
    assert said.startswith("puts <s> before a text, which stays; appends <unk>, which is left off")


def test_a_neighbour_that_changes_a_loss_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert page(tiny_model("llama", dtype=torch.float32))["batches"].endswith("documents share batches")
    forward = torch.nn.Embedding.forward

    def mixed(self: torch.nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = forward(self, ids)
        return x + x.mean(0, keepdim=True)

    monkeypatch.setattr(torch.nn.Embedding, "forward", mixed)
    assert page(tiny_model("llama", dtype=torch.float32))["batches"].endswith("each document is scored alone")


def test_an_adapter_has_a_page(tmp_path: Any) -> None:
    adapter = save_adapter(save_base(tmp_path / "base"), tmp_path / "adapter")
    done = CliRunner().invoke(cli, ["doctor", "--model", str(adapter), "--documents", "2", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "precision     float32, with an adapter (LORA)" in done.output
    assert "tracked       8 layers" in done.output
    assert "model.layers.*.mlp.up_proj.lora_A.default (2)" in done.output
    assert "not selected, --layers all has them: " in done.output
    assert "model.layers.*.mlp.up_proj.base_layer (2)" in done.output
    assert "each document alone" in done.output
