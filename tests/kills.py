"""Jobs killed by SIGKILL at random moments, and what they leave: `python tests/kills.py --kills 30`.

Each job is started, killed at a random moment of the time that an undisturbed run takes, started again, and so on;
then it may end. It must leave, byte for byte, what the undisturbed run left.

With `--processes 2` fit, score and index run as torchrun would have them: one of the processes is killed, and the run
goes on with as many or with one. The sums of a fit then differ by rounding, so it is one in float64.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "cli")]

from chain_tasks import sums_task  # noqa: E402
from inputs import write_model_corpus_queries  # noqa: E402
from program import Result, Server  # noqa: E402
from texts import random_queries  # noqa: E402

from influence.data.queries import write_queries  # noqa: E402

#: Job -> its arguments, given the folder of the inputs and where to write.
JOBS: dict[str, Callable[[Path, Path], list[object]]] = {
    "fit": lambda given, out: [
        "fit-hessian",
        "--model",
        given / "model",
        *_corpus(given),
        "--out",
        out,
        *_SMALL,
    ],
    "score": lambda given, out: [
        *("score", "--queries", given / "queries.jsonl", "--model", given / "model", *_corpus(given)),
        *("--hessian", given / "hessian", "--out", out, *_SMALL),
    ],
    "index": lambda given, out: [
        *("index", "build", "--model", given / "model", "--hessian", given / "hessian", *_corpus(given)),
        *("--bytes", 1024, "--out", out, *_SMALL),
    ],
    "complete": lambda given, out: [
        *("complete", given / "questions.jsonl", "--model", given / "model", "--max-new-tokens", 20),
        *("--out", out / "queries.jsonl", "--device", "cpu"),
    ],
    "train": lambda given, out: [
        *("train", "pretrain", *_corpus(given), "--size", "tiny", "--epochs", 1, "--dtype", "fp32"),
        *("--out", out / "trained"),
    ],
    "stepwise": lambda given, out: [
        *(
            "train",
            "stepwise",
            "--task",
            given / "sums",
            "--model",
            "tiny",
            "--batch-size",
            8,
            "--lr",
            "1e-2",
        ),
        *("--check-examples", 8, "--delta", 2, "--out", out / "stages"),
    ],
    "evaluate": lambda given, out: [
        *("evaluate", _copied(given / "stages", out / "stages"), "--task", given / "sums"),
        *("--split", "valid", "--timed", 0),
    ],
    "merge": lambda given, out: ["merge", given / "piece-1", given / "piece-2", "--out", out / "scores"],
    "tokens": lambda given, out: [
        *("tokens", _copied(given / "scores", out / "scores"), "--model", given / "model"),
        *("--hessian", given / "hessian", "--device", "cpu"),
    ],
}
#: Those that several processes can share.
SHARED = ("fit", "score", "index")
_SMALL = ("--batch-tokens", 150, "--device", "cpu")
#: What says when and how a result was made, and what the run that finished it had to do.
_RECORDS = (
    "manifest.json",
    "training.json",
    "queries.provenance.json",
    "run.toml",
    "queries.jsonl.run.toml",
)


#: How long a training took, in its metrics.
_SECONDS = re.compile(rb'"seconds": [0-9.]+')


def _copied(folder: Path, copy: Path) -> Path:
    """What a job adds to, in its own place."""
    if not copy.exists():
        shutil.copytree(folder, copy)
    return copy


def _corpus(given: Path) -> tuple[object, ...]:
    return ("--corpus", given / "corpus.jsonl")


def write_inputs(folder: Path, program: Server) -> None:
    """A tiny model, its Hessian, a corpus and queries."""
    write_model_corpus_queries(folder, documents=300)
    write_queries(random_queries(60), folder / "questions.jsonl", completed=False)
    _run(program, JOBS["fit"](folder, folder / "hessian"))


def write_scores(folder: Path, program: Server) -> None:
    """Scores, and the pieces of them."""
    _run(program, JOBS["score"](folder, folder / "scores"))
    for n in (1, 2):
        _run(program, [*JOBS["score"](folder, folder / f"piece-{n}"), "--shard", f"{n}/2"])


def write_stages(folder: Path, program: Server) -> None:
    """A task and the stages of a model that learned it."""
    sums_task(folder / "sums")
    _run(program, JOBS["stepwise"](folder, folder))


def _run(program: Server, arguments: list[object]) -> None:
    done = program.run(*arguments)
    assert done.exit_code == 0, done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the records of when and how."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in _RECORDS]
    files = [path for path in files if path.parent.name != "tensorboard"]  # its events carry times
    return {str(path.relative_to(folder)): _SECONDS.sub(b"", path.read_bytes()) for path in files}


@dataclass(frozen=True)
class Killed:
    """What became of one job: how often it was killed, and how many files its result has."""

    job: str
    kills: int
    files: int


def differing(found: dict[str, bytes], expected: dict[str, bytes], rounded: bool) -> list[str]:
    """Files that are not equal; of `rounded` tensors, those that are not close. Eigenvectors may turn their signs."""
    names = sorted(found.keys() | expected.keys())
    differ = [name for name in names if found.get(name) != expected.get(name)]
    if not rounded:
        return differ
    return [name for name in differ if "eigenvectors" not in name and not _close(found, expected, name)]


def _close(found: dict[str, bytes], expected: dict[str, bytes], name: str) -> bool:
    if name not in found or name not in expected or not name.endswith(".safetensors"):
        return False
    ours, theirs = load(found[name]), load(expected[name])
    return all(np.allclose(ours[key], a, rtol=0, atol=1e-9 * abs(a).max()) for key, a in theirs.items())


def kill(
    program: Server,
    given: Path,
    folder: Path,
    job: str,
    kills: int,
    seed: int,
    processes: int | None = None,
) -> Killed:
    """Kill a job so often, let it end, and compare; AssertionError where it differs.

    Args:
        processes: How many share it; None: one, without torchrun.
    """
    rounded = processes is not None and job == "fit"

    def arguments(given: Path, out: Path) -> list[object]:
        return [*JOBS[job](given, out), *(["--dtype", "float64"] if rounded else [])]

    def start(kill_after: float | None = None) -> Result:
        many = rng.choice([processes, None])
        return program.run(
            *arguments(given, out), kill_after=kill_after, processes=many, victim=rng.randrange(many or 1)
        )

    whole, out = folder / "undisturbed", folder / "killed"
    for path in (whole, out):
        path.mkdir(parents=True)
    started = time.monotonic()
    done = program.run(*arguments(given, whole))
    seconds = time.monotonic() - started
    assert done.exit_code == 0, done.stderr
    rng = random.Random(seed)
    killed = 0
    while killed < kills:
        result = start(rng.uniform(0, seconds))
        if result.exit_code == 0:  # it was quick, and is done: once more from the start
            assert not differing(contents(out), contents(whole), rounded), job
            _empty(out)
        else:
            assert result.exit_code == -9 or processes, result.stderr
            assert "Traceback" not in result.stderr, result.stderr
            killed += 1
    done = start()
    finished_by_a_killed_run = "already exists" in done.stderr
    assert done.exit_code == 0 or finished_by_a_killed_run, done.stderr
    left = contents(out)
    if finished_by_a_killed_run:  # killed after its last act: only its working folder is still there
        left = {name: data for name, data in left.items() if ".part" not in name}
    names = differing(left, contents(whole), rounded)
    assert not names, f"{job}: {', '.join(names)}"
    return Killed(job, killed, len(left))


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def main() -> None:
    """All jobs, the kills shared out among them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = Server(folder)
        write_inputs(folder, program)
        write_scores(folder, program)
        write_stages(folder, program)
        jobs = SHARED if asked.processes else tuple(JOBS)
        for number, job in enumerate(jobs):
            share = asked.kills // len(jobs) + (number < asked.kills % len(jobs))
            of = folder / f"of-{job}"
            done = kill(program, folder, of, job, share, asked.seed + number, asked.processes)
            sys.stdout.write(f"{done.job}: killed {done.kills} times, then all {done.files} files equal\n")
            sys.stdout.flush()
        program.close()


if __name__ == "__main__":
    main()
