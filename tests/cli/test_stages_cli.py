"""Stages from the command line: a corpus of a task, scores at checkpoints, their analysis, page and the study."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from inputs import Inputs
from program import Server
from tiny import tiny_model

from influence.cli.main import cli
from influence.data.tasks.folder import write_task
from influence.data.tasks.makers.parity import Parity
from influence.engine.checkpoints import find_checkpoints
from influence.errors import InputError, StoreError
from influence.store.checkpoints import open_checkpoints, read_checkpoints
from influence.store.scores import open_scores
from influence.train.stepwise.run import internalize
from influence.train.stepwise.settings import Settings

COUNTS = "full chain=8,partial chain=8,answer only=8,same operands=2,shared partial result=2,distractor=4"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [str(one) for one in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task, a run of its stages, and a corpus of its examples."""
    out = tmp_path_factory.mktemp("stages")
    task = write_task(Parity(bits=7, k=3, train=90, valid=16, test=16), out / "task")
    settings = Settings(
        delta=2,
        lr=1e-3,
        side="right",
        keep_positions=True,
        check_examples=16,
        after_epochs=0.5,
        batch_size=16,
    )
    internalize(task, "tiny", out / "icot", settings)
    run(
        *("corpus", "task", out / "task", "--model", out / "icot" / "stage-000", "--out", out / "corpus"),
        *("--asked", 3, "--counts", COUNTS),
    )
    return out


def score(folder: Path, *more: object, out: str = "scores") -> str:
    return run(
        *("score", "--checkpoints", folder / "icot" / "stage-*", "--corpus", folder / "corpus"),
        *("--out", folder / out, "--device", "cpu", *more),
    )


def test_from_stages_to_a_page(folder: Path) -> None:
    said = score(folder, "--task", folder / "task", "--asked", 3)
    assert "Scores at 3 checkpoints" in said
    records = read_checkpoints(folder / "scores")
    assert [record.name for record in records] == ["stage-000", "stage-001", "stage-002"]
    assert [record.removed for record in records] == [0, 1, 2]
    assert not any(record.shared for record in records)
    assert {tuple(record.accuracy) for record in records} == {("answer only", "as asked")}
    assert all(n == 16 for record in records for _, n in record.accuracy.values())
    stores = open_checkpoints(folder / "scores")
    for removed, (name, scores) in enumerate(stores):
        about = json.loads((folder / "icot" / name / "stage.json").read_text())
        asked = {query.id: query for query in scores.queries}
        assert len(asked) == 6
        written = asked["test-0-asked"].completion.split("<sep>")[0].split()
        assert len(written) == 2 - removed
        assert asked["test-1-answer"].completion == f" {asked['test-1-answer'].answer}"
        assert records[removed].facts["examples"] == about["examples"]
        hessian = scores.manifest["config"]["hessian"]
        assert hessian["model"] == scores.manifest["config"]["model"]
    probes = pd.read_csv(folder / "scores" / "probes.csv")
    assert set(probes["stage"]) == {"stage-000", "stage-001", "stage-002"}
    assert set(probes["quantity"]) == {"running sum 1", "running sum 2", "running sum 3"}

    before = {path: path.stat().st_mtime_ns for path in (folder / "scores").rglob("*.safetensors")}
    assert "Already there" in score(folder, "--task", folder / "task", "--asked", 3)
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "scores").rglob("*.safetensors")}

    assert "contrasts_by_group" in run("analyze", "stages", folder / "scores")
    run("report", folder / "scores", "--out", folder / "stages.html")
    page = (folder / "stages.html").read_text(encoding="utf-8")
    for words in ("Answer or procedure", "same operands", "running sum 2", "its own", "scores / stage-002"):
        assert words in page, words


def test_a_sum_is_a_run_that_analyses_and_reports_take(folder: Path, inputs: Inputs) -> None:
    for seed in (1, 2):
        model = tiny_model("llama", seed=seed)
        model.model.save_pretrained(folder / "training" / f"checkpoint-{seed}")
        model.tokenizer.save_pretrained(folder / "training" / f"checkpoint-{seed}")
    checkpoints = ["--checkpoints", "auto", "--model", folder / "training"]
    command = ["score", *checkpoints, "--queries", inputs.queries, "--corpus", inputs.corpus]
    to = ["--out", folder / "summed", "--device", "cpu"]
    said = run(*command, *to, "--layers", "mlp", "--layers", "head", "--sum")
    assert f"Their sum: {folder / 'summed' / 'sum'}" in said
    stores = [np.array(scores.dot) for _, scores in open_checkpoints(folder / "summed")]
    summed = open_scores(folder / "summed" / "sum")
    np.testing.assert_allclose(summed.dot, np.sum(stores, 0, dtype=np.float64), rtol=1e-12)
    assert "lm_head" in summed.manifest["config"]["layers"]
    run("analyze", "concentration", summed.folder)
    run("report", summed.folder, "--out", folder / "summed.html")
    refused = CliRunner().invoke(
        cli, [*map(str, command), *map(str, to), "--hessian-from", "identity", "--layers", "all"]
    )
    assert "--layers has no effect with --hessian-from identity" in refused.output


def test_a_killed_job_goes_on(folder: Path, program: Server) -> None:
    command = [
        *("score", "--checkpoints", folder / "icot", "--corpus", folder / "corpus", "--device", "cpu"),
        *("--task", folder / "task", "--asked", 3, "--out", folder / "killed", "--dtype", "float64"),
    ]
    at = folder / "killed" / "stage-001" / "scores.safetensors"
    assert program.run(*command, signal_at=(signal.SIGKILL, at)).exit_code == -signal.SIGKILL
    with pytest.raises(StoreError, match="unfinished"):
        read_checkpoints(folder / "killed")
    first = folder / "killed" / "stage-000" / "scores.safetensors"
    before = first.stat().st_mtime_ns
    resumed = program.run(*command)
    assert resumed.exit_code == 0, resumed.stderr
    assert first.stat().st_mtime_ns == before, "what was whole is left as it was"
    score(folder, "--task", folder / "task", "--asked", 3, "--dtype", "float64", out="whole")
    for (_, a), (_, b) in zip(
        open_checkpoints(folder / "killed"), open_checkpoints(folder / "whole"), strict=True
    ):
        np.testing.assert_allclose(a.dot, b.dot, rtol=1e-6, atol=1e-9)  # its blocks are smaller
        assert a.queries == b.queries


def test_one_hessian_for_all_is_stated(folder: Path) -> None:
    queries = folder / "q.jsonl"
    record = {
        "id": "a",
        "task": "parity",
        "group": "reasoning",
        "prompt": " 0 1<sep>",
        "completion": " 1<sep>",
    }
    queries.write_text(json.dumps(record) + "\n")
    score(folder, "--queries", queries, "--hessian-from", "stage-001", out="shared")
    assert [record.shared for record in read_checkpoints(folder / "shared")] == [True, False, True]
    assert [path.name for path in (folder / "shared" / "hessians").iterdir()] == ["stage-001"]
    stores = dict(open_checkpoints(folder / "shared"))
    models = {name: scores.manifest["config"]["model"] for name, scores in stores.items()}
    assert {s.manifest["config"]["hessian"]["model"] for s in stores.values()} == {models["stage-001"]}
    score(folder, "--queries", queries, "--hessian-from", "identity", out="identity")
    assert open_scores(folder / "identity" / "stage-000").manifest["config"]["hessian"] == "identity"
    with pytest.raises(InputError, match="neither a checkpoint nor a folder"):
        score(folder, "--queries", queries, "--hessian-from", "stage-9", out="none")
    with pytest.raises(StoreError, match="made with other arguments"):
        score(folder, "--queries", queries, out="shared")


def test_any_checkpoints_with_queries_of_ones_own(inputs: Inputs, tmp_path: Path) -> None:
    trainer = tmp_path / "output"
    for number in (20, 100, 3):
        model = tiny_model("llama", seed=number)
        model.model.save_pretrained(trainer / f"checkpoint-{number}")
        model.tokenizer.save_pretrained(trainer / f"checkpoint-{number}")
    run(
        *("score", "--checkpoints", trainer, "--queries", inputs.queries, "--corpus", inputs.corpus),
        *("--out", tmp_path / "scores", "--device", "cpu"),
    )
    stores = open_checkpoints(tmp_path / "scores")
    assert [name for name, _ in stores] == ["checkpoint-3", "checkpoint-20", "checkpoint-100"]
    alone = tmp_path / "alone"
    one = tiny_model("llama", seed=20)
    one.model.save_pretrained(alone / "model")
    one.tokenizer.save_pretrained(alone / "model")
    where = ("--corpus", inputs.corpus, "--device", "cpu")
    run("fit-hessian", "--model", alone / "model", "--out", alone / "hessian", *where)
    asked = ("--queries", inputs.queries, "--model", alone / "model", "--hessian", alone / "hessian")
    run("score", *asked, "--out", alone / "scores", *where)
    np.testing.assert_allclose(stores[1][1].dot, open_scores(alone / "scores").dot, rtol=1e-12)


def test_names_of_checkpoints(tmp_path: Path) -> None:
    for run_, number in (("a", 2), ("a", 10), ("b", 2)):
        (tmp_path / run_ / f"stage-{number}").mkdir(parents=True)
        (tmp_path / run_ / f"stage-{number}" / "config.json").touch()
    (tmp_path / "a" / "stage-11.part").mkdir()
    found = find_checkpoints([str(tmp_path / "a"), str(tmp_path / "b" / "stage-*")])
    assert [one.name for one in found] == ["a-stage-2", "a-stage-10", "b-stage-2"]
    hub = find_checkpoints(["owner/name@step1000,step4000"])
    assert [(one.name, one.model, one.revision) for one in hub] == [
        ("step1000", "owner/name", "step1000"),
        ("step4000", "owner/name", "step4000"),
    ]
    with pytest.raises(InputError, match="named twice"):
        find_checkpoints([str(tmp_path / "a"), str(tmp_path / "a" / "stage-2")])
    with pytest.raises(InputError, match="names no folder"):
        find_checkpoints([str(tmp_path / "c*")])
    with pytest.raises(InputError, match="holds no checkpoint"):
        find_checkpoints([str(tmp_path)])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--queries", "q", "--model", "m"], "--model goes only with --checkpoints auto"),
        ([], "give either --queries or --task"),
        (["--queries", "q", "--task", "t"], "give either --queries or --task"),
        (["--queries", "q", "--asked", "3"], "--asked has an effect only with --task"),
    ],
)
def test_what_does_not_go_together(options: list[str], said: str) -> None:
    result = CliRunner().invoke(cli, ["score", "--checkpoints", "x", "--corpus", "c", "--out", "o", *options])
    assert result.exit_code == 2
    assert said in result.output


def test_without_checkpoints_their_options_are_refused() -> None:
    plain = ["score", "--queries", "q", "--model", "m", "--hessian", "h", "--corpus", "c", "--out", "o"]
    result = CliRunner().invoke(cli, [*plain, "--hessian-from", "x"])
    assert result.exit_code == 2
    assert "--hessian-from has an effect only with --checkpoints" in result.output


def test_a_task_that_is_not_the_stages(folder: Path, tmp_path: Path) -> None:
    write_task(Parity(bits=7, k=3, train=90, valid=16, test=16, seed=1), tmp_path / "other")
    with pytest.raises(InputError, match="trained on another task"):
        score(folder, "--task", tmp_path / "other", "--asked", 3, out="wrong")
    shutil.rmtree(folder / "wrong")
