"""What a checkpoint asks to have run or fetched is neither run nor fetched; docs/security.md has the list."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_adapters import save_adapter, save_base
from transformers import PreTrainedModel

from influence.errors import ModelError
from influence.models.load import load_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model whose folder holds code that leaves a trace when it runs."""
    folder = save_base(tmp_path / "model")
    trace = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    (folder / "evil.py").write_text(trace)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(trace)
    return folder


def edit(file: Path, changes: dict[str, Any]) -> None:
    record = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(record | changes))


def not_run(folder: Path) -> bool:
    return not (folder.parent / "ran").exists()


@pytest.mark.parametrize("model_type", ["llama", "of-its-own"])
def test_classes_of_the_configuration_and_of_the_model(folder: Path, model_type: str) -> None:
    classes = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    edit(folder / "config.json", {"model_type": model_type, "auto_map": classes})
    if model_type == "llama":
        assert type(load_model(folder, device="cpu").model).__module__.startswith("transformers.")
    else:
        with pytest.raises(ModelError, match="cannot be loaded"):
            load_model(folder)
    assert not_run(folder)


@pytest.mark.parametrize("tokenizer_class", ["PreTrainedTokenizerFast", "Evil"])
def test_the_class_of_the_tokenizer(folder: Path, tokenizer_class: str) -> None:
    changes = {"tokenizer_class": tokenizer_class, "auto_map": {"AutoTokenizer": ["evil.Slow", "evil.Fast"]}}
    edit(folder / "tokenizer_config.json", changes)
    with contextlib.suppress(ModelError):
        assert type(load_model(folder, device="cpu").tokenizer).__module__.startswith("transformers.")
    assert not_run(folder)


@pytest.mark.parametrize("file", ["processor_config.json", "preprocessor_config.json"])
def test_the_class_of_a_processor(folder: Path, file: str) -> None:
    edit(folder / file, {"auto_map": {"AutoProcessor": "evil.P", "AutoImageProcessor": "evil.I"}})
    load_model(folder, device="cpu")
    assert not_run(folder)


def test_a_custom_way_to_generate(folder: Path) -> None:
    loaded = load_model(folder, device="cpu")
    loaded.model.generate(torch.tensor([[3, 4]]), max_new_tokens=1, do_sample=False)
    assert not_run(folder)


@pytest.mark.parametrize("field", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("kernel", ["owner/kernel", "owner/kernel@main:forward", "flash_attention_2"])
def test_an_attention_kernel(
    folder: Path, field: str, kernel: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []
    adjust = PreTrainedModel._check_and_adjust_attn_implementation

    def seen(self: PreTrainedModel, implementation: str | None, *rest: Any, **more: Any) -> Any:
        asked.append(implementation)
        return adjust(self, implementation, *rest, **more)

    monkeypatch.setattr(PreTrainedModel, "_check_and_adjust_attn_implementation", seen)
    edit(folder / "config.json", {field: kernel})
    with caplog.at_level(logging.WARNING, "influence"):
        loaded = load_model(folder, device="cpu")
    assert kernel not in asked
    assert loaded.model.config._attn_implementation == "sdpa"
    if field == "attn_implementation":
        assert f"the attention kernel {kernel}, which is code and is not fetched" in caplog.text
    with pytest.raises(ModelError, match="cannot be loaded"):  # asked for, and the package for it is missing
        load_model(folder, device="cpu", trust_remote_code=True)
    assert kernel in asked


def test_an_attention_kernel_of_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import LlavaConfig

    from influence.models.checkpoint import without_fetched_kernels

    config = LlavaConfig()
    config.text_config._attn_implementation = "owner/kernel"
    without_fetched_kernels(config)
    assert config.text_config._attn_implementation is None


def test_kernels_of_layers_are_switched_off() -> None:
    code = (
        "import influence.models.load\n"
        "from transformers.integrations import hub_kernels\n"
        "print(hub_kernels._kernels_enabled)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "USE_HUB_KERNELS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "False\n", done.stderr
    assert os.environ["USE_HUB_KERNELS"] == "0"


def test_the_class_of_an_adapter(folder: Path) -> None:
    adapter = save_adapter(folder, folder.parent / "adapter")
    (adapter / "evil.py").write_text((folder / "evil.py").read_text())
    mapping = {"base_model_class": "Model", "parent_library": "evil"}
    edit(adapter / "adapter_config.json", {"auto_mapping": mapping})
    load_model(adapter, device="cpu")
    assert not_run(folder)
