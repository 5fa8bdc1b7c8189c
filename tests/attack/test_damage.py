"""Every stored file of every kind of result, damaged in each way: an error says so, or what is read is the same.

`python -m pytest tests/attack/test_damage.py -s` prints the counts that docs/security.md states.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from distillations import write_distillation
from internalization_runs import write_run
from safetensors import safe_open
from stores import write_hessian, write_scores
from texts import MemoryCorpus, random_documents
from tiny import tiny_model

from influence.analysis.internalization import read_evaluation
from influence.analysis.run import analyze
from influence.blocks import dense
from influence.cli.main import cli
from influence.config import IndexConfig
from influence.distill.lessons import read_lessons
from influence.distill.traces import read_traces
from influence.engine.index.build import build_index
from influence.errors import InfluenceError
from influence.models.load import MODEL_KIND, load_model
from influence.store.artefact import claim, finish, open_complete, seal
from influence.store.checkpoints import KIND as CHECKPOINTS
from influence.store.checkpoints import CheckpointRecord, open_checkpoints, write_checkpoints
from influence.store.factors import open_factors
from influence.store.formats.distillation import DISTILLATION, PAIRS, SAMPLES, read_answers
from influence.store.formats.records import write_record
from influence.store.formats.tables import read_tables
from influence.store.formats.training import COUPLED, RUN_KIND, STAGE_FILE, STAGE_KIND, StageFile, TaskRecord
from influence.store.index import open_index
from influence.store.pieces import KIND as PIECE
from influence.store.pieces import open_piece
from influence.store.scores import Scores, open_scores
from influence.store.token_scores import open_token_scores, write_token_scores
from influence.train.kd.models import Emulator, Student, load_coupled, save
from influence.train.stepwise.stages import find_stages, read_stage, stage_folder, write_stage


def flipped(data: bytes) -> bytes:
    """One byte in the middle has its highest bit turned: of a number its sign, of a letter what it is."""
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 0x80]) + data[place + 1 :]


#: Name of a damage -> what becomes of a file, given its content and the content of the same file of another run.
DAMAGE: dict[str, Callable[[bytes, bytes], bytes | None]] = {
    "a byte flipped": lambda data, other: flipped(data) if data else b"x",
    "cut": lambda data, other: data[: len(data) * 2 // 3],
    "removed": lambda data, other: None,
    "swapped with another run's": lambda data, other: other,
    "emptied": lambda data, other: b"",
}


@dataclass(frozen=True)
class Kind:
    """A kind of result.

    Attributes:
        make: Writes one into a folder; another seed gives another run with files of the same names.
        read: Reads all that commands read of it, as a value that can be compared.
    """

    make: Callable[[Path, int], Any]
    read: Callable[[Path], Any]


def make_scores(folder: Path, seed: int) -> Scores:
    return write_scores(
        folder, np.random.default_rng(seed).normal(size=(2, 30)), provenance={"seed": seed}, checked=True
    )


def read_scores(scores: Scores) -> Any:
    documents = scores.documents
    texts = [documents.text(column) for column in range(len(documents))]
    arrays = (scores.dot.tobytes(), scores.gradient_norm.tobytes(), scores.query_nll.tobytes())
    return arrays, scores.queries, documents.ids.tolist(), texts


def make_tokens(folder: Path, seed: int) -> None:
    scores = make_scores(folder, seed)
    value_T = np.random.default_rng(seed).normal(size=4)
    write_token_scores(
        scores.folder, [(0, 3, value_T), (1, 5, -value_T)], {3: np.ones(4, int), 5: np.ones(4, int)}
    )


def read_tokens(folder: Path) -> Any:
    tokens = open_token_scores(open_scores(folder))
    return None if tokens is None else {name: array.tobytes() for name, array in tokens.arrays.items()}


def make_analysis(folder: Path, seed: int) -> None:
    make_scores(folder, seed)
    analyze("concentration", folder, out=folder / "analysis" / "concentration")


def read_analysis(folder: Path) -> Any:
    tables = read_tables(folder, "concentration", ("curves", "power_law", "pareto"))
    return None if tables is None else {name: table.to_csv() for name, table in tables.items()}


def make_piece(folder: Path, seed: int) -> None:
    config = {"seed": seed, "piece": {"of": 60, "first": 0, "end": 30}}
    dot_QD = np.random.default_rng(seed).normal(size=(2, 30))
    write_scores(folder, dot_QD, config=config, kind=PIECE, checked=True)


def make_checkpoints(folder: Path, seed: int) -> None:
    manifest = claim(folder, CHECKPOINTS, {"seed": seed})
    for name in ("early", "late"):
        make_scores(folder / name, seed)
    write_checkpoints(
        folder, [CheckpointRecord("early", f"model {seed}"), CheckpointRecord("late", f"model {seed}")]
    )
    finish(folder, manifest, {})


def _about(removed: int, seed: int, mode: str = "stepwise") -> StageFile:
    return StageFile(
        mode=mode,
        side="left",
        by_step=False,
        keep_positions=False,
        removed=removed,
        total=8,
        seed=seed,
        model="tiny",
        task=TaskRecord(name="sums", settings={}),
        settings={},
    )


def make_stage_run(folder: Path, seed: int) -> None:
    manifest = claim(folder, RUN_KIND, {"seed": seed})
    for removed in (0, 4):
        model = tiny_model(seed=10 * seed + removed)
        about = _about(removed, seed)
        write_stage(stage_folder(folder, removed), model.model, model.tokenizer, about)
    (folder / "metrics.jsonl").write_text(f'{{"step": 1, "epoch": 0.5, "loss": {seed}.5}}\n')
    finish(folder, manifest, {})


def read_stage_run(folder: Path) -> Any:
    open_complete(folder, RUN_KIND)
    stages = find_stages([folder])
    assert (folder / "metrics.jsonl").read_bytes()
    return [(stage.about, read_model(stage.folder)) for stage in stages]


def make_model(folder: Path, seed: int) -> None:
    model = tiny_model(seed=seed)
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    seal(folder, MODEL_KIND, {})


def read_model(folder: Path) -> Any:
    model = load_model(folder, device="cpu")
    return model.fingerprint, model.tokenizer_fingerprint


def make_hessian(folder: Path, seed: int) -> None:
    write_hessian(folder, scale=1.0 + seed)


def read_hessian(folder: Path) -> Any:
    factors = open_factors(folder)
    layers = [factors.layer(name) for name in factors.layers]
    tokens = [factors.token_eigenvalues(name) for name in factors.layers]
    return [(layer.lam.tolist(), dense(layer.activation_eigenvectors).tolist()) for layer in layers], [
        (e_S.tolist(), e_A.tolist()) for e_S, e_A in tokens
    ]


def make_distillation(folder: Path, seed: int) -> None:
    write_distillation(folder, hostile="other " * seed)


def read_distillation(folder: Path) -> Any:
    manifest = open_complete(folder, DISTILLATION)
    for part, kind in (("samples", SAMPLES), ("pairs", PAIRS)):
        open_complete(folder / part, kind)
    lessons = read_lessons(folder / "pairs", folder / "samples")
    traces = list(read_traces(folder / "samples"))
    return manifest["config"], lessons, traces, read_answers(folder).to_csv()


def make_kd(folder: Path, seed: int) -> None:
    save(Emulator(_gpt2(seed)), folder / "emulator")
    save(Student(_gpt2(seed + 10)), folder / "student")
    tiny_model(seed=seed).tokenizer.save_pretrained(folder)
    write_record(folder / STAGE_FILE, _about(8, seed, COUPLED))
    seal(folder, STAGE_KIND, {"run": None})


def _gpt2(seed: int) -> Any:
    return tiny_model("gpt2", dtype=torch.float32, seed=seed).model


def read_kd(folder: Path) -> Any:
    stage = read_stage(folder)
    model = load_coupled(folder, device="cpu")
    weights = {name: tensor.numpy().tobytes() for name, tensor in model.model.state_dict().items()}
    return stage.about, weights, model.tokenizer_fingerprint


def make_index(folder: Path, seed: int) -> None:
    corpus = MemoryCorpus(random_documents(8, seed=seed, longest=12))
    config = IndexConfig(bits=8, bytes=2048, kind="random")
    build_index(tiny_model(seed=1, num_hidden_layers=1), None, corpus, folder, config=config)


def read_index(folder: Path) -> Any:
    index = open_index(folder)
    parts = [(columns.tolist(), sketches.code.tobytes()) for columns, sketches in index.parts()]
    with safe_open(folder / "projections.safetensors", framework="np") as file:
        arrays = {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
    return parts, arrays, index.documents.ids.tolist()


KINDS = {
    "scores": Kind(make_scores, lambda folder: read_scores(open_scores(folder))),
    "token scores": Kind(make_tokens, read_tokens),
    "analysis": Kind(make_analysis, read_analysis),
    "piece": Kind(make_piece, lambda folder: read_scores(open_piece(folder).scores)),
    "checkpoints": Kind(
        make_checkpoints,
        lambda folder: [(name, read_scores(scores)) for name, scores in open_checkpoints(folder)],
    ),
    "hessian": Kind(make_hessian, read_hessian),
    "run of stages": Kind(make_stage_run, read_stage_run),
    "model": Kind(make_model, read_model),
    "evaluation": Kind(
        lambda folder, seed: write_run(folder, {0: 0.9, 8: 0.8}, seed=seed, n=8, timed=4),
        lambda folder: read_evaluation(folder).rows.drop(columns="run", errors="ignore").to_csv(),
    ),
    "index": Kind(make_index, read_index),
    "ICoT-KD model": Kind(make_kd, read_kd),
    "distillation": Kind(make_distillation, read_distillation),
}


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_detected_or_harmless(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = KINDS[name]
    kind.make(tmp_path / "whole", 1)
    kind.make(tmp_path / "other", 2)
    expected = kind.read(tmp_path / "whole")
    assert kind.read(tmp_path / "other") != expected
    counts: Counter[str] = Counter()
    silent = []
    for path in sorted(path for path in (tmp_path / "whole").rglob("*") if path.is_file()):
        file = path.relative_to(tmp_path / "whole")
        other = tmp_path / "other" / file
        for damage, change in DAMAGE.items():
            folder = tmp_path / "damaged"
            shutil.copytree(tmp_path / "whole", folder)
            data = change(path.read_bytes(), other.read_bytes() if other.exists() else b"")
            (folder / file).unlink() if data is None else (folder / file).write_bytes(data)
            outcome = _outcome(lambda: kind.read(folder), expected)  # noqa: B023
            counts[outcome] += 1
            if outcome == "silent":
                silent.append(f"{file} {damage}")
            shutil.rmtree(folder)
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: {dict(counts)}")
    assert not silent, silent
    assert set(counts) <= {"detected", "harmless"}
    assert counts["detected"]


def _outcome(read: Callable[[], Any], expected: Any) -> str:
    try:
        value = read()
    except InfluenceError as error:
        return "detected" if error.fix else "detected, but no next step is named"
    return "harmless" if value == expected else "silent"


@pytest.mark.parametrize("name", KINDS)
def test_verify_covers_every_kind(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    KINDS[name].make(folder, 1)
    runner = CliRunner()
    whole = runner.invoke(cli, ["verify", str(folder)])
    assert whole.exit_code == 0, whole.output
    assert "are as they were written" in whole.output
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert "not checked" not in whole.output
    for path in paths:
        data = path.read_bytes()
        path.write_bytes(flipped(data))
        damaged = runner.invoke(cli, ["verify", str(folder)])
        path.write_bytes(data)
        assert isinstance(damaged.exception, InfluenceError), (path, damaged.output)


@pytest.mark.parametrize(("version", "says"), [(3, "newer version"), (0, "does not fit format")])
def test_another_version_of_the_manifest_is_refused(tmp_path: Path, version: int, says: str) -> None:
    make_scores(tmp_path / "run", 1)
    path = tmp_path / "run" / "manifest.json"
    path.write_text(path.read_text().replace('"format": 2', f'"format": {version}'))
    with pytest.raises(InfluenceError, match=says):
        open_scores(tmp_path / "run")


OLD = Path(__file__).parents[1] / "golden" / "stores-2451d83"


def test_stores_of_the_first_format_open_or_are_refused_with_the_reason(tmp_path: Path) -> None:
    """Made by commit 2451d83, whose manifests list no checksum of token scores, samples or tables."""
    shutil.copytree(OLD, tmp_path / "old")
    scores = open_scores(tmp_path / "old" / "scores")
    assert scores.dot.tolist() == [[-3, -2, -1, 0], [1, 2, 3, 4]]
    assert len(open_complete(tmp_path / "old" / "samples", SAMPLES)["config"]) > 3
    assert len(list(read_traces(tmp_path / "old" / "samples"))) == 3
    with pytest.raises(InfluenceError, match="not listed in the manifest") as caught:
        open_token_scores(scores)
    assert "influence tokens" in str(caught.value.fix)
    with pytest.raises(InfluenceError, match="have no manifest") as caught:
        read_tables(scores.folder, "sources", ("curves",))
    assert "influence analyze sources" in str(caught.value.fix)
    result = CliRunner().invoke(cli, ["verify", str(scores.folder)])
    assert "3 files" in result.output
    assert (
        "not checked, for no manifest lists them: analysis/sources/curves.parquet, token_scores"
        in result.output
    )
