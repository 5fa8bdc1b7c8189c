"""Commands write prompts by the chat template of an instruct model, and say so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from chats import PLAIN
from click.testing import CliRunner, Result
from tiny import tiny_model

from influence.cli.main import cli
from influence.errors import StoreError
from influence.store.scores import open_scores


@pytest.fixture
def model(tmp_path: Path) -> Path:
    model = tiny_model("llama", max_position_embeddings=256)
    model.tokenizer.chat_template = PLAIN
    model.model.save_pretrained(tmp_path / "model")
    model.tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "q.jsonl").write_text(json.dumps({"prompt": "2+2?", "completion": "4"}) + "\n")
    examples = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": n}]} for n in "bcd"
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(example) + "\n" for example in examples))
    return tmp_path / "model"


def influence(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


def test_score_says_that_prompts_are_written_by_the_template(model: Path) -> None:
    folder = model.parent
    run = ["score", "--model", model, "--hessian", "identity", "--queries", folder / "q.jsonl"]
    run += ["--corpus", folder / "x.jsonl", "--device", "cpu"]
    by_template = influence(*run, "--out", folder / "by-template")
    assert "by the chat template of" in by_template.output
    assert "loss on 6 tokens of 3 fine-tuning examples" in by_template.output
    as_it_is = influence(*run, "--out", folder / "as-it-is", "--no-chat-template")
    assert "chat template" not in as_it_is.output
    chat, plain = open_scores(folder / "by-template"), open_scores(folder / "as-it-is")
    assert chat.queries[0].messages == ({"role": "user", "content": "2+2?"},)
    assert plain.queries[0].messages == ()
    assert not np.allclose(chat.dot, plain.dot)
    every = influence(*run, "--out", folder / "every", "--loss", "all")
    assert "loss on 60 tokens of 3 fine-tuning examples" in every.output
    with pytest.raises(StoreError, match="made with other arguments"):
        influence(*run, "--out", folder / "by-template", "--no-chat-template")


def test_complete_asks_by_the_template(model: Path) -> None:
    folder = model.parent
    run = ["complete", folder / "q.jsonl", "--model", model, "--max-new-tokens", "4", "--device", "cpu"]
    by_template = influence(*run, "--out", folder / "a.jsonl")
    assert "by the chat template of" in by_template.output
    as_it_is = influence(*run, "--out", folder / "b.jsonl", "--no-chat-template")
    assert "by the chat template of" not in as_it_is.output
    record = json.loads((folder / "a.jsonl").read_text())
    assert [message["role"] for message in record["messages"]] == ["user", "assistant"]
    assert "messages" not in json.loads((folder / "b.jsonl").read_text())
