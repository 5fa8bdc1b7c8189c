"""LoRA beside a model, merged into a plain checkpoint; gradient checkpointing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_model
from transformers import AutoModelForCausalLM

from influence.errors import InputError
from influence.train.core.resume import adapt, save_plain

IDS_BT = torch.arange(24).reshape(2, 12) % 60


def _adapted(family: str) -> Any:
    """A model with adapters that changed, as after training."""
    model = adapt(tiny_model(family, dtype=torch.float32).model, lora_rank=3, gradient_checkpointing=False)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
def test_the_plain_checkpoint_computes_what_the_adapted_model_does(family: str, tmp_path: Path) -> None:
    model = _adapted(family)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_plain(model, tmp_path)
    plain, found = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    expected = model(IDS_BT).logits
    torch.testing.assert_close(plain.eval()(IDS_BT).logits, expected, rtol=1e-4, atol=1e-4)
    with model.disable_adapter():
        assert not torch.allclose(model(IDS_BT).logits, expected, atol=1e-2)
    assert not [path for path in tmp_path.iterdir() if "adapter" in path.name]
    after = model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_lora_starts_as_the_model_and_trains_the_adapters_alone() -> None:
    plain = tiny_model("gpt2").model
    expected = plain(IDS_BT).logits
    model = adapt(plain, lora_rank=2, gradient_checkpointing=False)
    torch.testing.assert_close(model(IDS_BT).logits, expected)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    assert not any("lm_head" in name for name in trained)


@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("rank", [None, 2])
def test_gradient_checkpointing_gives_the_same_gradients(rank: int | None) -> None:
    base = tiny_model("gpt2", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0).model

    def gradients(checkpointing: bool) -> tuple[dict[str, torch.Tensor], int]:
        torch.manual_seed(0)
        model: Any = adapt(copy.deepcopy(base), lora_rank=rank, gradient_checkpointing=checkpointing).train()
        inner = model.get_base_model() if rank else model
        runs: list[int] = []
        inner.transformer.h[0].attn.register_forward_pre_hook(lambda *_: runs.append(1))
        model(IDS_BT, labels=IDS_BT).loss.backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, len(runs)

    (kept, once), (again, twice) = gradients(False), gradients(True)
    assert (once, twice) == (1, 2)
    assert kept.keys() == again.keys()
    assert kept
    for name, gradient in kept.items():
        torch.testing.assert_close(again[name], gradient, msg=name)


def test_a_model_without_either_is_left_alone() -> None:
    model = tiny_model("gpt2").model
    assert adapt(model, lora_rank=None, gradient_checkpointing=False) is model
    with pytest.raises(InputError, match="at least 1"):
        adapt(model, lora_rank=0, gradient_checkpointing=False)
