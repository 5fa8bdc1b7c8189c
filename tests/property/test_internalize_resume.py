"""A run of stages killed anywhere by SIGKILL and started again is the run that was never killed, bit for bit."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from chain_tasks import sums_task

import influence.train.core.trainer as core_module
import influence.train.stepwise.run as stepwise_module
import influence.train.stepwise.stages as stages_module
import influence.train.stepwise.trainer as trainer_module
from influence.data.tasks.task import Task
from influence.errors import StoreError
from influence.train.stepwise.run import internalize
from influence.train.stepwise.settings import Settings

#: Everything of which a resumed run must know the state: order, draws, dropout, AdamW's moments and when they went.
LINEAR = Settings(
    delta=2,
    smoothing=0.5,
    explicit_epochs=0.5,
    after_epochs=0.5,
    batch_size=8,
    lr=1e-2,
    dropout=0.2,
    check_every=3,
)
#: Here the place in the schedule depends on what was measured.
ADAPTIVE = Settings(
    adaptive=True,
    recovered=0.001,
    patience=2,
    cap=0.5,
    after_epochs=0.5,
    batch_size=8,
    accumulation=2,
    lr=1e-2,
    dropout=0.2,
    reset_optimizer=False,
    check_every=1,
)

#: Where a process dies: before the n-th call of a function, or after it.
DEATHS: list[tuple[Any, str, int, bool]] = [
    (trainer_module.StageTrainer, "training_step", 4, False),
    (trainer_module.StageTrainer, "training_step", 13, True),
    (core_module, "add_metrics", 3, False),
    (core_module, "add_metrics", 3, True),
    (trainer_module, "write_stage", 2, True),
    (stages_module, "save_plain", 2, True),
    (core_module, "write_json", 5, False),
    (core_module, "write_json", 5, True),
    (transformers.TrainerState, "save_to_json", 7, False),
    (transformers.TrainerState, "save_to_json", 7, True),
    (transformers.Trainer, "_save_rng_state", 2, False),
    (stepwise_module, "finish", 1, False),
    (stepwise_module, "finish", 1, True),
]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return sums_task(tmp_path_factory.mktemp("task") / "sums", digits=(4, 5))


@pytest.fixture(scope="module")
def whole(
    request: pytest.FixtureRequest, task: Task, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Path]:
    settings = LINEAR if request.param == "linear" else ADAPTIVE
    out = tmp_path_factory.mktemp("whole") / "run"
    _run(task, out, settings)
    return settings, out


@pytest.fixture(autouse=True)
def _no_bars() -> None:
    transformers.utils.logging.disable_progress_bar()


def _run(task: Task, out: Path, settings: Settings) -> dict[str, Any]:
    return internalize(task, "tiny", out, settings, resume_seconds=0)  # a state after each step


def _killed(task: Task, out: Path, settings: Settings, death: tuple[Any, str, int, bool]) -> bool:
    """Run in a child that dies where it is told; whether it came to that."""
    child = os.fork()
    if child == 0:
        _die_at(*death)
        try:
            _run(task, out, settings)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _die_at(place: Any, name: str, call: int, after: bool) -> None:
    function: Callable[..., Any] = getattr(place, name)
    calls = 0

    def deadly(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(place, name, deadly)


def _contents(out: Path) -> dict[str, Any]:
    """All that a run leaves, but for the time it took and the events of TensorBoard."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    files = {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.parent.name.startswith("stage-")
    }
    return {"metrics": [line | {"seconds": 0} for line in lines], **files}


@pytest.mark.parametrize("whole", ["linear"], indirect=True)
@pytest.mark.parametrize("death", DEATHS, ids=lambda d: f"{'after' if d[3] else 'before'}-{d[1]}-{d[2]}")
def test_a_killed_run_goes_on_bit_for_bit(
    whole: tuple[Settings, Path], task: Task, tmp_path: Path, death: tuple[Any, str, int, bool]
) -> None:
    _dies_and_goes_on(whole, task, tmp_path / "run", death)


@pytest.mark.parametrize("whole", ["adaptive"], indirect=True)
@pytest.mark.parametrize("steps", [1, 11, 20])
def test_a_killed_run_measures_and_waits_on(
    whole: tuple[Settings, Path], task: Task, tmp_path: Path, steps: int
) -> None:
    death = (trainer_module.StageTrainer, "training_step", steps, True)
    _dies_and_goes_on(whole, task, tmp_path / "run", death)


def _dies_and_goes_on(
    whole: tuple[Settings, Path], task: Task, out: Path, death: tuple[Any, str, int, bool]
) -> None:
    settings, reference = whole
    assert _killed(task, out, settings, death)
    record = _run(task, out, settings)
    assert not (out / "resume").exists()
    assert not list(out.glob("*.part"))
    assert _contents(out) == _contents(reference)
    assert record["total"] == 4


def test_the_resumed_run_did_not_begin_again(task: Task, tmp_path: Path) -> None:
    assert _killed(task, tmp_path / "run", LINEAR, (trainer_module.StageTrainer, "training_step", 9, False))
    assert _run(task, tmp_path / "run", LINEAR)["resumed_at_step"] == 8


@pytest.mark.parametrize("whole", ["linear"], indirect=True)
def test_dropout_smoothing_and_seed_matter_here(
    whole: tuple[Settings, Path], task: Task, tmp_path: Path
) -> None:
    """Otherwise equal weights would prove little."""
    settings, reference = whole
    for name, other in {"dropout": 0.1, "smoothing": None, "seed": 1}.items():
        values = {field: getattr(settings, field) for field in settings.__dataclass_fields__}
        _run(task, tmp_path / name, Settings(**{**values, name: other}))
        last = "stage-004/model.safetensors"
        assert (tmp_path / name / last).read_bytes() != (reference / last).read_bytes()


def test_a_finished_run_is_not_trained_again_and_no_other_run_takes_its_folder(
    task: Task, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    first = _run(task, out, LINEAR)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert _run(task, out, LINEAR) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    with pytest.raises(StoreError, match="other arguments"):
        _run(task, out, ADAPTIVE)
