"""Faults of disks and of people: blocks that are truncated, corrupted, foreign or stale, two runs in one folder, a
corpus that changes. The result is that of an undisturbed run, or a refusal that says what to do.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

import influence.engine.fit as fit_module
import influence.engine.index.build as index_module
import influence.engine.loops as loops_module
import influence.engine.run as run_module
import influence.engine.score as score_module
from influence.cli.main import cli
from influence.config import IndexConfig
from influence.engine.fit import fit_hessian
from influence.engine.index.build import build_index
from influence.engine.score import score
from influence.errors import StoreError
from influence.files import JOURNAL
from influence.store.artefact import claim, finish
from influence.store.factors import Factors, open_factors, save_tensors
from influence.store.index import open_index
from influence.store.scores import open_scores
from influence.train.core.resume import last_checkpoint
from influence.types import Document

MODEL = tiny_model("llama", num_hidden_layers=1)
CORPUS = MemoryCorpus(random_documents(14, seed=9, longest=20))
QUERIES = random_queries(2)

#: What a fault does to a file: its new content, given the old one.
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[:-7],
    "one bit": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]
    ),
    "header": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "garbage": lambda data: b"\xff" * len(data),
}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (score_module, index_module):
        monkeypatch.setattr(module, "BLOCK_TOKENS", 50)
    monkeypatch.setattr(loops_module, "SECONDS_BETWEEN_SAVES", -1.0)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@dataclass(frozen=True)
class Job:
    """A job, what it leaves undisturbed, and what it had written when it was stopped shortly before its end."""

    run: Callable[[Path], object]
    undisturbed: Path
    stopped: Path


@pytest.fixture(scope="module")
def factors(tmp_path_factory: pytest.TempPathFactory) -> Factors:
    return fit_hessian(MODEL, CORPUS, out=tmp_path_factory.mktemp("factors") / "hessian")


@pytest.fixture(scope="module")
def jobs(factors: Factors, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    runs: dict[str, tuple[Callable[[Path], object], object, str]] = {
        "fit": (
            lambda out: fit_hessian(MODEL, CORPUS, out=out, batch_tokens=30),
            fit_module,
            "write_kronfluence_arguments",
        ),
        "score": (
            lambda out: score(MODEL, factors, QUERIES, CORPUS, out, batch_tokens=30),
            score_module,
            "allocate_scores",
        ),
        "index": (
            lambda out: build_index(
                MODEL, factors, CORPUS, out, batch_tokens=30, config=IndexConfig(bytes=4096)
            ),
            run_module,
            "finish",
        ),
    }
    made = {}
    for name, (run, module, last) in runs.items():
        folder = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            for blocked in (score_module, index_module):
                patch.setattr(blocked, "BLOCK_TOKENS", 50)
            patch.setattr(loops_module, "SECONDS_BETWEEN_SAVES", -1.0)
            run(folder / "undisturbed")

            def stop(*arguments: object, **named: object) -> None:
                raise KeyboardInterrupt

            patch.setattr(module, last, stop)
            with pytest.raises(KeyboardInterrupt):
                run(folder / "stopped")
        made[name] = Job(run, folder / "undisturbed", folder / "stopped")
    return made


def resumable(folder: Path) -> Iterator[Path]:
    """Files that a resumed run would use."""
    skipped = ("manifest.json", JOURNAL)
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in skipped)


@pytest.mark.parametrize("name", ["fit", "score", "index"])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.filterwarnings("ignore:.*it is made again")
def test_a_damaged_file_of_a_stopped_run_is_made_again(
    jobs: dict[str, Job], tmp_path: Path, name: str, damage: str
) -> None:
    """Every third file at once, others with each damage: blocks in the middle, sums, tokens."""
    job, out = jobs[name], tmp_path / "run"
    shutil.copytree(job.stopped, out)
    damaged = list(resumable(out))[list(DAMAGE).index(damage) % 3 :: 3]
    assert damaged
    for path in damaged:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    job.run(out)
    assert contents(out) == contents(job.undisturbed)


def test_it_says_which_file_is_made_again(jobs: dict[str, Job], tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(jobs["score"].stopped, out)
    (out / "blocks" / "000001.safetensors").write_bytes(b"")
    with pytest.warns(
        UserWarning, match=r"blocks/000001\.safetensors is damaged or of another run: it is made"
    ):
        jobs["score"].run(out)


@pytest.mark.filterwarnings("ignore:.*it is made again")
def test_blocks_of_another_run_are_not_used(factors: Factors, jobs: dict[str, Job], tmp_path: Path) -> None:
    """Same shape, same names, other queries; and a block under another block's name."""
    out, other = tmp_path / "run", tmp_path / "other"
    shutil.copytree(jobs["score"].stopped, out)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_module, "allocate_scores", None)
        with pytest.raises(TypeError):
            score(MODEL, factors, QUERIES[::-1], CORPUS, other, batch_tokens=30)
    shutil.copy(other / "blocks" / "000000.safetensors", out / "blocks" / "000000.safetensors")
    shutil.copy(out / "blocks" / "000002.safetensors", out / "blocks" / "000001.safetensors")
    jobs["score"].run(out)
    assert contents(out) == contents(jobs["score"].undisturbed)


@pytest.mark.filterwarnings("ignore:.*it is made again")
def test_a_run_without_its_journal_starts_again(jobs: dict[str, Job], tmp_path: Path) -> None:
    for name, job in jobs.items():
        out = tmp_path / name
        shutil.copytree(job.stopped, out)
        (out / JOURNAL).unlink()
        job.run(out)
        assert contents(out) == contents(job.undisturbed)


@pytest.mark.parametrize("damage", ["truncated", "one bit"])
@pytest.mark.parametrize("name", ["fit", "score", "index"])
def test_a_damaged_file_of_a_finished_run_is_refused(
    jobs: dict[str, Job], tmp_path: Path, name: str, damage: str
) -> None:
    use: dict[str, Callable[[Path], object]] = {
        "fit": lambda out: score(MODEL, open_factors(out), QUERIES, CORPUS, tmp_path / "run"),
        "score": open_scores,
        "index": lambda out: list(open_index(out).parts()),
    }
    unused = ("tokens.json", "factor_arguments.json", "covariance", "eigenvalues", "projections")
    for number, path in enumerate(resumable(jobs[name].undisturbed)):
        if name != "score" and any(word in path.name for word in unused):
            continue
        out = tmp_path / f"{number}"
        shutil.copytree(jobs[name].undisturbed, out)
        file = out / path.relative_to(jobs[name].undisturbed)
        file.write_bytes(DAMAGE[damage](file.read_bytes()))
        with pytest.raises(StoreError) as caught:
            use[name](out)
        assert file.name in str(caught.value)
        assert "delete the folder and run the command that made it again" in str(caught.value.fix)


def test_verify_reads_every_file(jobs: dict[str, Job], tmp_path: Path) -> None:
    folders = [job.undisturbed for job in jobs.values()]
    result = CliRunner().invoke(cli, ["verify", *map(str, folders)])
    assert result.exit_code == 0, result.output
    assert all(f"{folder}: " in result.output for folder in folders)
    for name, job in jobs.items():
        for path in resumable(job.undisturbed):
            out = tmp_path / "copy"
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(job.undisturbed, out)
            file = out / path.relative_to(job.undisturbed)
            file.unlink()
            result = CliRunner().invoke(cli, ["verify", str(out)])
            assert isinstance(result.exception, StoreError), (name, path)
            assert str(file) in str(result.exception)


# -- two runs in one folder

_SECOND = """
import sys
from pathlib import Path
from influence.errors import StoreError
from influence.store.artefact import claim
try:
    claim(Path(sys.argv[1]), "scores", {"a": 1})
except StoreError as error:
    sys.exit(error.message)
sys.exit(7)
"""


def second(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", _SECOND, folder], capture_output=True, text=True, timeout=60)


def test_a_second_run_in_a_folder_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    manifest = claim(tmp_path, "scores", {"a": 1})
    assert claim(tmp_path, "scores", {"a": 1}) == manifest  # the same process goes on
    refused = second(tmp_path)
    assert refused.returncode == 1
    assert f"Another process is writing into {tmp_path}." in refused.stderr
    finish(tmp_path, manifest, {})
    assert second(tmp_path).returncode == 7  # it finds it done
    assert not (tmp_path / JOURNAL).exists()


def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    dies = _SECOND.replace("sys.exit(7)", "import os; os.kill(os.getpid(), 9)")
    killed = subprocess.run([sys.executable, "-c", dies, tmp_path], capture_output=True, timeout=60)
    assert killed.returncode == -9
    assert (tmp_path / "manifest.json").exists()
    assert claim(tmp_path, "scores", {"a": 1})["status"] == "running"


# -- a corpus that changes


class Growing(MemoryCorpus):
    """Another document each time it is read."""

    def __iter__(self) -> Iterator[Document]:
        self.documents.append(Document(f"new{len(self.documents)}", "abc abc"))
        return iter(self.documents)


class Edited(MemoryCorpus):
    """The same size, another text the second time."""

    def __iter__(self) -> Iterator[Document]:
        self.documents[3] = Document("d3", self.documents[3].text + "a")
        return iter(self.documents)


@pytest.mark.parametrize("kind", [Growing, Edited])
def test_a_corpus_that_changes_while_it_is_read(kind: type[MemoryCorpus], tmp_path: Path) -> None:
    corpus = kind(CORPUS.documents)
    for name, run in {
        "fit": lambda: fit_hessian(MODEL, corpus, out=tmp_path / "fit"),
        "score": lambda: score(MODEL, None, QUERIES, corpus, tmp_path / "score"),
        "index": lambda: build_index(MODEL, None, corpus, tmp_path / "index", config=IndexConfig(bytes=4096)),
    }.items():
        with pytest.raises(StoreError, match="changed while it was read"):
            run()
        assert not (tmp_path / name / "documents.arrow").exists()


# -- checkpoints of a training


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("file", ["optimizer.pt", "model.safetensors", "trainer_state.json"])
@pytest.mark.filterwarnings("ignore:.*training goes on without this checkpoint")
def test_training_goes_on_from_a_checkpoint_that_is_whole(tmp_path: Path, file: str, damage: str) -> None:
    if file == "model.safetensors" and damage == "one bit":
        pytest.skip("safetensors has no checksum")
    for step in (5, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        torch.save({"x": torch.arange(100)}, folder / "optimizer.pt")
        save_tensors(folder / "model.safetensors", {"x": torch.arange(100)})
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    path = tmp_path / "checkpoint-10" / file
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
