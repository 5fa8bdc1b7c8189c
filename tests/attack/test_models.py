"""Folders of models that are damaged, absurd or mean harm: each is refused in time, with what is wrong and what to do.

`python -m pytest tests/attack/test_models.py -s` prints how many there are.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest
import torch
from hostile_models import REFUSED, REFUSED_LATER, TRACE, config, file
from texts import MemoryCorpus, random_documents
from three_lines import assert_three_lines
from tiny import tiny_model

from influence.engine.fit import fit_hessian
from influence.errors import InfluenceError
from influence.models.load import load_model

#: Seconds that a refusal may take on a busy machine.
LIMIT = 20.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    model = tiny_model(dtype=torch.float32)
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(whole, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "model"


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_model_is_refused(name: str, folder: Path) -> None:
    REFUSED[name](folder)
    start = time.monotonic()
    with pytest.raises(InfluenceError) as caught:
        load_model(folder, device="cpu")
    assert time.monotonic() - start < LIMIT
    assert_three_lines(caught.value)
    assert not Path(TRACE).exists()


@pytest.mark.parametrize("name", REFUSED_LATER)
def test_a_model_that_computes_nothing_is_refused_by_a_fit(name: str, folder: Path) -> None:
    REFUSED_LATER[name](folder)
    with pytest.raises(InfluenceError) as caught:
        fit_hessian(load_model(folder, device="cpu"), MemoryCorpus(random_documents(4)), out="fit")
    assert_three_lines(caught.value)


@pytest.mark.parametrize("size", ["num_hidden_layers", "num_attention_heads", "num_labels"])
def test_absurd_numbers_of_parts_are_named(size: str, folder: Path) -> None:
    config(**{size: 10**9})(folder)
    with pytest.raises(InfluenceError, match="asks for a model that its files cannot fill") as caught:
        load_model(folder, device="cpu")
    assert f"{size} is 1,000,000,000" in str(caught.value)


def test_an_absurd_rank_of_an_adapter_is_refused(whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    entries = f'{{"peft_type": "LORA", "r": 1000000000, "base_model_name_or_path": "{whole}"}}'
    file("adapter_config.json", entries)(adapter)
    with pytest.raises(InfluenceError, match="files cannot fill"):
        load_model(adapter, device="cpu")


def test_the_number_of_hostile_models(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{len(REFUSED) + len(REFUSED_LATER)} hostile model folders")
    assert len(REFUSED) + len(REFUSED_LATER) >= 50
