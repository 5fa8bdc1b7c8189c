"""Which layers are tracked: by structure, in every family; what cannot be tracked is refused by name."""

from __future__ import annotations

import pytest
import torch
from tiny import FAMILIES, tiny_model
from torch import nn
from transformers import AutoModelForCausalLM, MixtralConfig, Qwen2MoeConfig

from influence.errors import ModelError
from influence.models.layers import find_layers

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
    assert names("llama", "lm_head") == ["lm_head"]


def test_an_unknown_glob_names_what_there_is() -> None:
    with pytest.raises(ModelError) as caught:
        names("llama", "mlp", "*.ffn.*")
    assert "--layers *.ffn.*" in caught.value.message
    assert "model.layers.0.self_attn.q_proj" in str(caught.value.have)


def test_a_tied_head_is_refused_by_name() -> None:
    model = tiny_model("llama", tie_word_embeddings=True).model
    with pytest.raises(ModelError, match="lm_head shares its weight") as caught:
        find_layers(model, ("lm_head",))
    assert "model.embed_tokens.weight" in str(caught.value.have)
    assert len(find_layers(model, ("all",))) == BLOCKS * 7


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


@pytest.mark.parametrize(
    "config",
    [
        MixtralConfig(num_local_experts=4),
        Qwen2MoeConfig(num_experts=4, moe_intermediate_size=8, shared_expert_intermediate_size=8),
    ],
    ids=["mixtral", "qwen2_moe"],
)
@pytest.mark.parametrize("selection", ["mlp", "all"])
def test_fused_experts_are_refused_by_name(config: MixtralConfig | Qwen2MoeConfig, selection: str) -> None:
    for key, value in {
        "vocab_size": 67,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }.items():
        setattr(config, key, value)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(
        ModelError, match=r"model\.layers\.0\.mlp\.experts holds fused expert weights"
    ) as caught:
        find_layers(model, (selection,))
    assert "[4, " in str(caught.value.have)
    assert "self_attn" in str(caught.value.fix)
    assert len(find_layers(model, ("*.self_attn.*",))) == 8


def test_quantised_weights_are_refused_by_name() -> None:
    model = tiny_model("llama").model
    linear = model.model.layers[1].mlp.up_proj
    linear.weight = nn.Parameter(torch.zeros(24, 16, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.up_proj is quantised \(torch\.int8\)"):
        find_layers(model)
