"""The sum over checkpoints is the sum of the separate stores, also after a kill; what differs is not added."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

from influence.config import ScoreConfig
from influence.engine import summed as summed_module
from influence.engine.checkpoints import Checkpoint, Opened, choose_checkpoints, score_checkpoints
from influence.engine.decompose import decompose
from influence.engine.parallel.merge import merge
from influence.engine.score import score
from influence.engine.summed import read_weights, sum_scores
from influence.errors import InputError, StoreError
from influence.store.checkpoints import open_checkpoints
from influence.store.formats.training import add_metrics
from influence.store.pieces import Shard
from influence.store.scores import open_scores

CORPUS = MemoryCorpus(random_documents(9, seed=5, longest=20))
CHECKPOINTS = [Checkpoint(f"checkpoint-{seed}", str(seed)) for seed in range(3)]


def scored(folder: Path, checkpoints: Sequence[Checkpoint] = CHECKPOINTS) -> None:
    score_checkpoints(
        checkpoints,
        lambda one: Opened(tiny_model("llama", seed=int(one.model)), random_queries(3)),
        CORPUS,
        folder,
        layers=("mlp", "head"),
        summed=True,
        config=ScoreConfig(max_length=48),
    )


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_sum_is_that_of_the_separate_stores_also_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(summed_module, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            scored(tmp_path)
    with pytest.raises(StoreError, match="unfinished"):
        open_scores(tmp_path / "sum")
    scored(tmp_path)
    stores = [scores for _, scores in open_checkpoints(tmp_path)]
    assert len(stores) == 3
    assert "lm_head" in stores[0].manifest["config"]["layers"]
    summed = open_scores(tmp_path / "sum")
    first = np.array(summed.dot)
    np.testing.assert_allclose(first, sum(np.array(s.dot) for s in stores), rtol=1e-12)
    squares = sum(np.square(s.gradient_norm) for s in stores)
    np.testing.assert_allclose(summed.gradient_norm, np.sqrt(squares), rtol=1e-12)
    np.testing.assert_allclose(summed.query_nll, sum(np.array(s.query_nll) for s in stores) / 3, rtol=1e-12)
    assert list(summed.documents.ids) == list(stores[0].documents.ids)
    assert [part["name"] for part in summed.manifest["provenance"]["summed"]] == [c.name for c in CHECKPOINTS]
    assert len(summed.top("q0", k=3)) == 3
    with pytest.raises(StoreError, match="is a sum over checkpoints"):
        decompose(open_scores(tmp_path / "sum"), tiny_model("llama"), None)


def test_weights_of_pieces_give_the_weighted_sum(tmp_path: Path) -> None:
    config, parts = ScoreConfig(max_length=48), []
    for checkpoint in CHECKPOINTS:
        model, folder = tiny_model("llama", seed=int(checkpoint.model)), tmp_path / checkpoint.name
        pieces = [folder / str(number) for number in (1, 2)]
        for number, piece in enumerate(pieces, 1):
            score(model, None, random_queries(3), CORPUS, piece, shard=Shard(number, 2), config=config)
        parts.append((checkpoint.name, merge(pieces, folder / "merged")))
    weights = [0.5, 2.0, 3.0]
    summed = sum_scores(parts, tmp_path / "sum", weights)
    stores = [(np.array(s.dot), np.array(s.gradient_norm), np.array(s.query_nll)) for _, s in parts]
    dot = sum(w * store[0] for w, store in zip(weights, stores, strict=True))
    squares = sum(w * store[1] ** 2 for w, store in zip(weights, stores, strict=True))
    nll = sum(w * store[2] for w, store in zip(weights, stores, strict=True))
    np.testing.assert_allclose(summed.dot, dot, rtol=1e-12)
    np.testing.assert_allclose(summed.gradient_norm, np.sqrt(squares), rtol=1e-12)
    np.testing.assert_allclose(summed.query_nll, nll / 5.5, rtol=1e-12)
    assert [member["weight"] for member in summed.manifest["config"]["sum"]] == weights
    with pytest.raises(StoreError, match="made with other arguments"):
        sum_scores(parts, tmp_path / "sum")


def test_weights_are_the_mean_learning_rates_since_the_checkpoint_before(tmp_path: Path) -> None:
    named = [(f"checkpoint-{step}", str(tmp_path / f"checkpoint-{step}")) for step in (10, 20)]
    for step, rate in ((5, 4.0), (10, 2.0), (15, 1.0), (20, 0.0)):
        add_metrics(tmp_path, {"step": step, "epoch": 1.0, "learning_rate": rate})
    assert read_weights("lr", named) == pytest.approx([3 / 1.75, 0.5 / 1.75])
    for step, rates in ((10, [6.0]), (20, [6.0, 2.0])):  # a Trainer's output has its own
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        lines = [{"step": 10 * n, "learning_rate": rate} for n, rate in enumerate(rates, 1)]
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": [*lines, {"step": 20}]}))
    assert read_weights("lr", named) == pytest.approx([1.5, 0.5])
    assert read_weights("equal", named) == [1.0, 1.0]
    with pytest.raises(InputError, match="at what learning rate"):
        read_weights("lr", [("main", "some/model")])


def test_weights_of_a_file_are_those_of_all_checkpoints(tmp_path: Path) -> None:
    file, named = tmp_path / "weights.json", [("a", "a"), ("b", "b")]
    file.write_text('{"b": 2, "a": 0.5}')
    assert read_weights(str(file), named) == [0.5, 2.0]
    for wrong in ('{"a": 1}', '{"a": 1, "b": 0}', '{"a": 1, "b": 1, "c": 1}', "[1, 2]", '{"a": 1, "b": NaN}'):
        file.write_text(wrong)
        with pytest.raises(InputError, match="--weights"):
            read_weights(str(file), named)


def test_auto_takes_a_third_two_thirds_and_the_end(tmp_path: Path) -> None:
    for step in (5, 30, 45, 60, 88):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "config.json").write_text("{}")
    chosen = [checkpoint.name for checkpoint in choose_checkpoints(str(tmp_path))]
    assert chosen == ["checkpoint-30", "checkpoint-60", "checkpoint-88"]
    with pytest.raises(InputError, match="no checkpoints of a training"):
        choose_checkpoints(str(tmp_path / "checkpoint-5"))


def test_stores_of_other_queries_are_not_added(tmp_path: Path) -> None:
    parts = [
        (
            name,
            score(
                tiny_model("llama"), None, queries, CORPUS, tmp_path / name, config=ScoreConfig(max_length=48)
            ),
        )
        for name, queries in (("a", random_queries(3)), ("b", random_queries(2)))
    ]
    with pytest.raises(StoreError, match="The scores at a and at b cannot be added"):
        sum_scores(parts, tmp_path / "sum")
