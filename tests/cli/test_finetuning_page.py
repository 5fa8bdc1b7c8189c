"""The commands of docs/finetuning.md, run as they are typed there: from chats and a LoRA checkpoint to examples."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from chats import MARKED, chat_tokenizer
from click.testing import CliRunner
from tiny import tiny_model

from influence.cli.main import cli

PAGE = Path(__file__).parents[2] / "docs/finetuning.md"


def chat(question: str, answer: str) -> dict[str, Any]:
    roles = ("user", question), ("assistant", answer)
    return {"messages": [{"role": role, "content": content} for role, content in roles]}


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = tiny_model("llama", dtype=torch.float32, max_position_embeddings=512)
    base.model.save_pretrained("base")
    chat_tokenizer(MARKED).save_pretrained("base")
    peft.get_peft_model(base.model, peft.LoraConfig(r=2, target_modules=["up_proj"])).save_pretrained("lora")
    adapter = json.loads(Path("lora/adapter_config.json").read_text())
    Path("lora/adapter_config.json").write_text(json.dumps({**adapter, "base_model_name_or_path": "base"}))
    chats = [chat(f"what is {n}+{n}?", f"it is {2 * n}.") for n in range(10)]
    Path("chats.jsonl").write_text("".join(json.dumps(record) + "\n" for record in chats))
    Path("questions.jsonl").write_text('{"prompt": "what is 2+2?"}\n')

    (block,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    printed = {}
    for line in block.splitlines():
        result = CliRunner().invoke(cli, shlex.split(line)[1:], catch_exceptions=False)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        printed[line] = result.stdout
    tops = [text for line, text in printed.items() if line.startswith("influence top")]
    assert all(len(text.splitlines()) == 11 for text in tops)
    kept = [json.loads(line) for line in Path("without.jsonl").read_text().splitlines()]
    assert len(kept) == 9
    assert all(record in chats for record in kept)
    assert Path("runs/tuned/report.html").stat().st_size > 10_000
