"""An adapter's folder: found with its base, tracked alone unless more is asked for, and the same merged or not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from click.testing import CliRunner
from inputs import write_records
from texts import random_queries
from tiny import tiny_model
from torch import Tensor

from influence.cli.main import cli
from influence.data.queries import write_queries
from influence.engine.batching import pad
from influence.engine.passes import backward
from influence.errors import ModelError
from influence.models.load import LanguageModel, load_model
from influence.models.losses import token_nll
from influence.models.selection import find_layers
from influence.store.scores import open_scores

DOCUMENT = [3, 14, 15, 9, 26, 5]


def save_base(folder: Path, family: str = "llama") -> Path:
    base = tiny_model(family, dtype=torch.float32)
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return folder


def save_adapter(base: Path, folder: Path, fresh: bool = False, **settings: Any) -> Path:
    """Store a LoRA of rank 3, whose second factor is zero as before training or random as after it."""
    torch.manual_seed(1)
    config = peft.LoraConfig(r=3, target_modules=["up_proj", "q_proj"], **settings)
    adapted: Any = peft.get_peft_model(load_model(base, device="cpu").model, config)
    if not fresh:
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "lora_" in name:
                    parameter += 0.3 * torch.randn_like(parameter)
    adapted.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("adapters") / "base")


@pytest.fixture(scope="module")
def adapter(base: Path) -> Path:
    return save_adapter(base, base.parent / "adapter", lora_alpha=5)


def captured(
    model: LanguageModel,
    layers: Sequence[str],
    exclude: Sequence[str] = (),
    document: list[int] = DOCUMENT,
) -> dict[str, Tensor]:
    """Gradient `[O, I]` of the document's NLL in each tracked layer, as the engine has it."""
    tracked = find_layers(model.model, layers, exclude)
    gradients: dict[str, Tensor] = {}

    def reduce(index: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
        gradients[tracked[index].name] = torch.einsum("bto,bti->oi", s_BTO, a_BTI)

    backward(model, tracked, pad([document], model.device), reduce, what="the test")
    return gradients


def by_autograd(model: LanguageModel, document: list[int] = DOCUMENT) -> dict[str, Tensor]:
    """Gradient of the same in each weight, by plain autograd."""
    model.model.requires_grad_(True)
    ids_BT = torch.tensor([document])
    nll = token_nll(model.model(ids_BT).logits, ids_BT, torch.ones_like(ids_BT, dtype=torch.bool)).sum()
    names, weights = zip(*model.model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(nll, weights, allow_unused=True), strict=True))


def test_an_adapter_is_tracked_alone_and_its_gradients_are_autograds(adapter: Path) -> None:
    model = load_model(adapter, dtype="float64", device="cpu")
    gradients, expected = captured(model, ()), by_autograd(model)
    parts = {"lora_A.default", "lora_B.default"}
    assert {name.split("_proj.")[1] for name in gradients} == parts
    assert len(gradients) == 2 * 2 * 2  # layers, projections, factors
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[f"{name}.weight"])


def test_the_factors_of_dora_have_the_gradients_of_autograd(base: Path, tmp_path: Path) -> None:
    """Their product is also taken of a unit matrix, for norms that count as constant; the magnitudes are no layer."""
    folder = save_adapter(base, tmp_path / "dora", use_dora=True)
    model = load_model(folder, dtype="float64", device="cpu")
    plain = load_model(base, dtype="float64", device="cpu").model
    expected_logits = peft.PeftModel.from_pretrained(plain, str(folder))(torch.tensor([DOCUMENT])).logits
    torch.testing.assert_close(model.model(torch.tensor([DOCUMENT])).logits, expected_logits)
    square = list(
        range(16)
    )  # as many tokens as a layer has inputs: the unit matrix has the shape of the batch
    for document in (DOCUMENT, square):
        gradients, expected = captured(model, (), document=document), by_autograd(model, document)
        assert len(gradients) == 2 * 2 * 2
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected[f"{name}.weight"])


def test_the_base_below_an_adapter_has_the_gradient_of_the_merged_model(adapter: Path, base: Path) -> None:
    model = load_model(adapter, dtype="float64", device="cpu")
    merged: Any = peft.PeftModel.from_pretrained(
        load_model(base, dtype="float64", device="cpu").model, str(adapter)
    )
    plain = LanguageModel(merged.merge_and_unload().eval(), model.tokenizer)
    unmerged, expected = captured(model, ("mlp",), ("*lora_*",)), captured(plain, ("mlp",))
    assert {name.removesuffix(".base_layer") for name in unmerged} == set(expected)
    for name, gradient in unmerged.items():
        torch.testing.assert_close(gradient, expected[name.removesuffix(".base_layer")])
    assert set(captured(model, ("mlp", "adapter"))) > set(unmerged)


def test_the_fingerprint_covers_base_adapter_and_its_scale(adapter: Path, base: Path, tmp_path: Path) -> None:
    def fingerprint(folder: Path, **options: Any) -> str:
        return load_model(folder, device="cpu", **options).fingerprint

    scaled = shutil.copytree(adapter, tmp_path / "scaled")
    config = json.loads((scaled / "adapter_config.json").read_text())
    (scaled / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 6}))
    other_base = tmp_path / "other"
    other = tiny_model("llama", dtype=torch.float32, seed=7)
    other.model.save_pretrained(other_base)
    other.tokenizer.save_pretrained(other_base)
    same = fingerprint(adapter)
    assert same == load_model(adapter, dtype="float64", device="cpu").fingerprint
    assert same == fingerprint(adapter, base=base)
    assert len({same, fingerprint(base), fingerprint(scaled), fingerprint(adapter, base=other_base)}) == 4


def test_a_base_is_given_found_or_asked_for(adapter: Path, base: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(adapter, tmp_path / "moved")
    config = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))
    with pytest.raises(ModelError, match="does not say which model it is for") as caught:
        load_model(moved)
    assert "--base FOLDER" in str(caught.value.fix)
    assert (
        load_model(moved, base=base, device="cpu").fingerprint
        == load_model(adapter, device="cpu").fingerprint
    )
    with pytest.raises(ModelError, match="is no adapter"):
        load_model(base, base=base)
    with pytest.raises(ModelError, match="is an adapter itself"):
        load_model(adapter, base=adapter)
    (moved / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": "runs/nowhere"})
    )
    with pytest.raises(ModelError, match=r"runs/nowhere") as caught:
        load_model(moved)
    assert "--base FOLDER" in str(caught.value.fix)


def test_an_adapter_of_another_model_is_refused(adapter: Path, tmp_path: Path) -> None:
    other = save_base(tmp_path / "gpt2", "gpt2")
    with pytest.raises(ModelError, match=r"cannot be loaded|does not fit"):
        load_model(adapter, base=other)
    wide = tiny_model("llama", dtype=torch.float32, hidden_size=32)
    wide.model.save_pretrained(tmp_path / "wide")
    wide.tokenizer.save_pretrained(tmp_path / "wide")
    with pytest.raises(ModelError, match=r"cannot be loaded|does not fit"):
        load_model(adapter, base=tmp_path / "wide")
    weightless = shutil.copytree(adapter, tmp_path / "weightless")
    (weightless / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(weightless)


def test_a_fresh_adapter_scores_and_its_first_factor_contributes_zero(base: Path, tmp_path: Path) -> None:
    """Its second factor is zero, so nothing reaches the first: the command says which layers contribute nothing."""
    fresh = save_adapter(base, tmp_path / "fresh", fresh=True)
    corpus, queries = tmp_path / "corpus.jsonl", tmp_path / "queries.jsonl"
    write_records(corpus, [{"text": f"one and {i} is {i + 1}"} for i in range(12)])
    write_queries(random_queries(1), queries)
    hessian, scores = tmp_path / "hessian", tmp_path / "scores"
    fit = [
        "fit-hessian",
        "--model",
        str(fresh),
        "--base",
        str(base),
        "--corpus",
        str(corpus),
        "--out",
        str(hessian),
    ]
    done = CliRunner().invoke(cli, fit)
    assert done.exit_code == 0, done.output
    assert "4 tracked layers have no gradient on any document and contribute nothing" in done.output
    assert "lora_A.default" in done.output
    score = ["score", "--queries", str(queries), "--model", str(fresh), "--hessian", str(hessian)]
    scored = CliRunner().invoke(cli, [*score, "--corpus", str(corpus), "--out", str(scores)])
    assert scored.exit_code == 0, scored.output
    assert np.isfinite(open_scores(scores).dot).all()


def test_adapters_of_a_training_are_scored_as_its_checkpoints(
    adapter: Path, base: Path, tmp_path: Path
) -> None:
    run, out = tmp_path / "run", tmp_path / "scores"
    shutil.copytree(adapter, run / "checkpoint-10")
    save_adapter(base, run / "checkpoint-20", lora_alpha=9)
    for folder in run.iterdir():
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))
    corpus, queries = tmp_path / "corpus.jsonl", tmp_path / "queries.jsonl"
    write_records(corpus, [{"text": f"one and {i} is {i + 1}"} for i in range(6)])
    write_queries(random_queries(1), queries)
    command = ["score", "--checkpoints", str(run), "--base", str(base), "--corpus", str(corpus)]
    done = CliRunner().invoke(cli, [*command, "--queries", str(queries), "--out", str(out), "--sum"])
    assert done.exit_code == 0, done.output
    first, second, total = (
        np.asarray(open_scores(out / name).dot) for name in ("checkpoint-10", "checkpoint-20", "sum")
    )
    assert not np.allclose(first, second)
    assert total.shape == first.shape
    layers = open_scores(out / "checkpoint-10").manifest["config"]["layers"]
    assert all("lora_" in layer for layer in layers)
