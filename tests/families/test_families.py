"""A sample of the families that `make families` compares with autograd: one for each way to find layers."""

from __future__ import annotations

import pytest
from build import tiny_model
from compare import outcome

from influence.errors import ModelError
from influence.models.layers import find_layers

#: Dense, learned positions, parallel blocks, recurrence, hybrids, folded inputs, in-place writes, an MLP called mixer.
RIGHT = (
    "llama",
    "gpt2",
    "opt",
    "bloom",
    "gemma2",
    "jamba",
    "minicpm3",
    "rwkv",
    "olmo",
    "recurrent_gemma",
    "phi3",
)


@pytest.mark.parametrize("kind", RIGHT)
def test_gradients_are_those_of_autograd(kind: str) -> None:
    changes = {"clip_qkv": 0.5} if kind == "olmo" else {"num_experts": 1} if kind == "jamba" else {}
    net = tiny_model(kind, **changes)
    for selection in ("mlp",) if kind == "jamba" else ("mlp", "all"):  # its dt_proj is used without a call
        found = outcome(net, selection)
        assert found.verdict == "right", found
        assert found.layers >= 2


@pytest.mark.parametrize("kind", ["bert", "xlm", "xlnet"])
def test_models_that_look_ahead_are_refused(kind: str) -> None:
    found = outcome(tiny_model(kind), "all")
    assert (found.verdict, "is not causal" in found.reason) == ("refused", True), found


def test_a_weight_that_is_used_without_a_call_is_refused() -> None:
    found = outcome(tiny_model("mamba"), "all")
    assert (found.verdict, "without calling" in found.reason) == ("refused", True), found


def test_documents_that_change_each_other_are_compared_alone() -> None:
    assert outcome(tiny_model("doge", keep_window_size=8), "mlp").verdict == "right"


def test_experts_are_refused_with_options_that_work() -> None:
    net = tiny_model("qwen2_moe")
    with pytest.raises(ModelError, match="fused expert weights") as caught:
        find_layers(net)
    assert "--layers mlp --exclude-layers '*.experts'" in str(caught.value.fix)
    assert outcome(net, "mlp", ("*.experts",)).verdict == "right"
