"""`python -m reports.stages`: the smoke scale, every step once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from influence.store.stages import read_stages
from reports.stages.__main__ import command


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
    page = (out / "findings.md").read_text()
    assert f"python -m reports.stages --scale smoke --out {out} --seeds 1" in page
    trained = {name: read_stages(out / "seed-0" / name) for name in ("stages", "controls")}
    seen = {record.facts["examples"] for record in [trained["stages"][-1], *trained["controls"]]}
    assert max(seen) - min(seen) <= 32, "controls are trained as long"
    assert pages == [out / "seed-0" / "stages.html"]
