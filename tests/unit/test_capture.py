"""The model leaves `capture` as it came, also by an exception; and capture refuses what it cannot see right."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny import tiny_model
from torch import Tensor, nn

from influence.engine.batching import pad
from influence.engine.passes import backward
from influence.errors import ModelError
from influence.models.capture import capture
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.selection import find_layers

BATCH = pad([[3, 4, 5, 6], [7, 8]], torch.device("cpu"))


def used_model(family: str = "llama") -> LanguageModel:
    """A model in the middle of somebody's training: mixed modes and flags, hooks, a gradient."""
    model = tiny_model(family)
    model.model.train()
    blocks = next(module for module in model.model.modules() if isinstance(module, nn.ModuleList))
    blocks[0].eval()
    for number, parameter in enumerate(model.model.parameters()):
        parameter.requires_grad_(number % 3 != 0)
    first = next(parameter for parameter in model.model.parameters() if parameter.requires_grad)
    first.grad = torch.ones_like(first)
    blocks[1].register_forward_hook(lambda *_: None)
    blocks[1].register_full_backward_hook(lambda *_: None)
    find_layers(model.model)[0].module.register_forward_pre_hook(lambda *_: None)
    return model


def state(model: nn.Module) -> dict[str, Any]:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "modules": {name: id(module) for name, module in model.named_modules()},
        "modes": {name: module.training for name, module in model.named_modules()},
        "hooks": {
            name: [list(getattr(module, kind).items()) for kind in hooks]
            for name, module in model.named_modules()
        },
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "parameters": {name: id(p) for name, p in model.named_parameters()},
        "flags": {name: p.requires_grad for name, p in model.named_parameters()},
        "tensors": {name: t.detach().clone() for name, t in model.state_dict().items()},
        "gradients": {name: copy.deepcopy(p.grad) for name, p in model.named_parameters()},
        "tensor hooks": {name: p._backward_hooks for name, p in model.named_parameters()},
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    for key in before.keys() - {"tensors", "gradients"}:
        assert before[key] == after[key], key
    for key in ("tensors", "gradients"):
        assert before[key].keys() == after[key].keys()
        for name, value in before[key].items():
            found = after[key][name]
            assert (value is None and found is None) or torch.equal(value, found), (key, name)


def nothing(index: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
    pass


class Failure(Exception):
    pass


def fails_in_backward(index: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
    raise Failure


def interrupted_in_backward(index: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
    raise KeyboardInterrupt


def fails_after_forward(logits: Tensor) -> Tensor:
    raise Failure


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
@pytest.mark.parametrize(
    ("reduce", "labels", "error"),
    [
        (nothing, None, None),
        (fails_in_backward, None, Failure),
        (interrupted_in_backward, None, KeyboardInterrupt),
        (nothing, fails_after_forward, Failure),
    ],
)
def test_the_model_is_left_as_it_was(
    family: str, reduce: Any, labels: Callable[[Tensor], Tensor] | None, error: type[BaseException] | None
) -> None:
    model = used_model(family)
    layers = find_layers(model.model)
    before = state(model.model)
    if error is None:
        backward(model, layers, BATCH, reduce, labels=labels, what="the test")
    else:
        with pytest.raises(error):
            backward(model, layers, BATCH, reduce, labels=labels, what="the test")
    assert_same(before, state(model.model))
    assert torch.is_grad_enabled()


def test_the_model_is_left_as_it_was_when_its_forward_fails() -> None:
    model = used_model()
    before = state(model.model)
    with pytest.raises(IndexError):
        backward(model, find_layers(model.model), pad([[10**6, 1]], model.device), nothing, what="the test")
    assert_same(before, state(model.model))


def test_inside_it_evaluates_also_under_no_grad() -> None:
    """Dropout is off whatever the mode, and a caller's no_grad does not reach inside."""
    model = tiny_model("llama", attention_dropout=0.9)
    expected = backward(model, find_layers(model.model), BATCH, nothing, what="the test")
    model.model.train()
    with torch.no_grad():
        found = backward(model, find_layers(model.model), BATCH, nothing, what="the test")
        assert not torch.is_grad_enabled()
    assert torch.equal(found, expected)


def test_backward_makes_no_weight_gradient_and_stops_at_the_lowest_tracked_layer() -> None:
    model = tiny_model("llama")
    layers = find_layers(model.model, ("*.layers.1.mlp.*",))
    has_graph: dict[str, bool] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            has_graph[name] = (output[0] if isinstance(output, tuple) else output).requires_grad

        return hook

    for name in ("model.layers.0", "model.layers.1.self_attn", "model.layers.1.mlp", "lm_head"):
        model.model.get_submodule(name).register_forward_hook(watch(name))
    seen: list[int] = []
    backward(model, layers, BATCH, lambda index, a, s: seen.append(index), what="the test")
    assert sorted(seen) == [0, 1, 2]
    assert has_graph == {
        "model.layers.0": False,
        "model.layers.1.self_attn": False,
        "model.layers.1.mlp": True,
        "lm_head": True,
    }
    assert all(parameter.grad is None for parameter in model.model.parameters())
    assert all(parameter.requires_grad for parameter in model.model.parameters())


def test_what_the_reducer_gets_wears_its_shape_and_no_graph() -> None:
    for family in ("llama", "gpt2", "opt"):
        model = tiny_model(family)
        layers = find_layers(model.model)

        def check(index: int, a_BTI: Tensor, s_BTO: Tensor, layers: list[TrackedLayer] = layers) -> None:
            outputs, inputs = layers[index].shape
            assert a_BTI.shape == (2, 4, inputs)
            assert s_BTO.shape == (2, 4, outputs)
            assert not a_BTI.requires_grad
            assert not s_BTO.requires_grad
            assert not torch.is_grad_enabled()
            if layers[index].has_bias:
                assert (a_BTI[..., -1] == 1).all()
            assert (s_BTO[1, 1:] == 0).all()  # padding, and the last token, which predicts nothing

        nll_B = backward(model, layers, BATCH, check, what="the test")
        assert nll_B.shape == (2,)
        assert not nll_B.requires_grad


def test_a_layer_that_runs_twice_is_refused() -> None:
    model = tiny_model("llama")
    mlp = model.model.model.layers[1].mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.up_proj(x)) + mlp.down_proj(mlp.gate_proj(x))
    before = state(model.model)
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.down_proj runs more than once"):
        backward(model, find_layers(model.model), BATCH, nothing, what="the test")
    assert_same(before, state(model.model))


def test_a_layer_that_never_runs_or_has_no_effect_gets_zeros() -> None:
    model = tiny_model("llama")
    mlp = model.model.model.layers[1].mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.up_proj(x))
    layers = find_layers(model.model)
    for forward in (mlp.forward, lambda x: mlp.down_proj(mlp.up_proj(x) + mlp.gate_proj(x).detach())):
        mlp.forward = forward
        seen: dict[str, tuple[Tensor, Tensor]] = {}
        backward(
            model,
            layers,
            BATCH,
            lambda i, a, s, seen=seen: seen.update({layers[i].name: (a, s)}),
            what="the test",
        )
        assert len(seen) == len(layers)
        a_BTI, s_BTO = seen["model.layers.1.mlp.gate_proj"]
        assert (a_BTI.shape, s_BTO.shape) == ((2, 4, 16), (2, 4, 24))
        assert not s_BTO.any()


def test_a_weight_that_is_used_without_a_call_is_refused() -> None:
    model = tiny_model("llama")
    mlp = model.model.model.layers[1].mlp
    before = state(model.model)
    mlp.forward = lambda x: mlp.down_proj(mlp.up_proj(x) + nn.functional.linear(x, mlp.gate_proj.weight))
    with pytest.raises(
        ModelError, match=r"uses the weight of model\.layers\.1\.mlp\.gate_proj without calling"
    ):
        backward(model, find_layers(model.model), BATCH, nothing, what="the test")
    del mlp.forward
    assert_same(before, state(model.model))


def test_without_any_effect_on_the_loss_there_is_nothing_to_track() -> None:
    model = tiny_model("llama")
    mlp = model.model.model.layers[1].mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.up_proj(x) + mlp.gate_proj(x).detach())
    with pytest.raises(ModelError, match="None of the tracked layers has an effect on the loss of the test"):
        backward(model, find_layers(model.model, ("*.1.mlp.gate_proj",)), BATCH, nothing, what="the test")


def test_a_model_may_write_into_the_output_of_the_lowest_tracked_layer() -> None:
    expected, found = [], []
    for results, in_place in ((expected, False), (found, True)):
        model = tiny_model("llama")
        mlp = model.model.model.layers[0].mlp
        mlp.forward = (
            (lambda x, mlp=mlp: mlp.down_proj(mlp.up_proj(x).clamp_(-0.1, 0.1) * mlp.gate_proj(x)))
            if in_place
            else (lambda x, mlp=mlp: mlp.down_proj(mlp.up_proj(x).clamp(-0.1, 0.1) * mlp.gate_proj(x)))
        )
        layers = find_layers(model.model)
        backward(model, layers, BATCH, lambda i, a, s, into=results: into.append(s), what="the test")
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert len(found) == 6


def test_an_axis_of_one_between_documents_and_tokens_is_no_obstacle() -> None:
    model = tiny_model("llama")
    layers = find_layers(model.model)
    plain: dict[int, Tensor] = {}
    backward(model, layers, BATCH, lambda i, a, s: plain.update({i: s.mT @ a}), what="the test")
    mlp = model.model.model.layers[1].mlp
    forward = mlp.forward
    mlp.forward = lambda x: forward(x[:, None])[:, 0]
    folded: dict[int, Tensor] = {}
    backward(model, layers, BATCH, lambda i, a, s: folded.update({i: s.mT @ a}), what="the test")
    assert all(torch.allclose(plain[index], folded[index], rtol=1e-12, atol=0) for index in plain)


@pytest.mark.parametrize("shape", [(1, 8), (4, 2), (7,), (1, 4, 2)])
def test_an_input_whose_documents_cannot_be_told_apart_is_refused(shape: tuple[int, ...]) -> None:
    model = tiny_model("llama")
    (layer,) = find_layers(model.model, ("*.0.mlp.down_proj",))
    with (
        pytest.raises(ModelError, match=r"down_proj sees an input of shape .*cannot be told apart"),
        capture(model.model, [layer], torch.Size((2, 4)), nothing),
    ):
        layer.module(torch.zeros(*shape, layer.inputs, dtype=torch.float64)).sum().backward()
