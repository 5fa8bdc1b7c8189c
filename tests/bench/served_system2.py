"""Samples of System 2 through a real HTTP server, once sound and once failing: the same data, nothing lost or doubled.

`python tests/bench/served_system2.py SEED` serves `SEED/base/words` by the OpenAI protocol, where SEED is a seed's
folder of `python -m reports.system2`, and distils its coin-flip inputs through it up to the pairs, twice: in the
clear, and with every tenth request failing in one of the ways servers fail.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import click
from openai_server import FAULTS, OpenAIServer, prompt_of

from influence.data.chats import prompt_ids
from influence.distill.filter import filter_traces
from influence.distill.prompt_texts import Prompts
from influence.distill.sample import Plan, sample
from influence.distill.systems import named_system
from influence.generate.client import ChatClient
from influence.generate.request import Sampling
from influence.generate.server import ServerGenerator
from influence.models.decode import Draw, continuations
from influence.models.load import LanguageModel, load_model
from reports.system2.scales import SCALES
from reports.system2.tasks import questions


class Served:
    """A language model as the answer of a server: its text is a function of the request."""

    def __init__(self, model: LanguageModel) -> None:
        self._model, self._one_at_a_time = model, threading.Lock()

    def __call__(self, body: dict[str, Any]) -> str:
        with self._one_at_a_time:
            ids = prompt_ids(self._model.tokenizer, prompt_of(body))
            draw = Draw([body["seed"]], body["temperature"], body["top_p"])
            stop = tuple(body.get("stop", ()))
            return continuations(self._model, [ids], body["max_tokens"], draw, stop)[0].text


@click.command()
@click.argument("seed", type=click.Path(path_type=Path, exists=True))
@click.option("--inputs", default=100, show_default=True, help="How many.")
@click.option("--samples", default=8, show_default=True, help="Of an input, two calls each.")
def main(seed: Path, inputs: int, samples: int) -> None:
    """Sample a seed's base model through a server that works and through one that fails."""
    (task,) = (task for task in SCALES["laptop"].tasks if task.name == "coin-flip")
    asked = questions(task, int(seed.name.removeprefix("seed-")))
    system = named_system("rar2", Prompts(seed / "asked" / "words" / "prompts"))
    plan = Plan(samples=samples, sampling=Sampling(max_tokens=40, temperature=1.0))
    server = OpenAIServer(Served(load_model(seed / "base" / "words")))
    server.slow = 0.2
    pairs = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("sound", "failing"):
            if name == "failing":
                server.fault = lambda n: FAULTS[n // 10 % len(FAULTS)] if n % 10 == 9 else ""
            server.bodies.clear()
            server.served.clear()
            generator = ServerGenerator(ChatClient(server.url, "tiny", sleep=lambda seconds: None))
            out = Path(folder) / name
            items = asked.split("train")[:inputs]
            told = sample(items, system, generator, out / "samples", kind=asked.kind, plan=plan)
            kept = filter_traces(out / "samples", out / "pairs", prompts=system.prompts)
            pairs[name] = [
                (out / part).read_bytes() for part in ("samples/traces.jsonl", "pairs/pairs.jsonl")
            ]
            answered = Counter((prompt_of(body), body["seed"]) for body in server.served)
            click.echo(
                f"{name}: {len(server.bodies):,} requests for {told.replies:,} replies; served more than once: "
                f"{sum(count > 1 for count in answered.values())}; {kept.line()}"
            )
    server.stop()
    same = pairs["sound"] == pairs["failing"]
    click.echo(f"Traces and pairs are {'the same to the byte' if same else 'NOT THE SAME'}.")
    sys.exit(not same)


if __name__ == "__main__":
    main()
