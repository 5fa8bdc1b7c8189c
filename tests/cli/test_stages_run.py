"""`python -m reports.stages`: the smoke scale, every step once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from golden.measure import compare, numbers

from influence.store.checkpoints import read_checkpoints
from reports.stages.__main__ import command


def column_numbers(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Each column of a table: the numbers of `golden` where it has any, else its distinct entries in order."""
    table = pd.DataFrame(records)
    return {
        name: numbers(column)
        if pd.api.types.is_numeric_dtype(column)
        else ", ".join(dict.fromkeys(map(str, column)))
        for name, column in table.items()
    }


def test_a_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[Path] = []  # what a page shows is tested in test_stages_cli
    monkeypatch.setattr("reports.stages.replicate.write_report", lambda run, out: pages.append(out))
    out = tmp_path / "study"
    result = CliRunner().invoke(command, ["--scale", "smoke", "--out", str(out), "--seeds", "1"])
    assert result.exit_code == 0, result.output
    assert "Findings: " in result.output
    tables = json.loads((out / "results.json").read_text())["tables"]
    assert {row["stage"] for row in tables["stages"]} == {
        "stage-000", "stage-001", "stage-002", "no-cot", "explicit-cot"
    }  # fmt: skip
    assert all(row["answer"] == "not measured" for row in tables["questions"]), "one seed answers nothing"
    # of the version before studies had a kit; what is trained in float32 differs a little between machines
    compare("study-stages", {name: column_numbers(table) for name, table in tables.items()}, relative=1e-3)
    page = (out / "findings.md").read_text()
    assert f"python -m reports.stages --scale smoke --out {out} --seeds 1" in page
    trained = {name: read_checkpoints(out / "seed-0" / name) for name in ("stages", "controls")}
    seen = {record.facts["examples"] for record in [trained["stages"][-1], *trained["controls"]]}
    assert max(seen) - min(seen) <= 32, "controls are trained as long"
    assert pages == [out / "seed-0" / "stages.html"]
