"""torchrun on two machines, as far as one machine has them: `python tests/multi_node.py`.

Each is a network namespace with an end of one cable. A run that both share must leave what one process leaves; and when
the cable is pulled, the program must end on both with a line. Needs the right to make namespaces, and `ip`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "cli")]

from kills import contents, differing  # noqa: E402
from texts import random_documents  # noqa: E402
from tiny import tiny_model  # noqa: E402

_MACHINES = ("influence-a", "influence-b")
_ADDRESS = "10.213.77.{}"
_SILENCE = 10


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def machines() -> Iterator[None]:
    """Two namespaces, joined by a cable."""
    try:
        for name in _MACHINES:
            ip("netns", "add", name)
        ip(
            "link",
            "add",
            "cable0",
            "netns",
            _MACHINES[0],
            "type",
            "veth",
            "peer",
            "cable1",
            "netns",
            _MACHINES[1],
        )
        for number, name in enumerate(_MACHINES):
            ip("-n", name, "address", "add", _ADDRESS.format(number + 1) + "/24", "dev", f"cable{number}")
            ip("-n", name, "link", "set", f"cable{number}", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in _MACHINES:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def start(arguments: list[str], log: Path) -> list[subprocess.Popen[str]]:
    """`torchrun` with one process on each machine."""
    started, endpoint = [], _ADDRESS.format(1) + ":29400"
    for number, name in enumerate(_MACHINES):
        command = [
            *("ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"),
            *("--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint),
            *("--rdzv-conf", f"is_host={number == 0}", "--local-addr", _ADDRESS.format(number + 1)),
            *("-m", "influence", *arguments),
        ]
        variables = {"GLOO_SOCKET_IFNAME": f"cable{number}", "INFLUENCE_SILENCE_SECONDS": str(_SILENCE)}
        with log.with_suffix(f".{number}").open("w") as file:
            started.append(
                subprocess.Popen(command, env=os.environ | variables, stdout=file, stderr=file, text=True)
            )
    return started


def main() -> None:
    """A shared run, then one whose cable is pulled."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name, machines():
        folder = Path(name)
        model = tiny_model("llama")
        model.model.save_pretrained(folder / "model")
        model.tokenizer.save_pretrained(folder / "model")
        documents = random_documents(1000, seed=4, shortest=5, longest=30)
        rows = [{"id": d.id, "text": d.text, "source": d.source} for d in documents]
        (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

        def fit(out: str) -> list[str]:
            return [
                *(
                    "fit-hessian",
                    "--model",
                    f"{folder}/model",
                    "--corpus",
                    f"{folder}/corpus.jsonl",
                    "--device",
                    "cpu",
                ),
                *("--dtype", "float64", "--batch-tokens", "60", "--out", f"{folder}/{out}"),
            ]

        alone = [sys.executable, "-m", "influence", *fit("alone")]
        subprocess.run(alone, check=True, capture_output=True)
        both = start(fit("shared"), folder / "shared")
        assert [process.wait(timeout=300) for process in both] == [0, 0], (folder / "shared.0").read_text()
        assert not differing(contents(folder / "shared"), contents(folder / "alone"), rounded=True)
        sys.stdout.write("two machines leave what one process leaves\n")
        sys.stdout.flush()

        both = start(fit("cut"), folder / "cut")
        while not (folder / "cut" / "tokens.json").exists():
            time.sleep(0.1)
        ip("-n", _MACHINES[0], "link", "set", "cable0", "down")
        pulled = time.monotonic()
        for number in range(2):
            log = folder / f"cut.{number}"
            while "Error:" not in log.read_text():
                assert time.monotonic() - pulled < 180, "no word of it"
                time.sleep(0.5)
            (said,) = [line for line in log.read_text().splitlines() if line.startswith("Error:")]
            sys.stdout.write(f"machine {number}, {time.monotonic() - pulled:.0f} s after that: {said}\n")
            sys.stdout.flush()
        for process in both:  # torchrun itself waits for what does not come where it is cut off
            process.kill()


if __name__ == "__main__":
    main()
