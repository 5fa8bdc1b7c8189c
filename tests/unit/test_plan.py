"""A dry run says what then happens; nothing is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

from influence import files
from influence.cli.main import cli
from influence.config import FitConfig, ScoreConfig
from influence.data.queries import write_queries
from influence.engine.fit import fit_hessian
from influence.engine.plan import rehearsal
from influence.engine.plan.plan import Plan, plan_fit, plan_score
from influence.engine.score import score
from influence.errors import InputError, StoreError
from influence.store.pieces import Shard
from influence.types import Document


@contextmanager
def largest(folder: Path) -> Iterator[list[int]]:
    """Most bytes in a folder, looked at whenever the checksum of a file is taken, before the file appears."""
    most = [0]
    sha256 = files.sha256

    def look(part: Path) -> str:
        there = [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
        most[0] = max(most[0], sum(path.stat().st_size for path in there))
        return sha256(part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "sha256", look)
        yield most


#: Documents, width, MLP width, queries, dtype, settings of both.
SHAPES: list[tuple[int, int, int, int, torch.dtype, dict[str, Any]]] = [
    (600, 16, 24, 3, torch.float32, {}),
    (300, 96, 96, 60, torch.float32, {}),
    (160, 96, 200, 20, torch.bfloat16, {"windows": True}),
    (500, 24, 24, 70, torch.bfloat16, {"documents": 300, "seed": 3, "covariance_blocks": 3}),
    (150, 64, 160, 20, torch.float32, {"query_error": 0.1}),
]


@pytest.mark.parametrize(("documents", "width", "mlp", "queries", "dtype", "settings"), SHAPES)
def test_documents_tokens_and_disk_are_those_of_the_run(
    documents: int,
    width: int,
    mlp: int,
    queries: int,
    dtype: torch.dtype,
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rehearsal, "_DRAWN", 100)  # not all
    model = tiny_model("llama", dtype=dtype, intermediate_size=mlp, hidden_size=width)
    corpus = MemoryCorpus(random_documents(documents, longest=60))
    asked = random_queries(queries)
    both: dict[str, Any] = {"max_length": 24, "windows": settings.get("windows", False)}
    fitting = {n: v for n, v in settings.items() if n not in ("windows", "query_error")} | both
    scoring = {n: v for n, v in settings.items() if n == "query_error"} | both
    fit_planned = plan_fit(model, corpus, config=FitConfig(**fitting))
    with largest(tmp_path / "fit") as fit_disk:
        factors = fit_hessian(model, corpus, out=tmp_path / "fit", config=FitConfig(**fitting))
    score_planned = plan_score(model, factors, asked, corpus, config=ScoreConfig(**scoring))
    with largest(tmp_path / "scores") as score_disk:
        scores = score(model, factors, asked, corpus, tmp_path / "scores", config=ScoreConfig(**scoring))
    assert factors.manifest is not None
    for planned, manifest, disk in (
        (fit_planned, factors.manifest, fit_disk),
        (score_planned, scores.manifest, score_disk),
    ):
        found = manifest["provenance"]["tokens"]
        assert planned.documents == pytest.approx(found["documents"], rel=0.01)
        assert planned.tokens == pytest.approx(found["tokens"], rel=0.01)
        assert planned.disk == pytest.approx(disk[0], rel=0.01, abs=16e3)  # manifest, journal, headers
        assert all(seconds > 0 for seconds in planned.seconds.values())
        assert planned.host is None or 50e6 < planned.host < 20e9
        assert planned.device is None


def test_a_piece_and_added_documents_are_planned_as_such(tmp_path: Path) -> None:
    model, asked = tiny_model("llama"), random_queries(3)
    documents = random_documents(50, longest=40)
    changed = Document(documents[7].id, "something else", documents[7].source)
    corpus = MemoryCorpus([*documents[:7], changed, *documents[8:]])
    earlier = score(
        model,
        None,
        asked,
        MemoryCorpus(documents[:40]),
        tmp_path / "earlier",
        config=ScoreConfig(max_length=24),
    )
    config = ScoreConfig(max_length=24)
    for name, how in {"piece": {"shard": Shard(2, 3)}, "added": {"reuse": earlier}}.items():
        planned = plan_score(model, None, asked, corpus, config=config, **how)  # type: ignore[arg-type]
        with largest(tmp_path / name) as disk:
            scores = score(
                model,
                None,
                asked,
                corpus,
                tmp_path / name,
                config=config,
                **how,  # type: ignore[arg-type]
            )
        made = scores.manifest["provenance"]
        assert planned.documents == made["tokens"]["documents"]
        assert planned.scored == made.get("reused", 0)
        assert planned.disk == pytest.approx(disk[0], abs=12e3)
    assert planned.scored == 39
    new = [len(document.text) for document in [changed, *documents[40:]]]
    assert planned.tokens == sum(min(length, 24) for length in new)


def test_windows_of_added_documents_are_known_by_their_document(tmp_path: Path) -> None:
    model, asked, documents = tiny_model("llama"), random_queries(2), random_documents(30, longest=90)
    settings: dict[str, Any] = {"max_length": 20, "windows": True}
    earlier = score(
        model, None, asked, MemoryCorpus(documents[:20]), tmp_path / "earlier", config=ScoreConfig(**settings)
    )
    corpus = MemoryCorpus(documents)
    planned = plan_score(model, None, asked, corpus, config=ScoreConfig(**settings), reuse=earlier)
    scores = score(
        model, None, asked, corpus, tmp_path / "scores", reuse=earlier, config=ScoreConfig(**settings)
    )
    assert planned.scored == scores.manifest["provenance"]["reused"]
    assert planned.documents == len(scores.documents)


def test_nothing_new_and_nothing_to_score(tmp_path: Path) -> None:
    model, asked = tiny_model("llama"), random_queries(2)
    corpus = MemoryCorpus(random_documents(9))
    earlier = score(model, None, asked, corpus, tmp_path / "earlier")
    planned = plan_score(model, None, asked, corpus, config=ScoreConfig(), reuse=earlier)
    assert (planned.documents, planned.scored, planned.tokens, planned.seconds["scan"]) == (9, 9, 0, 0.0)
    empty = plan_score(model, None, asked, MemoryCorpus([Document("a", "")]), shard=Shard(1, 1))
    assert (empty.documents, empty.tokens) == (0, 0)


def test_what_the_run_refuses_is_refused(tmp_path: Path) -> None:
    model, asked, corpus = tiny_model("llama"), random_queries(2), MemoryCorpus(random_documents(9))
    earlier = score(model, None, asked, corpus, tmp_path / "earlier")
    for message, error, how in (
        ("made otherwise", StoreError, {"reuse": earlier, "shard": Shard(1, 2)}),
        ("cannot be cut", InputError, {"shard": Shard(1, 20)}),
        ("other layers", InputError, {"query_model": tiny_model("llama", intermediate_size=32)}),
    ):
        with pytest.raises(error, match=message):
            plan_score(model, None, asked, corpus, config=ScoreConfig(), **how)
    with pytest.raises(InputError, match="metric of a Hessian"):
        plan_score(model, None, asked, corpus, config=ScoreConfig(query_error=0.1))
    with pytest.raises(InputError, match="own fit"):
        plan_fit(model, corpus, config=FitConfig(backend="kronfluence"))


def test_a_plan_is_readable() -> None:
    seconds = {"queries": 5.25, "scan": 7200.0}
    text = Plan(3000, 0, 383_070, 1, seconds, host=int(1.5e9), device=None, disk=int(4e6)).text()
    assert text.splitlines() == [
        "documents   3,000, about 383,070 tokens",
        "passes      1",
        "time        about 2.0 h: queries 5.2 s, scan 2.0 h",
        "memory      about 1,500 MB",
        "disk        about 4 MB",
    ]
    added = Plan(3000, 2900, 12_770, 1, seconds, host=None, device=None, disk=0).text()
    assert added.splitlines()[0] == "documents   3,000 (2,900 scored already), about 12,770 tokens"


def test_the_commands_only_say_so(tmp_path: Path) -> None:
    model = tiny_model("gpt2", dtype=torch.float32)
    model.model.save_pretrained(tmp_path / "model")
    model.tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "corpus.jsonl").write_text('{"text": "one and two"}\n' * 9, encoding="utf-8")
    write_queries(random_queries(2), tmp_path / "queries.jsonl")
    shared = ["--corpus", f"{tmp_path}/corpus.jsonl", "--out", f"{tmp_path}/out", "--dry-run"]
    fit = CliRunner().invoke(cli, ["fit-hessian", "--model", f"{tmp_path}/model", *shared])
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
