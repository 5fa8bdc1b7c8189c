"""Tiny random models with a tokenizer, made on the spot: no network, no files of others."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from influence.models.load import LanguageModel

VOCABULARY = 67

#: family -> settings of its config that make it tiny; sizes shared by all are below.
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "gpt_neox": {"max_position_embeddings": 64},
    "opt": {"ffn_dim": 24, "max_position_embeddings": 64, "word_embed_proj_dim": 16},
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "mistral": {},
    "gemma": {"head_dim": 8},
    "phi": {},
    "olmo": {},
    "falcon": {},
    "bloom": {"n_layer": 2, "n_head": 2},
}


def character_tokenizer(bos: bool = False) -> PreTrainedTokenizerFast:
    """One token a character of a small alphabet."""
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789 .,:;?!()+-*/=\n\"'ABCDEFGHIJ"
    vocabulary = {"<s>": 0, "<unk>": 1} | {c: i + 2 for i, c in enumerate(alphabet)}
    assert len(vocabulary) <= VOCABULARY
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", unk_token="<unk>")


def tiny_model(
    family: str = "llama",
    *,
    dtype: torch.dtype = torch.float64,
    bos: bool = False,
    seed: int = 0,
    **settings: Any,
) -> LanguageModel:
    """A random model of two blocks, width 16, in float64."""
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 64,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": None,
    }
    config = CONFIG_MAPPING[family](**{**sizes, **FAMILIES.get(family, {}), **settings})
    model = AutoModelForCausalLM.from_config(config).to(dtype)
    with torch.no_grad():  # biases that start at zero and small weights would hide mistakes
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return LanguageModel(model.eval(), character_tokenizer(bos), f"tiny {family}")
