"""Folders of models that are damaged, absurd or mean harm: name -> what is done to a whole folder."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Spoil = Callable[[Path], object]


def config(**changes: Any) -> Spoil:
    """Change entries of config.json; None takes one out."""
    return lambda folder: _edit(folder / "config.json", changes)


def tokenizer(**changes: Any) -> Spoil:
    """Change entries of tokenizer.json."""
    return lambda folder: _edit(folder / "tokenizer.json", changes)


def tokenizer_config(**changes: Any) -> Spoil:
    """Change entries of tokenizer_config.json."""
    return lambda folder: _edit(folder / "tokenizer_config.json", changes)


def file(name: str, content: str | bytes) -> Spoil:
    """Write a file."""
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data)


def without(name: str) -> Spoil:
    """Remove a file."""
    return lambda folder: (folder / name).unlink()


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Spoil:
    """Change the tensors of model.safetensors."""

    def spoil(folder: Path) -> None:
        path = folder / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return spoil


def header(content: bytes, length: int | None = None) -> Spoil:
    """Write model.safetensors by hand: a header that says its length, and no data."""
    size = len(content) if length is None else length
    return file("model.safetensors", struct.pack("<Q", size) + content)


def both(*parts: Spoil) -> Spoil:
    """Do one thing after the other."""

    def spoil(folder: Path) -> None:
        for part in parts:
            part(folder)

    return spoil


def _edit(path: Path, changes: dict[str, Any]) -> None:
    entries = json.loads(path.read_text())
    entries.update(changes)
    path.write_text(json.dumps({name: value for name, value in entries.items() if value is not None}))


def _special(make: Callable[[Path], object], name: str) -> Spoil:
    return both(without(name), lambda folder: make(folder / name))


#: What a pickle that is run leaves in the working directory.
TRACE = "a-pickle-was-run"


class _Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(TRACE),))


def _nested(depth: int) -> str:
    return '{"model_type": "llama", "text_config": ' * depth + "{}" + "}" * depth


_SHARDS = {"metadata": {}, "weight_map": {"lm_head.weight": "../../outside.safetensors"}}
_FIRST = "model.layers.0.mlp.up_proj.weight"
_HUGE_TENSOR = json.dumps({_FIRST: {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})

#: Each must be refused.
REFUSED: dict[str, Spoil] = {
    "no config": without("config.json"),
    "an empty config": file("config.json", ""),
    "a config that is no JSON": file("config.json", "{'model_type': llama}"),
    "a config of null": file("config.json", "null"),
    "a config that is a list": file("config.json", "[1, 2]"),
    "a config nested too deeply to parse": file("config.json", "[" * 100_000),
    "a config in a config in a config": file("config.json", _nested(400)),
    "a config in another encoding": file("config.json", b"\xff\xfe{\x00}\x00"),
    "a config that is a folder": _special(Path.mkdir, "config.json"),
    "a config that links to itself": _special(lambda path: path.symlink_to(path), "config.json"),
    "a config that never ends": _special(os.mkfifo, "config.json"),
    "no type": config(model_type=None),
    "a type that nobody knows": config(model_type="no-such-model"),
    "a type that is a path": config(model_type="../../etc/passwd"),
    "a type that is a list": config(model_type=["llama"]),
    "a type with escapes": config(model_type="\x1b[2J\x1b[31mllama"),
    "a type of 100,000 letters": config(model_type="l" * 100_000),
    "ten million layers": config(num_hidden_layers=10**7),
    "a million million layers": config(num_hidden_layers=10**12),
    "as many layers as a float holds": config(num_hidden_layers=1e300),
    "layers as a word": config(num_hidden_layers="two"),
    "layers that are not a number": config(num_hidden_layers=float("nan")),
    "a width of 10^9": config(hidden_size=10**9),
    "a width of 0": config(hidden_size=0),
    "a width of -16": config(hidden_size=-16),
    "a width that the heads do not divide": config(hidden_size=17),
    "a vocabulary of 10^12": config(vocab_size=10**12),
    "a vocabulary of none": config(vocab_size=0),
    "a vocabulary of -5": config(vocab_size=-5),
    "a thousand million heads": config(num_attention_heads=10**9),
    "no heads": config(num_attention_heads=0),
    "an MLP of 10^12": config(intermediate_size=10**12),
    "a thousand million labels": config(num_labels=10**9),
    "a thousand million experts": config(
        model_type="mixtral", architectures=["MixtralForCausalLM"], num_local_experts=10**9
    ),
    "an activation that nobody knows": config(hidden_act="__import__"),
    "an activation that is a list": config(hidden_act=["silu"]),
    "9,999 layers of 9,999 experts": config(
        model_type="mixtral",
        architectures=["MixtralForCausalLM"],
        num_local_experts=9_999,
        num_hidden_layers=9_999,
    ),
    "a table of 10^12 positions": config(
        model_type="gpt2", architectures=["GPT2LMHeadModel"], n_positions=10**12, hidden_size=None
    ),
    "a scaling of positions that nobody knows": config(rope_parameters={"rope_type": "no-such"}),
    "a dtype that nobody knows": config(dtype="float7"),
    "a quantisation that nobody knows": config(quantization_config={"quant_method": "no-such"}),
    "a quantisation that is a list": config(quantization_config=[1]),
    "code of its own": config(
        model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    ),
    "no weights": without("model.safetensors"),
    "empty weights": file("model.safetensors", ""),
    "a header longer than the file": header(b"{}", 2**60),
    "a header that is no JSON": header(b"not json"),
    "a header nested too deeply": header(b'{"a":' * 50_000),
    "a tensor beyond the end of the file": header(_HUGE_TENSOR.encode()),
    "weights that are a folder": _special(Path.mkdir, "model.safetensors"),
    "weights that link to themselves": _special(lambda path: path.symlink_to(path), "model.safetensors"),
    "weights that never end": _special(os.mkfifo, "model.safetensors"),
    "weights that run code": both(
        without("model.safetensors"), file("pytorch_model.bin", pickle.dumps(_Payload()))
    ),
    "shards outside of the folder": both(
        without("model.safetensors"), file("model.safetensors.index.json", json.dumps(_SHARDS))
    ),
    "an index of shards that is a list": both(
        without("model.safetensors"), file("model.safetensors.index.json", "[]")
    ),
    "a tensor too few": weights(lambda tensors: tensors.pop(_FIRST)),
    "a tensor of another shape": weights(lambda t: t.update({_FIRST: t[_FIRST].T.contiguous()})),
    "a tensor of no numbers": weights(lambda t: t.update({_FIRST: torch.zeros(0)})),
    "no tokenizer": both(without("tokenizer.json"), without("tokenizer_config.json")),
    "a tokenizer that is no JSON": file("tokenizer.json", "{"),
    "a tokenizer that is a list": file("tokenizer.json", "[]"),
    "a tokenizer nested too deeply": file("tokenizer.json", "[" * 100_000),
    "a tokenizer of an unknown kind": tokenizer(model={"type": "NoSuch", "vocab": {}}),
    "a vocabulary beyond the embeddings": tokenizer(
        model={"type": "WordLevel", "vocab": {"<unk>": 0, "a": 10**6}, "unk_token": "<unk>"}
    ),
    "a token number beyond 32 bits": tokenizer(
        model={"type": "WordLevel", "vocab": {"<unk>": 0, "a": 2**40}, "unk_token": "<unk>"}
    ),
    "a pattern that is none": tokenizer(
        pre_tokenizer={"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False}
    ),
    "code of its tokenizer": tokenizer_config(
        tokenizer_class="Own", auto_map={"AutoTokenizer": ["own.Tokenizer", None]}
    ),
}

#: Each can be loaded, and what it computes is no number, or nothing is left to compute with.
REFUSED_LATER: dict[str, Spoil] = {
    "fewer layers than none": config(num_hidden_layers=-1),
    "a norm by NaN": config(rms_norm_eps=float("nan")),
    "a weight of NaN": weights(lambda t: t[_FIRST].fill_(float("nan"))),
    "an infinite weight": weights(lambda t: t[_FIRST].fill_(float("inf"))),
    "a tokenizer without a word": tokenizer(model={"type": "WordLevel", "vocab": {}, "unk_token": "<unk>"}),
}
