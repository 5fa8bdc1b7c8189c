"""Stored records: what is written is read by the same class, and what does not fit it is refused with the field."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet
import pytest
from internalization_runs import write_run

from influence.analysis.internalization import read_evaluation
from influence.errors import StoreError
from influence.provenance import provenance
from influence.store.artefact import add_files, claim, finish, read_manifest, seal
from influence.store.formats.distillation import Answer, read_answers, write_answers
from influence.store.formats.manifest import fingerprint
from influence.store.formats.records import read_record, write_record
from influence.store.formats.training import (
    AGAIN,
    FOLDER,
    STAGE_FILE,
    STAGE_KIND,
    TRAINING_FILE,
    EvaluationRecord,
    StageFile,
    read_training,
    write_training,
)
from influence.train.stepwise.stages import read_stage

STAGE: dict[str, Any] = {
    "mode": "stepwise",
    "side": "left",
    "by_step": False,
    "keep_positions": False,
    "removed": 4,
    "total": 8,
    "seed": 0,
    "model": "tiny",
    "task": {"name": "sums", "settings": {}},
    "settings": {},
    "loss": 1.5,
}


def test_a_stage_reads_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / STAGE_FILE).write_text(json.dumps(STAGE))
    with pytest.warns(UserWarning, match="read unchecked"):
        stage = read_stage(tmp_path)
    assert (stage.removed, stage.side, stage.fingerprint) == (4, "left", None)
    write_record(tmp_path / "again.json", stage.about)
    assert json.loads((tmp_path / "again.json").read_text()) == STAGE


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"removed": None}, "removed"),
        ({"side": "middle"}, "middle"),
        ({"speed": 3}, "unknown field `speed`"),
        ({"task": {"name": "sums", "settings": {}, "digits": 4}}, "unknown field `digits`"),
    ],
)
def test_a_stage_of_another_form_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    (tmp_path / STAGE_FILE).write_text(json.dumps({**STAGE, **change}))
    seal(tmp_path, STAGE_KIND, {"run": None})
    with pytest.raises(StoreError) as caught:
        read_stage(tmp_path)
    assert says in str(caught.value.have)
    assert caught.value.fix


def test_a_stage_with_a_missing_field_is_refused(tmp_path: Path) -> None:
    (tmp_path / STAGE_FILE).write_text(json.dumps({key: STAGE[key] for key in STAGE if key != "total"}))
    seal(tmp_path, STAGE_KIND, {"run": None})
    with pytest.raises(StoreError, match="missing required field `total`"):
        read_stage(tmp_path)


def test_a_record_that_is_nested_absurdly_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(StoreError, match="cannot be read"):
        read_record(tmp_path / "a.json", StageFile, fix="Train again.")


def test_an_evaluation_of_other_weights_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, {4: 0.5}, n=8, timed=4)
    stage = run / "stage-004"
    stage.mkdir()
    (stage / STAGE_FILE).write_text(json.dumps(STAGE))
    (stage / "model.safetensors").write_bytes(b"weights")
    seal(stage, STAGE_KIND, {"run": None})
    path = run / FOLDER / "stage-004.json"
    record = read_record(path, EvaluationRecord, fix=AGAIN)
    record.fingerprint = fingerprint(read_manifest(stage) or {})
    write_record(path, record)
    add_files(run / FOLDER, path.name)
    assert read_evaluation(run).stages[0].about == record.about
    (stage / "model.safetensors").write_bytes(b"others!")
    seal(stage, STAGE_KIND, {"run": None})
    with pytest.raises(StoreError, match="is not of the stage") as caught:
        read_evaluation(run)
    assert "influence evaluate" in str(caught.value.fix)
    shutil.rmtree(stage)
    assert read_evaluation(run).stages  # moved without its stages, nothing can be compared


def test_an_evaluation_keeps_every_field(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {4: 0.5}, n=8, timed=4)
    path = tmp_path / "run" / FOLDER / "stage-004.json"
    record = read_record(path, EvaluationRecord, fix=AGAIN)
    assert msgspec.to_builtins(record) == json.loads(path.read_text())


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "out", tmp_path / "file" / "deep" / "out"):
        with pytest.raises(StoreError, match="cannot be made") as caught:
            claim(out, "scores", {})
        assert "is a file" in str(caught.value.have)
    finish(tmp_path / "out", claim(tmp_path / "out", "scores", {}), {})


def test_answers_of_other_columns_are_refused(tmp_path: Path) -> None:
    answer = Answer("System 1", "as tuned", False, "1", "yes", True, 3, "yes")
    path = write_answers([answer], tmp_path, "system-1")
    assert read_answers(tmp_path).to_dict("records") == [asdict(answer)]
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.drop_columns(["right"]), path)
    with pytest.raises(StoreError, match="is no table of answers"):
        read_answers(tmp_path)


def test_the_record_of_a_training_is_checked(tmp_path: Path) -> None:
    facts = provenance(1.0, settings={"way": "context"}, steps=3)
    write_training(tmp_path, facts)
    assert read_training(tmp_path).settings == {"way": "context"}
    (tmp_path / TRAINING_FILE).write_text('{"settings": []}', encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be read"):
        read_training(tmp_path)
