"""Asking a model folder the way its training asked it: as any language model, or as a stage of stepwise removal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from influence.generate.local import LocalGenerator
from influence.generate.request import Generator, Reply, Request
from influence.models.load import LanguageModel, load_model
from influence.train.answering import Asked, answer_ids
from influence.train.stepwise.generate import Marks, Prompt, generate
from influence.train.stepwise.sequences import answer_mark, prompt_ids, separator
from influence.train.stepwise.stages import STAGE_FILE, Stage, read_stage


def load_generator(model: str | Path, batch_size: int = 32, device: str | None = None) -> Generator:
    """The generator of a model folder or hub name; a stage of stepwise removal is asked as one."""
    folder = Path(model)
    loaded = load_model(model, device=device)
    if (folder / STAGE_FILE).is_file():
        return StageGenerator(loaded, read_stage(folder), batch_size)
    return LocalGenerator(loaded, batch_size)


@dataclass(frozen=True)
class StageGenerator:
    """Greedy answers of a stage: prompt and separator are given; what follows the second separator is the reply.

    What is left of the trace is generated and counted; it is no part of the reply.
    """

    language_model: LanguageModel
    stage: Stage
    batch_size: int = 32

    @property
    def name(self) -> str:
        """The model's parameters and its stage."""
        return f"stage:{self.language_model.fingerprint}:{self.stage.digest}"

    def replies(self, requests: Sequence[Request]) -> Iterator[tuple[int, Reply]]:
        """(number of the request, reply), batch by batch; the most likely one whatever the request's sampling says."""
        tokenizer = self.language_model.tokenizer
        gap = self.stage.removed if self.stage.keep_positions else 0
        right = self.stage.side == "right"
        prompts = [
            Prompt(tuple(ids), gap, right)
            for ids in prompt_ids((request.prompt for request in requests), tokenizer)
        ]
        end: Any = tokenizer.eos_token_id
        marks = Marks(separator(tokenizer), int(end))
        order = sorted(range(len(requests)), key=lambda number: -len(prompts[number].tokens))
        for start in range(0, len(order), self.batch_size):
            numbers = order[start : start + self.batch_size]
            most = max(requests[number].sampling.max_tokens for number in numbers)
            said = generate(self.language_model.model, [prompts[number] for number in numbers], marks, most)
            for number, ids in zip(numbers, said, strict=True):
                yield number, self._reply(ids, prompts[number], marks, most)

    def _reply(self, ids: list[int], prompt: Prompt, marks: Marks, most: int) -> Reply:
        tokenizer = self.language_model.tokenizer
        asked = Asked([], marks, tuple(answer_mark(tokenizer)), 0, most)
        text = str(tokenizer.decode(answer_ids(ids, asked))).strip()
        return Reply(text, len(ids), len(prompt.tokens), len(ids) < most)
