"""`python -m reports.miniworld`: a whole run, killed twice, that does nothing twice."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from reports.miniworld import replicate, retrain
from reports.miniworld.__main__ import command
from reports.miniworld.scales import SCALES

SMOKE = SCALES["smoke"]
GROUPS = SMOKE.removal_groups


def run(out: Path, *more: str) -> Result:
    return CliRunner().invoke(command, ["--scale", "smoke", "--out", str(out), *more])


def killed(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def made(folder: Path) -> dict[str, int]:
    """Every file and when it was written."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    }


def counted(calls: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Count the calls; only the first training is as long as the scale says, for only its model must say something."""

    def call(*arguments: Any, **settings: Any) -> Any:
        calls[name] += 1
        if "epochs" in settings and calls[name] > 1:
            settings["epochs"] = 1
        return function(*arguments, **settings)

    return call


@pytest.mark.timeout(900)  # 60 s of processor time, which a busy machine stretches
def test_a_whole_run_killed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, seed = tmp_path / "out", tmp_path / "out" / "seed-0"
    calls: Counter[str] = Counter()
    # what a report shows is tested with the report
    monkeypatch.setattr(replicate, "write_report", lambda run, page: page.write_text(str(run)))
    for module, name in (
        (retrain, "pretrain"),
        (retrain, "sft"),
        (replicate, "fit_hessian"),
        (replicate, "score"),
    ):
        monkeypatch.setattr(module, name, counted(calls, name, getattr(module, name)))

    with monkeypatch.context() as patch:  # killed while it scores
        patch.setattr(replicate, "score", killed)
        assert run(out).exit_code == 1
    before = made(seed)
    assert {"queries.jsonl", "base/model.safetensors", "hessian/manifest.json"} <= before.keys()

    original = retrain.asked
    with monkeypatch.context() as patch:  # killed when the first model is trained again, and not yet asked
        seen: Counter[str] = Counter()

        def asked(*arguments: Any) -> Any:
            seen["asked"] += 1
            return killed() if seen["asked"] == len(GROUPS) + 1 else original(*arguments)

        patch.setattr(retrain, "asked", asked)
        assert run(out).exit_code == 1
    assert (seed / "removal" / "influence" / "tuned" / "model.safetensors").exists()
    assert not (out / "findings.md").exists()

    finished = run(out)
    assert finished.exit_code == 0, finished.output
    after = made(seed)
    assert {name: after[name] for name in before} == before, "what was made before a kill is left as it was"
    retrainings = len(SMOKE.removal_methods)
    assert calls == {"pretrain": 1 + retrainings, "sft": 1 + retrainings, "fit_hessian": 1, "score": 4}
    assert "step 5 of 25: pretrain the base model (done)" in finished.output

    again = run(out)
    assert again.exit_code == 0
    assert made(seed) == after
    assert sum(calls.values()) == 2 * (1 + retrainings) + 5

    check_results(out, again.stdout)
    other = CliRunner().invoke(command, ["--scale", "gpu", "--out", str(out)])
    assert "made with other arguments" in str(other.exception)


def check_results(out: Path, printed: str) -> None:
    """Structure of what is left: tables, page, figures, no models of retrainings."""
    seed = out / "seed-0"
    results = json.loads((out / "results.json").read_text())
    assert results["settings"]["documents"] == SMOKE.documents
    assert results["seeds"] == 1
    assert set(results["tables"]) == {
        "accuracy", "findings", "recall", "relations", "removal", "removal_order"
    }  # fmt: skip
    for name, records in results["tables"].items():
        assert len(pd.read_csv(out / f"{name}.csv")) == len(records) > 0, name
    findings = pd.read_csv(out / "findings.csv")
    assert set(findings["holds"]) <= {"yes", "partly", "no", "not measured", "no claim"}
    assert set(findings["finding"]) == {1, 2, 3, 4, 5}
    measured = findings[findings["low"].notna()]
    assert len(measured) > 10
    assert (measured["low"] <= measured["here"] + 1e-9).all()
    assert (measured["here"] <= measured["high"] + 1e-9).all()
    removal = pd.read_csv(out / "removal.csv")
    assert set(removal["method"]) == {"undisturbed", *SMOKE.removal_methods}
    changed = removal[removal["method"] != "undisturbed"]
    assert (changed["dropped"] == SMOKE.removal_k).all()
    assert (changed["nll_change"] != 0).all()
    assert changed["dropped_in_all"].between(SMOKE.removal_k, len(GROUPS) * SMOKE.removal_k).all()
    random = [json.loads((seed / "removal" / f"{group}-random.json").read_text()) for group in GROUPS]
    assert random[0]["dropped"] != random[1]["dropped"]
    union = set(random[0]["dropped"]) | set(random[1]["dropped"])
    assert {one["dropped_in_all"] for one in random} == {len(union)}
    assert random[0]["asked"] != random[1]["asked"]
    assert not [path for path in (seed / "removal").iterdir() if path.is_dir()]
    assert (seed / "report.html").read_text() == str(seed / "scores")
    page = (out / "findings.md").read_text()
    assert "## Removal" in page
    assert "nan" not in re.findall(r"[\w.]+", page)
    for name in ("recall.svg", "removal.svg"):
        assert (out / name).read_text().startswith("<?xml")
    assert "R, two queries of one procedure" in printed
    assert str(out / "findings.md") in printed.replace("\n", "")


def test_errors_name_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert "already holds other files" in str(run(tmp_path).exception)
    unknown = CliRunner().invoke(command, ["--scale", "huge", "--out", str(tmp_path / "x")])
    assert "Known are smoke, laptop, gpu" in str(unknown.exception)
    assert not (tmp_path / "x").exists()
