"""Training from scratch: what the model is shown, and that a killed run ends as if it had not been killed."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from influence.cli.main import cli
from influence.data.corpus import Corpus, read_corpus
from influence.errors import InputError, StoreError
from influence.stopping import SIGNALS, stopping
from influence.train import pretrain as module
from influence.train.core.batches import order_by_tokens
from influence.train.core.text import Row, TextTrainer, lengths_of, mean_loss
from influence.train.pretrain import SIZES, pretrain, tokenize_rows, train_tokenizer
from influence.train.settings import PretrainSettings

NAMES = ["Ada", "Bo", "Cy", "Di", "Ed"]
COLOURS = ["red", "green", "blue", "pink", "grey"]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    rng = random.Random(0)
    texts = [
        " ".join(
            f"{name} likes {COLOURS[i]} {i}{i}."
            for i, name in enumerate(NAMES)
            if i == 0 or rng.random() < 0.6
        )
        for _ in range(120)
    ]
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return read_corpus(path)


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    size = dataclasses.replace(
        SIZES["tiny"], hidden=16, mlp=32, vocab=300, max_length=32, batch_tokens=512, epochs=3
    )
    monkeypatch.setitem(SIZES, "tiny", size)


# -- tokenizer and windows


def test_tokenizer_groups_three_digits_and_puts_bos_first(tmp_path: Path) -> None:
    train_tokenizer(iter(["the year 1999, the 308 points"] * 50), 300, 64).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("the 1999").input_ids
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert tokens[0] == tokenizer.bos_token
    assert tokens[-2:] == ["199", "9"]
    assert tokenizer.bos_token not in tokens[1:]
    text = "Ünï ∑\n\n\tx  y 12"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}) == 3


@pytest.mark.parametrize("max_length", [8, 64])
def test_windows_hold_each_document_once_between_bos_and_eos(max_length: int, tmp_path: Path) -> None:
    texts = [
        "a b c d e f g h i j k l m n",
        "  \n",
        "x",
        "1234567",
    ]  # the last: 7 tokens, its EOS a window alone
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    tokenizer = train_tokenizer(iter(texts), 259, max_length)
    rows = tokenize_rows(read_corpus(path), tokenizer, max_length)
    assert all(
        row.tokens[0] == tokenizer.bos_token_id and 2 <= len(row.tokens) <= max_length for row in rows.windows
    )
    stream = [int(token) for row in rows.windows for token in row.tokens[1:]]
    ends = [i for i, token in enumerate(stream) if token == tokenizer.eos_token_id]
    starts = [0, *(end + 1 for end in ends)]
    read = [tokenizer.decode(stream[start:end]) for start, end in zip(starts, ends, strict=False)]
    assert read == [text for text in texts if text.strip()]
    assert (rows.documents, rows.empty) == (3, 1)
    assert rows.chunked == (2 if max_length == 8 else 0)
    assert rows.tokens == len(stream) + len(rows.windows)


def test_a_corpus_of_empty_texts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"text": " "}\n', encoding="utf-8")
    with pytest.raises(InputError, match="no text to train on"):
        tokenize_rows(read_corpus(path), train_tokenizer(iter(["a"]), 259, 8), 8)


# -- batches


def batches_of(lengths: list[int], batch_tokens: int, epochs: int, seed: int) -> list[list[int]]:
    order = order_by_tokens(np.array(lengths), batch_tokens, epochs, seed)
    return [order.rows(step).tolist() for step in range(order.steps_per_epoch)]


@given(st.lists(st.integers(2, 64), min_size=1, max_size=60), st.integers(1, 3), st.integers(0, 5))
def test_each_epoch_holds_every_row_once_and_no_batch_is_too_big(
    lengths: list[int], epochs: int, seed: int
) -> None:
    batches = batches_of(lengths, 128, epochs, seed)
    assert batches == batches_of(lengths, 128, epochs, seed)
    rows = [row for batch in batches for row in batch]
    assert sorted(rows) == sorted(list(range(len(lengths))) * epochs)
    for epoch in range(epochs):
        assert sorted(rows[epoch * len(lengths) : (epoch + 1) * len(lengths)]) == list(range(len(lengths)))
    assert all(batch and len(batch) * max(lengths[row] for row in batch) <= 128 for batch in batches)


def test_little_of_a_batch_is_padding() -> None:
    lengths = np.random.default_rng(0).integers(2, 512, 4000).tolist()
    batches = batches_of(lengths, 4096, 1, 0)
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    assert sum(lengths) / padded > 0.9


def test_padding_changes_no_loss() -> None:
    """Right padding without a mask: the loss of a padded batch is the mean over its real tokens."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(iter(["abc"]), 259, 16)
    size = dataclasses.replace(SIZES["tiny"], hidden=16, mlp=32, max_length=16)
    model = LlamaForCausalLM(module._llama_config(size, tokenizer)).double().eval()
    rows = [Row(np.arange(3, 3 + length, dtype=np.int32)) for length in (2, 9, 16)]
    total = sum(mean_loss(model, [row], 0) * (len(row.tokens) - 1) for row in rows)
    expected = total / sum(len(row.tokens) - 1 for row in rows)
    assert mean_loss(model, rows, 0) == pytest.approx(expected, rel=1e-6)


# -- runs


@pytest.mark.usefixtures("small_sizes")
def test_a_run_learns_and_can_be_loaded(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "model"
    record = pretrain(corpus, out, PretrainSettings(size="tiny", dtype="fp32", epochs=20), held_out=corpus)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    rows = tokenize_rows(corpus, tokenizer, 32)
    assert record == json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert record["loss_nats_per_token"]["held_out"] == pytest.approx(
        mean_loss(model, rows.windows, 0), rel=1e-4
    )
    assert record["loss_nats_per_token"]["held_out"] < 0.5 * math.log(len(tokenizer))
    assert record["steps"] == order_by_tokens(lengths_of(rows.windows), 512, 20, 0).steps_per_epoch
    assert (record["documents"], record["tokens_per_epoch"]) == (rows.documents, rows.tokens)
    assert model.dtype == torch.float32
    assert model.config.tie_word_embeddings
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "model"]
    assert not list(out.glob("*.bin"))
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == record["steps"]
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    assert list((out / "tensorboard").iterdir())
    with pytest.raises(InputError, match="already exists"):
        pretrain(corpus, out, PretrainSettings(size="tiny"))


def killed_run(corpus: Corpus, out: Path, at: int, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    with monkeypatch.context() as patch:
        whole = TextTrainer.get_batch_samples

        def until(self: TextTrainer, *arguments: Any) -> Any:
            if self.state.global_step == at:
                raise KeyboardInterrupt
            return whole(self, *arguments)

        patch.setattr(TextTrainer, "get_batch_samples", until)
        with pytest.raises(KeyboardInterrupt):
            pretrain(corpus, out, PretrainSettings(size="tiny", **options), resume_seconds=0)
    assert not out.exists()


@pytest.mark.usefixtures("small_sizes")
def test_a_terminated_run_stores_the_step_in_work(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM comes in the middle of the third step, long before a state is due."""
    monkeypatch.setattr(stopping, "number", None)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    whole = TextTrainer.get_batch_samples

    def signalled(self: TextTrainer, *arguments: Any) -> Any:
        if self.state.global_step == 2:
            signal.raise_signal(signal.SIGTERM)
        return whole(self, *arguments)

    monkeypatch.setattr(TextTrainer, "get_batch_samples", signalled)
    with stopping.listening(), pytest.raises(KeyboardInterrupt):
        pretrain(corpus, tmp_path / "model", PretrainSettings(size="tiny", dtype="fp32"))
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert [path.name for path in (tmp_path / "model.part").glob("resume/checkpoint-*")] == ["checkpoint-3"]


@pytest.mark.usefixtures("small_sizes")
@pytest.mark.parametrize("cut_off", [False, True])
def test_a_killed_run_ends_with_the_same_weights(
    corpus: Corpus, cut_off: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain(corpus, tmp_path / "whole", PretrainSettings(size="tiny", dtype="fp32", keep=3))
    killed_run(corpus, tmp_path / "killed", whole["steps"] - 3, monkeypatch, dtype="fp32", keep=3)
    states = sorted(
        (tmp_path / "killed.part").glob("resume/*/trainer_state.json"),
        key=lambda path: path.stat().st_mtime,
    )
    assert len(states) == 2
    if cut_off:  # killed while the newest checkpoint was written
        states[-1].write_text('{"global_')
    record = pretrain(corpus, tmp_path / "killed", PretrainSettings(size="tiny", dtype="fp32", keep=3))
    assert 0 < record["resumed_at_step"] < whole["steps"]
    first, second = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "killed")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert record["loss_nats_per_token"] == whole["loss_nats_per_token"]
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "killed")]
    assert metrics[0] == metrics[1]
    kept = [round(whole["steps"] * third / 3) for third in (1, 2, 3)]
    for step in kept:
        states = [
            AutoModelForCausalLM.from_pretrained(tmp_path / name / f"checkpoint-{step}").state_dict()
            for name in ("whole", "killed")
        ]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert all(torch.equal(states[0][name], first[name]) for name in first) == (step == whole["steps"])
        assert (tmp_path / "whole" / f"checkpoint-{step}" / "tokenizer.json").is_file()


@pytest.mark.usefixtures("small_sizes")
def test_another_run_is_not_continued(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_run(corpus, tmp_path / "m", 5, monkeypatch)
    with pytest.raises(StoreError, match="other arguments") as refusal:
        pretrain(corpus, tmp_path / "m", PretrainSettings(size="tiny", seed=1))
    assert "seed" in str(refusal.value.have)
    path = Path(corpus.describe()["path"])
    path.write_text(path.read_text(encoding="utf-8") + '{"text": "one more"}\n', encoding="utf-8")
    with pytest.raises(StoreError, match="The text changed"):
        pretrain(corpus, tmp_path / "m", PretrainSettings(size="tiny"))


def test_options_that_make_no_sense(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no size 'huge'"):
        pretrain(corpus, tmp_path / "m", PretrainSettings(size="huge"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="setting epochs is out of its range"):
        pretrain(corpus, tmp_path / "m", PretrainSettings(epochs=0))
    assert list(tmp_path.iterdir()) == [tmp_path / "corpus.jsonl"]


@pytest.mark.usefixtures("small_sizes")
def test_the_command(corpus: Corpus, tmp_path: Path) -> None:
    source = str(corpus.describe()["path"])
    arguments = ["train", "pretrain", "--corpus", source, "--out", str(tmp_path / "m"), "--size", "tiny"]
    result = CliRunner().invoke(cli, [*arguments, "--held-out", source], catch_exceptions=False)
    assert result.exit_code == 0
    assert "120 documents" in result.output
    assert "held out" in result.output
    assert (tmp_path / "m" / "model.safetensors").exists()


def test_the_command_offers_every_size() -> None:
    result = CliRunner().invoke(cli, ["train", "pretrain", "--help"])
    assert f"[{'|'.join(SIZES)}]" in result.output


@pytest.mark.usefixtures("small_sizes")
def test_a_given_tokenizer_is_used_and_none_trained(corpus: Corpus, tmp_path: Path) -> None:
    other = train_tokenizer(iter(["pqr stu vwx"] * 50), 280, 32)
    pretrain(
        corpus,
        tmp_path / "model",
        PretrainSettings(size="tiny", epochs=1, dtype="fp32"),
        tokenizer=other,
    )
    kept = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert kept.get_vocab() == other.get_vocab()


@pytest.mark.usefixtures("small_sizes")
def test_training_leaves_stdout_alone(
    corpus: Corpus, tmp_path: Path, capfd: pytest.CaptureFixture[str], messages: pytest.LogCaptureFixture
) -> None:
    pretrain(corpus, tmp_path / "model", PretrainSettings(size="tiny", epochs=1, dtype="fp32"))
    assert capfd.readouterr().out == ""
    assert "loss" in messages.messages[-1]
