"""Which layers are tracked: by structure, in every family; what cannot be tracked is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from texts import MemoryCorpus, random_documents, random_queries
from tiny import FAMILIES, character_tokenizer, tiny_model
from torch import nn
from transformers import PreTrainedModel

from influence.config import FitConfig
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.errors import ModelError
from influence.models.load import LanguageModel
from influence.models.selection import find_layers

#: Tracked layers of a block: the MLP's, and all linears.
COUNTS = {
    "gpt2": (2, 4),
    "gpt_neox": (2, 4),
    "opt": (2, 6),
    "llama": (3, 7),
    "qwen2": (3, 7),
    "qwen3": (3, 7),
    "mistral": (3, 7),
    "gemma": (3, 7),
    "phi": (2, 6),
    "olmo": (3, 7),
    "falcon": (2, 4),
    "bloom": (2, 4),
}
BLOCKS = 2


def names(family: str, *selection: str) -> list[str]:
    return [layer.name for layer in find_layers(tiny_model(family).model, selection)]


def test_every_family_is_counted() -> None:
    assert COUNTS.keys() == FAMILIES.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_mlp_and_all(family: str) -> None:
    model = tiny_model(family).model
    mlp, everything = COUNTS[family]
    tracked = find_layers(model)
    assert len(tracked) == BLOCKS * mlp
    assert len(find_layers(model, ("all",))) == BLOCKS * everything
    for layer in tracked:
        assert "att" not in layer.name
        assert layer.module is model.get_submodule(layer.name)
        assert set(layer.module.weight.shape) == {layer.inputs, layer.outputs}
        assert layer.shape == (layer.outputs, layer.inputs + (layer.module.bias is not None))
    assert {16} < {size for layer in tracked for size in (layer.inputs, layer.outputs)}


@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_and_outputs_are_not_swapped(family: str) -> None:
    """GPT-2's Conv1D keeps `[I, O]` where nn.Linear keeps `[O, I]`: ask the layer itself."""
    for layer in find_layers(tiny_model(family).model, ("all",)):
        probe = torch.zeros(1, 1, layer.inputs, dtype=torch.float64)
        assert layer.module(probe).shape == (1, 1, layer.outputs)


def test_globs_are_in_model_order_and_join() -> None:
    down = [f"model.layers.{i}.mlp.down_proj" for i in range(BLOCKS)]
    assert names("llama", "*.mlp.down_proj") == down
    assert names("llama", "*.1.*.down_proj") == down[1:]
    assert names("llama", "*.up_proj", "*.gate_proj") == names("llama", "*.[gu]*_proj")
    assert names("llama", "*.mlp.down_proj", "mlp") == names("llama", "mlp")
    assert names("llama", "mlp", "*.self_attn.*") == names("llama", "all")


def test_heads_and_embeddings_are_tracked_only_by_name() -> None:
    assert "lm_head" not in names("llama", "all")
    assert names("llama", "lm_head") == names("llama", "head") == ["lm_head"]
    assert names("llama", "embedding") == ["model.embed_tokens"]


def test_an_unknown_glob_names_what_there_is() -> None:
    with pytest.raises(ModelError) as caught:
        names("llama", "mlp", "*.ffn.*")
    assert "--layers *.ffn.*" in caught.value.message
    assert "model.layers.0.self_attn.q_proj" in str(caught.value.have)


def test_a_head_that_shares_its_weight_with_more_than_the_embedding_is_refused() -> None:
    model = tiny_model("llama", tie_word_embeddings=True).model
    assert len(find_layers(model, ("all",))) == BLOCKS * 7
    model.model.other = nn.Linear(16, 67, bias=False)
    model.model.other.weight = model.lm_head.weight
    with pytest.raises(ModelError, match="lm_head shares its weight") as caught:
        find_layers(model, ("lm_head",))
    assert "model.other.weight" in str(caught.value.have)


def test_blocks_that_share_a_layer_are_refused() -> None:
    model = tiny_model("llama").model
    model.model.layers[1].mlp.up_proj.weight = model.model.layers[0].mlp.up_proj.weight
    with pytest.raises(ModelError, match=r"layers\.0\.mlp\.up_proj shares its weight") as caught:
        find_layers(model)
    assert "model.layers.1.mlp.up_proj.weight" in str(caught.value.have)


def test_blocks_that_are_the_same_module_are_refused() -> None:
    model = tiny_model("llama").model
    model.model.layers[1] = model.model.layers[0]
    with pytest.raises(ModelError, match="shares its weight"):
        find_layers(model)


@pytest.fixture
def experts() -> tuple[str, PreTrainedModel]:
    """A model whose experts run in code that nobody knows, and the first module that holds some."""
    settings = {"num_local_experts": 4, "kv_channels": 8, "tie_word_embeddings": False}
    model = tiny_model("jetmoe", **settings).model
    for block in model.model.layers:
        for module in (*block.mlp.children(), *block.self_attention.experts.children()):
            if "Experts" in type(module).__name__:
                module.__class__ = type("StrangeExperts", (type(module),), {})
    return "model.layers.0.mlp.input_linear", model


@pytest.mark.parametrize("selection", ["mlp", "all", "experts", "*", "model.layers.0.*"])
def test_fused_experts_are_refused_and_never_skipped(
    experts: tuple[str, PreTrainedModel], selection: str
) -> None:
    name, model = experts
    with pytest.raises(ModelError, match=rf"--layers .*: {name} holds fused expert weights") as caught:
        find_layers(model, (selection,))
    assert "[4, " in str(caught.value.have)
    chosen = re.findall(r"--layers (\S+)", str(caught.value.fix))[:1]
    excluded = re.findall("--exclude-layers '([^']*)'", str(caught.value.fix))
    layers = find_layers(model, chosen, excluded)  # what it advises works
    assert layers
    assert not any("experts" in layer.name and "router" not in layer.name for layer in layers)


def test_shared_experts_are_tracked_by_name() -> None:
    model = tiny_model("qwen2_moe", num_experts=4, moe_intermediate_size=8).model
    assert len(find_layers(model, ("*.shared_expert.*",))) == 2 * 3


def test_experts_in_a_matrix_are_found_by_their_name() -> None:
    model = tiny_model("llama").model

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w1 = nn.Parameter(torch.zeros(4 * 24, 16))

    model.model.layers[1].mlp.experts = Experts()
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.experts holds fused expert weights"):
        find_layers(model)


def test_a_convolution_is_no_expert() -> None:
    model = tiny_model("llama").model
    model.model.layers[1].mlp.conv = nn.Conv1d(16, 16, 3)
    assert len(find_layers(model)) == 6


def test_quantised_weights_are_refused_by_name() -> None:
    model = tiny_model("llama").model
    linear = model.model.layers[1].mlp.up_proj
    linear.weight = nn.Parameter(torch.zeros(24, 16, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.up_proj is quantised \(torch\.int8\)"):
        find_layers(model)


def test_without_a_hessian_the_way_out_is_to_fit_one(
    experts: tuple[str, PreTrainedModel], tmp_path: Path
) -> None:
    name, experts_model = experts
    model = LanguageModel(experts_model, character_tokenizer())
    corpus = MemoryCorpus(random_documents(2))
    with pytest.raises(ModelError, match=rf"^Without a Hessian the MLPs are scored\. {name} holds") as caught:
        score(model, None, random_queries(1), corpus, tmp_path / "scores")
    assert "influence fit-hessian --layers, and score with it" in str(caught.value.fix)
    assert "--exclude-layers '*." in str(caught.value.fix)
    assert not (tmp_path / "scores").exists()


def test_what_is_excluded_is_not_tracked(tmp_path: Path) -> None:
    model = tiny_model("llama")
    gates = ("*.gate_proj", "model.layers.1.mlp.down_proj")
    expected = [f"model.layers.{layer}" for layer in ("0.mlp.up_proj", "0.mlp.down_proj", "1.mlp.up_proj")]
    assert [layer.name for layer in find_layers(model.model, ("mlp",), gates)] == expected
    corpus = MemoryCorpus(random_documents(4))
    factors = fit_hessian(model, corpus, out=tmp_path / "fit", config=FitConfig(exclude_layers=gates))
    assert sorted(factors.layers) == sorted(expected)
    with pytest.raises(ModelError, match="no linear layer") as caught:
        find_layers(model.model, ("mlp",), ("*.mlp.*",))
    assert caught.value.fix == "Use --layers all --exclude-layers '*.mlp.*'."


def test_what_a_layer_is_called_does_not_hide_what_it_is() -> None:
    """Hybrids have blocks of several classes; NemotronH calls every part of a block `mixer`."""
    model = tiny_model(
        "nemotron_h",
        layers_block_type=["mamba", "attention", "mlp"],
        head_dim=8,
        mamba_num_heads=4,
        mamba_head_dim=8,
        n_groups=1,
        ssm_state_size=8,
    ).model
    assert [layer.name for layer in find_layers(model)] == [
        f"model.layers.2.mixer.{x}" for x in ("up_proj", "down_proj")
    ]
