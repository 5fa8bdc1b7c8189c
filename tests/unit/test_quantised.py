"""Quantised weights: GGUF is read as the numbers it stands for, bitsandbytes stays in few bits, others are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from inputs import write_records
from safetensors.torch import load_file, save_file
from test_adapters import captured, save_adapter
from texts import random_documents, random_queries
from tiny import tiny_model
from torch import Tensor

from influence.cli.main import cli
from influence.data.queries import write_queries
from influence.errors import ModelError
from influence.models.load import LanguageModel, load_model
from influence.models.quantised import stored_weights
from influence.report.run_card import run_card
from influence.store.scores import open_scores

WIDTH = 64


def write_gguf(path: Path) -> dict[str, np.ndarray]:
    """Write a llama of two blocks with 8-bit MLPs; the tensors as they are read again."""
    gguf = pytest.importorskip("gguf")
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789 .,", "th", "<s>", "<unk>"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(2)
    writer.add_feed_forward_length(96)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(letters))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(["Ġ" if letter == " " else letter for letter in letters])
    writer.add_token_types([1] * (len(letters) - 2) + [3, 3])
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(len(letters) - 2)
    writer.add_eos_token_id(len(letters) - 2)
    writer.add_unk_token_id(len(letters) - 1)
    generator = np.random.default_rng(0)
    shapes = {"token_embd": (len(letters), WIDTH), "output": (len(letters), WIDTH), "output_norm": (WIDTH,)}
    for block in range(2):
        parts = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (WIDTH, WIDTH))
        parts |= {"ffn_gate": (96, WIDTH), "ffn_up": (96, WIDTH), "ffn_down": (WIDTH, 96)}
        parts |= {"attn_norm": (WIDTH,), "ffn_norm": (WIDTH,)}
        shapes |= {f"blk.{block}.{name}": shape for name, shape in parts.items()}
    read = {}
    for name, shape in shapes.items():
        values = (generator.standard_normal(shape) * 0.3).astype(np.float32)
        kind = gguf.GGMLQuantizationType.Q8_0 if "ffn_" in name and len(shape) == 2 else None
        data = values if kind is None else gguf.quants.quantize(values, kind)
        writer.add_tensor(f"{name}.weight", data, raw_dtype=kind)
        read[name] = values if kind is None else gguf.quants.dequantize(data, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return read


def write_texts(folder: Path) -> tuple[Path, Path]:
    rows = [{"id": d.id, "text": d.text} for d in random_documents(12, seed=4, shortest=5, longest=30)]
    write_records(folder / "corpus.jsonl", rows)
    write_queries(random_queries(2), folder / "queries.jsonl")
    return folder / "corpus.jsonl", folder / "queries.jsonl"


def fit_and_score(model: Path, folder: Path) -> Path:
    """Run both commands as typed."""
    corpus, queries = write_texts(folder)
    common = ["--corpus", str(corpus), "--device", "cpu"]
    fit = ["fit-hessian", "--model", str(model), *common, "--out", str(folder / "hessian")]
    score = ["score", "--queries", str(queries), "--model", str(model), "--hessian", str(folder / "hessian")]
    for command in (fit, [*score, *common, "--out", str(folder / "scores")]):
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
    scores = open_scores(folder / "scores")
    assert np.isfinite(scores.dot).all()
    assert scores.dot.any()
    return folder / "scores"


def test_a_gguf_file_or_its_folder_is_a_model(tmp_path: Path) -> None:
    expected = write_gguf(tmp_path / "tiny.gguf")
    by_file, by_folder = (load_model(path, device="cpu") for path in (tmp_path / "tiny.gguf", tmp_path))
    assert by_file.fingerprint == by_folder.fingerprint
    assert by_file.quantisation is None
    up_proj = by_file.model.get_submodule("model.layers.1.mlp.up_proj")
    np.testing.assert_array_equal(up_proj.weight.detach().numpy(), expected["blk.1.ffn_up"])
    ids = by_file.tokenizer("ab 1", add_special_tokens=False)["input_ids"]
    assert by_file.tokenizer.decode(ids) == "ab 1"


def test_gguf_through_the_command_line(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    fit_and_score(tmp_path / "tiny.gguf", tmp_path)


def test_several_gguf_files_are_asked_about(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="several GGUF files") as caught:
        load_model(tmp_path)
    assert str(tmp_path / "a.gguf") in str(caught.value.fix)


def test_a_damaged_gguf_file(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF" + bytes(range(200)))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(tmp_path / "damaged.gguf")


@pytest.mark.parametrize(
    ("package", "name"), [("gguf", "tiny.gguf"), ("bitsandbytes", "model")], ids=["gguf", "bitsandbytes"]
)
def test_a_package_that_is_missing_is_named(
    package: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("influence.models.checkpoint.find_spec", lambda name: None)
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    save_with_quantisation(tmp_path / "model", {"quant_method": "bitsandbytes", "load_in_4bit": True})
    with pytest.raises(ModelError, match=package) as caught:
        load_model(tmp_path / name)
    assert caught.value.fix == "Run pip install 'influence-lm[quantized]'"


def save_with_quantisation(folder: Path, settings: dict[str, Any]) -> None:
    model = tiny_model("llama", dtype=torch.float32)
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))


@pytest.mark.parametrize("method", ["gptq", "awq", "compressed-tensors", "unheard-of"])
def test_other_quantisations_are_refused_by_name(method: str, tmp_path: Path) -> None:
    save_with_quantisation(tmp_path, {"quant_method": method, "bits": 4})
    with pytest.raises(ModelError, match=f"quantised by {method}") as caught:
        load_model(tmp_path)
    assert "influence-lm[quantized]" in str(caught.value.fix)
    assert "safetensors" not in str(caught.value.fix)


def store_quantised(folder: Path, family: str, settings: dict[str, Any], **sizes: Any) -> dict[str, Tensor]:
    """Store a tiny model whose matrices are random in a quantisation; the numbers that they stand for."""
    plain = tiny_model(family, dtype=torch.float32, **sizes)
    plain.model.save_pretrained(folder)
    plain.tokenizer.save_pretrained(folder)
    stored, numbers = load_file(folder / "model.safetensors"), {}
    for name, weight in list(stored.items()):
        if settings["quant_method"] == "fp8" and ".mlp." in name:
            scale = torch.rand(len(weight) // 32, weight.shape[1] // 32)
            wide = scale.repeat_interleave(32, 0).repeat_interleave(32, 1)
            stored[name] = (weight / wide).to(torch.float8_e4m3fn)
            stored[f"{name}_scale_inv"] = scale
            numbers[name] = stored[name].float() * wide
        elif settings["quant_method"] == "mxfp4" and "experts" in name and weight.ndim == 3:
            experts, inputs, outputs = weight.shape
            pairs = torch.randint(0, 256, (experts, outputs, inputs // 32, 16), dtype=torch.uint8)
            power = torch.randint(118, 124, (experts, outputs, inputs // 32), dtype=torch.uint8)
            values = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
            table = torch.cat([values, -values])
            each = torch.stack([table[(pairs % 16).int()], table[(pairs // 16).int()]], -1).flatten(-2)
            numbers[name] = (each * 2.0 ** (power.float() - 127)[..., None]).flatten(-2).mT
            stored.update({f"{name}_blocks": pairs, f"{name}_scales": power})
            del stored[name]
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))
    return numbers


@pytest.mark.parametrize(
    ("family", "settings", "sizes"),
    [
        ("llama", {"quant_method": "fp8", "weight_block_size": [32, 32]}, {}),
        ("gpt_oss", {"quant_method": "mxfp4"}, {"num_local_experts": 4, "head_dim": 32}),
    ],
    ids=["fp8", "mxfp4"],
)
def test_weights_of_few_floating_bits_are_expanded(
    family: str, settings: dict[str, Any], sizes: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**settings, "modules_to_not_convert": ["lm_head", "self_attn", "router", "embed_tokens"]}
    sizes = {"hidden_size": 64, "intermediate_size": 96, **sizes}
    numbers = store_quantised(tmp_path, family, settings, **sizes)
    model = load_model(tmp_path, device="cpu")
    assert numbers
    for name, expected in numbers.items():
        assert torch.equal(model.model.get_parameter(name), expected), name
    assert captured(model, ("mlp",))


@pytest.fixture(scope="module", params=[4, 8])
def quantised(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored model whose linears are quantised by bitsandbytes."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is an optional package")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    folder = tmp_path_factory.mktemp(f"bits{request.param}")
    plain = tiny_model("llama", dtype=torch.float32, hidden_size=64, intermediate_size=128)
    plain.model.save_pretrained(folder / "plain")
    settings = BitsAndBytesConfig(
        load_in_4bit=request.param == 4,
        load_in_8bit=request.param == 8,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder / "plain", quantization_config=settings, dtype=torch.float32, device_map={"": "cpu"}
    )
    model.save_pretrained(folder / "model")
    plain.tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def dequantised(model: LanguageModel) -> LanguageModel:
    """The same model in full floats."""
    plain = tiny_model("llama", dtype=torch.float32, hidden_size=64, intermediate_size=128)
    plain.model.load_state_dict({name: w.float() for name, w in stored_weights(model.model)}, strict=False)
    return plain


def test_a_quantised_linear_has_the_gradient_of_its_dequantised_weight(quantised: Path) -> None:
    model = load_model(quantised, device="cpu")
    eight = "bits8" in str(quantised)
    assert str(model.quantisation).startswith("8-bit" if eight else "4-bit")
    gradients, expected = captured(model, ("mlp",)), captured(dequantised(model), ("mlp",))
    assert set(gradients) == set(expected)
    for name, gradient in gradients.items():
        difference = torch.linalg.vector_norm(gradient - expected[name]) / torch.linalg.vector_norm(
            expected[name]
        )
        assert difference < 1e-5, name
    assert (
        model.fingerprint == load_model(quantised, device="cpu").fingerprint != dequantised(model).fingerprint
    )


def test_bitsandbytes_through_the_command_line(quantised: Path, tmp_path: Path) -> None:
    scores = open_scores(fit_and_score(quantised, tmp_path))
    (fact,) = [fact for fact in run_card(scores) if fact.name == "dtype"]
    assert "gradients of the dequantised weights" in fact.note


def test_an_adapter_over_quantised_weights(quantised: Path, tmp_path: Path) -> None:
    """QLoRA: the adapter's gradients are those over the dequantised base."""
    adapter = save_adapter(quantised, tmp_path / "adapter")
    model = load_model(adapter, device="cpu")
    plain = dequantised(load_model(quantised, device="cpu"))
    plain.model.load_adapter(str(adapter))
    gradients, expected = captured(model, ()), captured(plain, ())
    assert len(gradients) == 8
    for name, gradient in gradients.items():
        difference = torch.linalg.vector_norm(gradient - expected[name]) / torch.linalg.vector_norm(
            expected[name]
        )
        assert difference < 1e-5, name
    fit_and_score(adapter, tmp_path)
