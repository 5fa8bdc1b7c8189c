"""A dry run says what then happens; nothing is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

from influence.cli.main import cli
from influence.config import FitConfig, ScoreConfig
from influence.data.queries import write_queries
from influence.engine import plan
from influence.engine.fit import fit_hessian
from influence.engine.plan import Plan, plan_fit, plan_score
from influence.engine.score import score


def size(folder: Path) -> int:
    """Bytes of what grows with the run: a manifest is a few kilobytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in (".arrow", ".safetensors"))


@pytest.mark.parametrize(("documents", "width", "queries"), [(40, 64, 3), (300, 96, 20)])
def test_documents_tokens_and_disk_are_those_of_the_run(
    documents: int, width: int, queries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_DRAWN", 100)  # of 300 documents, some are drawn
    model = tiny_model("llama", dtype=torch.float32, intermediate_size=width, hidden_size=width)
    corpus, asked = MemoryCorpus(random_documents(documents)), random_queries(queries)
    settings: dict[str, Any] = {"max_length": 24}
    fit_planned = plan_fit(model, corpus, FitConfig(**settings))
    factors = fit_hessian(model, corpus, out=tmp_path / "fit", **settings)
    score_planned = plan_score(model, factors, asked, corpus, ScoreConfig(**settings))
    scores = score(model, factors, asked, corpus, tmp_path / "scores", **settings)
    for planned in (fit_planned, score_planned):
        assert planned.documents == documents
        assert planned.tokens == pytest.approx(int(scores.documents.lengths.sum()), rel=0.1)
        assert all(seconds > 0 for seconds in planned.seconds.values())
        assert planned.host is None or 50e6 < planned.host < 20e9
        assert planned.device is None
    fitted = size(tmp_path / "fit")  # the documents of a fit are gone by then
    assert fitted < fit_planned.disk < 1.2 * fitted + size(tmp_path / "scores")
    blocks = 4 * documents * (queries + 1)
    assert score_planned.disk == pytest.approx(size(tmp_path / "scores") + blocks, rel=0.2)


def test_a_fit_on_some_documents_is_planned_for_these() -> None:
    model, corpus = tiny_model("llama", dtype=torch.float32), MemoryCorpus(random_documents(60))
    whole, third = (plan_fit(model, corpus, FitConfig(documents=count)) for count in (1000, 20))
    assert (whole.documents, third.documents) == (60, 20)
    assert third.tokens == pytest.approx(whole.tokens / 3, rel=0.01)


def test_a_plan_is_readable() -> None:
    seconds = {"queries": 5.25, "scan": 7200.0}
    text = Plan(3000, 383_070, 1, seconds, host=int(1.5e9), device=None, disk=int(4e6)).text()
    assert text.splitlines() == [
        "documents   3,000, about 383,070 tokens",
        "passes      1",
        "time        about 2.0 h: queries 5.2 s, scan 2.0 h",
        "memory      about 1,500 MB",
        "disk        about 4 MB",
    ]


def test_the_commands_only_say_so(tmp_path: Path) -> None:
    model = tiny_model("gpt2", dtype=torch.float32)
    model.model.save_pretrained(tmp_path / "model")
    model.tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "corpus.jsonl").write_text('{"text": "one and two"}\n' * 9, encoding="utf-8")
    write_queries(random_queries(2), tmp_path / "queries.jsonl")
    shared = ["--corpus", f"{tmp_path}/corpus.jsonl", "--out", f"{tmp_path}/out", "--dry-run"]
    fit = CliRunner().invoke(cli, ["fit-hessian", f"{tmp_path}/model", *shared])
    asked = [
        "--queries",
        f"{tmp_path}/queries.jsonl",
        "--model",
        f"{tmp_path}/model",
        "--hessian",
        "identity",
    ]
    scored = CliRunner().invoke(cli, ["score", *asked, *shared])
    for done, passes in ((fit, 2), (scored, 1)):
        assert done.exit_code == 0, done.output
        assert "documents   9, about 99 tokens" in done.output
        assert f"passes      {passes}" in done.output
    assert not (tmp_path / "out").exists()
