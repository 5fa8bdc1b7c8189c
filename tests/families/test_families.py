"""A sample of the families that `make families` compares with autograd: one for each way to find layers."""

from __future__ import annotations

import pytest
from build import tiny_model
from compare import outcome

from influence.models.selection import find_layers

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


#: Fused experts: gates of several kinds, with biases, transposed, beside shared ones, routers in float32.
EXPERTS = (
    "mixtral",
    "qwen2_moe",
    "qwen3_moe",
    "olmoe",
    "deepseek_v2",
    "deepseek_v3",
    "gpt_oss",
    "granitemoe",
    "phimoe",
    "aria_text",
    "llama4_text",
    "longcat_flash",
    "dbrx",
    "jetmoe",
)


@pytest.mark.parametrize("kind", EXPERTS)
def test_gradients_of_experts_and_routers_are_those_of_autograd(kind: str) -> None:
    net = tiny_model(kind)
    for selection in ("experts", "router", "mlp"):
        found = outcome(net, selection)
        assert found.verdict == "right", found
        assert found.layers >= (1 if selection == "router" else 8)
    assert found.layers == len({layer.name for layer in find_layers(net, ("mlp",))})


@pytest.mark.parametrize("kind", ["mixtral", "gpt_oss"])
def test_gradients_of_experts_are_exact_in_double_precision(kind: str) -> None:
    net = tiny_model(kind).double()
    net.set_experts_implementation("eager")  # the only one of transformers in float64
    assert outcome(net, "mlp").difference < 1e-13


@pytest.mark.parametrize("kind", ["bert", "xlm", "xlnet"])
def test_models_that_look_ahead_are_refused(kind: str) -> None:
    found = outcome(tiny_model(kind), "all")
    assert (found.verdict, "is not causal" in found.reason) == ("refused", True), found


#: Type, selection, words of the refusal, and what becomes of the options that it names: nothing where it names none.
REFUSED = (
    ("mamba", "mlp", "no linear layer of MambaForCausalLM matches", "right"),
    ("mamba", "all", "without calling the layer", "right"),
    ("gemma3n_text", "mlp", "runs more than once in a forward pass", "right"),
    ("zaya", "all", "its documents cannot be told apart", "right"),
    ("hrm_text", "mlp", "runs more than once in a forward pass", ""),
    ("prophetnet", "all", "its documents cannot be told apart", ""),
    ("reformer", "mlp", "computes no gradient in evaluation mode", ""),
)


@pytest.mark.parametrize(("kind", "selection", "words", "followed"), REFUSED)
def test_the_options_that_a_refusal_names_work(kind: str, selection: str, words: str, followed: str) -> None:
    found = outcome(tiny_model(kind), selection)
    assert (found.verdict, found.followed, words in found.reason) == ("refused", followed, True), found


def test_documents_that_change_each_other_are_compared_alone() -> None:
    assert outcome(tiny_model("doge", keep_window_size=8), "mlp").verdict == "right"


def test_experts_that_run_in_code_of_their_own_are_refused_with_options_that_work() -> None:
    found = outcome(tiny_model("inkling_text"), "mlp")
    assert (found.verdict, found.followed) == ("refused", "right")
    assert "fused expert weights" in found.reason
