"""`influence analyze`: every analysis from the command line to its Parquet tables."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from stores import make_document, make_query, write_scores

from influence.cli.analyze import as_text
from influence.cli.main import cli
from influence.errors import InfluenceError, InputError

QUERIES = [make_query(n) for n in range(3)] + [
    make_query(n, id=f"capital-{n}", task="capital", group="factual", answer="Tamoket", correct=n > 3)
    for n in range(3, 6)
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    documents = [
        make_document(n, text="Tamoket is the capital." if n == 7 else f"Text {n}", source="ab"[n % 2])
        for n in range(60)
    ]
    for name in ("run", "later"):
        write_scores(tmp_path / name, rng.normal(size=(6, 60)), queries=QUERIES, documents=documents)
    return tmp_path / "run"


def analyze(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["analyze", *map(str, arguments)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("correlation", {"r", "blocks", "permutation", "largest"}),
        (
            "concentration",
            {"curves", "curves_by_group", "shares_by_group", "power_law", "power_law_by_group", "slope_tests"}
            | {"pareto", "pareto_by_group"},
        ),
        ("answers", {"hits", "found", "rates", "corpus"}),
        ("sources", {"curves"}),
        ("reuse", {"documents", "counts"}),
        ("bm25", {"documents", "overlap", "overlap_by_group"}),
        ("sanity", {"checks", "copies", "copy_ranks", "word_order", "self"}),
    ],
)
def test_tables_lie_in_the_run(run: Path, name: str, tables: set[str]) -> None:
    result = analyze(name, run)
    assert result.exit_code == 0, result.output
    folder = run / "analysis" / name
    files = {f"{table}.parquet" for table in tables} | {"manifest.json"}
    assert {path.name for path in folder.iterdir()} == files
    note = json.loads(pq.read_schema(folder / f"{min(tables)}.parquet").metadata[b"influence"])
    assert note["analysis"] == name
    assert note["by"] == ("per_nat" if name == "concentration" else "normed")
    assert note["runs"][0]["config"]["damping"] == 0.1
    assert f"{min(tables)}.parquet" in result.output
    assert pd.read_parquet(folder / f"{min(tables)}.parquet") is not None


def test_answers_say_what_they_found(run: Path, tmp_path: Path) -> None:
    result = analyze(
        "answers", run, "--k", 60, "--out", tmp_path / "out", "--group-by", "group", "--by", "dot"
    )
    rates = pd.read_parquet(tmp_path / "out" / "rates.parquet").set_index(["label", "completion"])
    assert rates.loc[("factual", "right"), ["n", "rate"]].tolist() == [2, 1]
    assert rates.loc[("factual", "wrong"), ["n", "rate"]].tolist() == [1, 1]
    corpus = pd.read_parquet(tmp_path / "out" / "corpus.parquet").set_index("query")
    assert corpus.loc["capital-4", ["documents", "in_top", "document"]].tolist() == [1, 1, "doc-7"]
    assert "factual" in result.output
    analyze("answers", run, "--no-scan", "--out", tmp_path / "fast")
    assert not (tmp_path / "fast" / "corpus.parquet").exists()


def test_two_runs(run: Path) -> None:
    later = run.with_name("later")
    assert analyze("correlation", run, later).exit_code == 0
    assert len(pd.read_parquet(later / "analysis/correlation/cross.parquet")) == 6
    result = analyze("stages", f"start={run}", later)
    assert result.exit_code == 0
    facts = pd.read_parquet(later / "analysis/stages/facts.parquet")
    assert facts["stage"].unique().tolist() == ["start", str(later)]
    agreement = pd.read_parquet(later / "analysis/stages/agreement.parquet")
    assert {"r", "overlap@10", "overlap@500", "rbo"} <= set(agreement)


def test_groups_of_ones_own(run: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"slopes-00": "x", "capital-4": "x", "slopes-02": "y"}))
    analyze("sources", run, "--group-by", labels)
    curves = pd.read_parquet(run / "analysis/sources/curves.parquet")
    assert dict(zip(curves["label"], curves["n"], strict=True)) == {"x": 2, "y": 1}


def test_list() -> None:
    for arguments in (("--list",), ()):
        result = analyze(*arguments)
        assert result.exit_code == 0
        assert "concentration" in result.output
        assert "per_nat" in result.output


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("guess", "RUN"), "no analysis 'guess'"),
        (("sources",), "takes one run"),
        (("stages", "RUN"), "two or more"),
        (("relations", "RUN"), "needs a judge"),
        (("answers", "RUN", "--judge", "oracle"), "no judge 'oracle'"),
        (("answers", "RUN", "--judge", "openai:ftp://x"), "not the address"),
        (("sources", "RUN", "--group-by", "nothing.json"), "neither task nor group"),
        (("sanity", "RUN", "--by", "dot"), "sanity has no --by"),
        (("bm25", "RUN", "--no-scan"), "It takes --group-by, --k, --out"),
        (("concentration", "RUN", "--judge", "keywords"), "has no --judge"),
        (("sources", "RUN", "--k", "5"), "has no --k"),
        (("correlation", "RUN", "RUN", "--group-by", "task"), "correlation has no --group-by"),
        (("sources", "ABSENT"), "holds no scores"),
    ],
)
def test_what_cannot_be_done_is_said(run: Path, arguments: tuple[str, ...], error: str) -> None:
    places = {"RUN": str(run), "ABSENT": str(run / "absent")}
    with pytest.raises(InfluenceError, match=error):
        analyze(*[places.get(argument, argument) for argument in arguments])
    assert not (run / "analysis").exists()


def test_a_local_model_as_judge(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wiring: hf:PATH loads the model, its replies go into the tables."""
    from influence.generate.local import LocalGenerator
    from influence.models import load

    seen = []
    monkeypatch.setattr(load, "load_model", lambda path: seen.append(path) or path)
    monkeypatch.setattr(LocalGenerator, "name", "hf:fake")
    monkeypatch.setattr(
        LocalGenerator, "texts", lambda self, prompts, sampling: ['{"label": "other maths"}'] * len(prompts)
    )
    result = analyze("relations", run, "--judge", "hf:some/model", "--k", 2)
    assert result.exit_code == 0, result.output
    assert seen == ["some/model"]
    table = pd.read_parquet(run / "analysis/relations/relations.parquet")
    assert len(table) == 12
    assert set(table["judge"]) == {"hf:fake"}
    assert (run / "analysis/relations/judge-replies.jsonl").exists()


def test_a_server_as_judge_and_its_kept_replies(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None: ...

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            prompt = body["messages"][0]["content"]
            asked.append(prompt)
            there = "Tamoket is the" in prompt
            piece = {"piece": 1, "found": there, "evidence": "TAMOKET" if there else "", "why": "named"}
            reply = {"choices": [{"message": {"content": json.dumps({"pieces": [piece]})}}]}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        judge = f"openai:http://127.0.0.1:{server.server_port}/v1#m"
        for _ in range(2):
            result = analyze("answers", run, "--k", 60, "--judge", judge, "--no-scan")
            assert result.exit_code == 0, result.output
        server.shutdown()
    assert len(asked) == len(set(asked)) == 6 * 60  # the second time nothing was asked
    hits = pd.read_parquet(run / "analysis/answers/hits.parquet")
    judged = hits[hits["method"] == "openai:m:600"]
    assert set(judged["query"]) == {"capital-3", "capital-4", "capital-5"} | {
        f"slopes-{n:02d}" for n in range(3)
    }
    assert set(judged["evidence"]) == {"Tamoket"}
    found = pd.read_parquet(run / "analysis/answers/found.parquet")
    assert set(found["method"]) == {"keywords", "openai:m:600", "either"}


def test_analysis_needs_no_torch(run: Path) -> None:
    code = (
        "import sys\nfrom influence.cli.main import cli\n"
        f"cli(['analyze', 'concentration', {str(run)!r}], standalone_mode=False)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_empty_list_of_runs_names_the_command() -> None:
    with pytest.raises(InputError, match="analyze reuse RUN"):
        analyze("reuse")


def test_printed_tables() -> None:
    table = pd.DataFrame(
        {"label": ["a", "long"], "n": [12, 3], "mean": [0.123456, np.nan], "yes": [True, False]}
    )
    assert as_text(table).splitlines() == [
        "label   n    mean    yes",
        "a      12  0.1235   True",
        "long    3       –  False",
    ]
    cut = as_text(pd.DataFrame({"n": range(1, 41)})).splitlines()
    assert cut[-2:] == ["30", "… and 10 more rows in the file"]


def test_a_summary_leaves_out_empty_tables(run: Path) -> None:
    output = analyze("sanity", run).output
    assert "there are no token scores: run influence tokens" in output
    assert "no document is the text of a query" in output
    assert "word order\n" not in output


def test_a_completion_that_is_certain_has_no_per_nat(run: Path) -> None:
    scores = write_scores(run.with_name("certain"), np.ones((1, 3)), query_nll=[0.0])
    with pytest.raises(InfluenceError, match="read by dot, or leave it out"):
        analyze("concentration", scores.folder)
    assert analyze("concentration", scores.folder, "--by", "dot").exit_code == 0
