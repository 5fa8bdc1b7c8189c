"""Build a tiny random model of any causal type that transformers knows, every weight perturbed."""

from __future__ import annotations

import dataclasses
import re
import warnings
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 67
TYPES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)

#: (pattern of a field's name, its tiny value), the first that matches counts.
_SIZES: tuple[tuple[str, int], ...] = (
    (r"^(vocab_size|text_vocab_size|n_vocab|audio_vocab_size|vocab_size_per_layer_input)$", VOCABULARY),
    (r"^(pad|bos|eos|unk|sep|cls|mask|decoder_start|boi|eoi|image|video|audio|boa|eoa|lang)_token_(id|index)$", 0),
    (r"^(pad|bos|eos|unk|sep|cls|mask)_index$", 0),
    (r"^(num_hidden_layers|n_layers?|num_layers)$", 2),
    (r"^(encoder_layers|decoder_layers|num_decoder_layers|num_encoder_layers)$", 2),
    (r"^(num_key_value_heads|num_kv_heads|n_head_kv|num_global_key_value_heads|swa_num_key_value_heads)$", 2),
    (r"^(num_attention_heads|n_heads?|num_heads|encoder_attention_heads|decoder_attention_heads|attention_heads)$", 4),
    (r"^(num_encoder_attention_heads|num_decoder_attention_heads|swa_num_attention_heads)$", 4),
    (r"^(head_dim|v_head_dim|qk_nope_head_dim|qk_rope_head_dim|global_head_dim|attention_head_dim|d_kv)$", 8),
    (r"^(swa_head_dim|swa_v_head_dim|kv_channels|dim_head|attention_head_size|rotary_dim)$", 8),
    (r"^(linear_key_head_dim|linear_value_head_dim|linear_attn_head_dim)$", 8),
    (r"^(linear_num_key_heads|linear_num_value_heads|linear_attn_num_heads)$", 4),
    (r"^(hidden_size|d_model|n_embd|word_embed_proj_dim|embed_dim|dim|model_dim|emb_dim)$", 32),
    (r"^(attention_hidden_size|lru_width|embedding_size|input_embedding_size)$", 32),
    (r"^(output_embedding_size)$", 32),
    (r"(q_lora_rank|kv_lora_rank|o_lora_rank)$", 16),
    (r"(intermediate_size|ffn_dim|d_ff|n_inner|ffn_hidden_size|dim_ff|feed_forward_size|expert_dim)", 48),
    (r"^(num_experts|num_local_experts|n_routed_experts|moe_num_experts|num_routed_experts)$", 4),
    (r"^(num_experts_per_tok|num_experts_per_token|moe_topk|moe_k|moe_top_k|top_k_experts|num_selected_experts)$", 2),
    (r"^(n_group|topk_group|num_expert_group|router_n_groups)$", 1),
    (r"^(n_shared_experts|num_shared_experts|moe_num_shared_experts)$", 1),
    (r"^(first_k_dense_replace|num_dense_layers|first_k_dense)$", 1),
    (r"^(max_position_embeddings|n_positions|max_target_positions|max_source_positions|n_ctx|max_seq_len)$", 128),
    (r"^(sliding_window|attention_window_size|window_size|attention_chunk_size|local_attention)$", 16),
    (r"^(mamba_n_heads|mamba_num_heads)$", 8),
    (r"^(mamba_d_head|mamba_head_dim)$", 8),
    (r"^(mamba_d_state|state_size|ssm_state_size)$", 8),
    (r"^(mamba_n_groups|n_groups)$", 1),
    (r"^(mamba_chunk_size|chunk_size)$", 8),
    (r"^(mamba_dt_rank|time_step_rank)$", 4),
)  # fmt: skip

#: Settings of single types that their own checks, or a mechanism worth meeting, ask for.
_SPECIAL: dict[str, dict[str, Any]] = {
    "reformer": {"is_decoder": True, "axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 16]},
    "cohere_compass_text": {"layer_types": ["full_attention", "full_attention"]},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"]},
    "dbrx": {
        "attn_config": {"rope_theta": 10_000.0, "kv_n_heads": 2, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 48, "hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "zaya": {"num_experts_per_tok": 1},
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0}},
    "gemma4_unified_assistant": {
        "text_config": {"hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0}
    },
    "dots3_note": {"text_config": {"per_layer_config": {}}},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"]},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "mamba2": {"num_heads": 8, "head_dim": 8, "expand": 2},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "nemotron_h": {"layers_block_type": ["mamba", "attention", "mlp"]},
    "xlnet": {"d_head": 8},
    "xmod": {"default_language": "en_XX"},
}


def tiny_settings(config: Any) -> dict[str, Any]:
    """Arguments that make a configuration like this one tiny, its inner configurations too."""
    settings: dict[str, Any] = {}
    names = [field.name for field in dataclasses.fields(config)]
    for name in names:
        for pattern, value in _SIZES:
            if name not in config.sub_configs and re.search(pattern, name):
                settings[name] = value
                break
    if "kv_lora_rank" in names and "num_key_value_heads" in names:
        settings["num_key_value_heads"] = settings["num_attention_heads"]
    for name in config.sub_configs:
        inner = getattr(config, name, None)
        if inner is not None:
            settings[name] = {"model_type": inner.model_type, **tiny_settings(inner)}
            settings[name] |= _SPECIAL.get(inner.model_type, {})
    return settings


def tiny_config(kind: str, **changes: Any) -> Any:
    """The configuration of a type, tiny."""
    config_class = CONFIG_MAPPING[kind]
    settings = tiny_settings(config_class())
    for name, value in {**_SPECIAL.get(kind, {}), **changes}.items():
        if isinstance(value, dict) and isinstance(settings.get(name), dict):
            settings[name] = settings[name] | value
        elif value is REMOVE:
            settings.pop(name, None)
        else:
            settings[name] = value
    return config_class(**settings)


#: A setting that is left at the type's default.
REMOVE = object()


def tiny_model(kind: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random model of a type in float32, all weights perturbed: biases of zero would hide mistakes."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_config(tiny_config(kind, **changes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()
