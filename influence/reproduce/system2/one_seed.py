"""One seed: for each task a base model, its distillation with controls and the other internalisers.

Each step is done when its folder is there, whole; there is no other record of progress. All go on by themselves where a
killed process left them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from influence.analysis.distillation import read_answers
from influence.generate.kept import KeptReplies
from influence.generate.local import LocalGenerator
from influence.generate.request import Sampling
from influence.models.load import LanguageModel, load_model
from influence.report.distillation import write_results
from influence.reproduce.steps import Step
from influence.reproduce.system2.scales import Scale, TaskScale
from influence.reproduce.system2.tasks import questions, text_cases, write_prompts
from influence.reproduce.system2.text import examples
from influence.reproduce.system2.vocabulary import tokenizer
from influence.store.artefact import read_manifest
from influence.train.distill.distillation import Recipe, distil
from influence.train.distill.evaluate import ask_at_once, write_answers
from influence.train.distill.internalisers.answering import load_generator
from influence.train.distill.internalisers.internalise import internalise
from influence.train.distill.internalisers.settings import TuneSettings
from influence.train.distill.lessons import read_lessons
from influence.train.distill.names import CONTEXT, STEPWISE
from influence.train.distill.prompt_files import Prompts
from influence.train.distill.sample import Plan
from influence.train.distill.systems import named_system
from influence.train.distill.wordings import Wordings
from influence.train.internalize.configs import Shape
from influence.train.sft import sft

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

#: Positions of the base model: no prompt with its reply is longer.
_POSITIONS = 256
#: Prompts decoded together.
_BATCH = 128

#: Internaliser -> name of its model in the tables.
WAY_NAMES = {"stepwise": STEPWISE, "context": CONTEXT}


class OneSeed:
    """All of a seed, in one folder."""

    def __init__(self, folder: Path, scale: Scale, seed: int, say: Callable[[str], None]) -> None:
        self.folder, self.scale, self.seed, self._say = folder, scale, seed, say

    def steps(self) -> list[Step]:
        """For each task its base model, its distillation, the other ways, and the page."""
        steps = []
        for task in self.scale.tasks:
            run, base = self.folder / task.name, self._base(task)
            steps.append(
                Step(
                    f"{task.base}, base",
                    f"base model of {task.base}",
                    base.is_dir,
                    partial(self._train, task.base),
                )
            )
            steps.append(
                Step(
                    f"{task.name}, distillation",
                    f"distil {task.name}",
                    partial(_complete, run),
                    partial(self._distil, task),
                )
            )
            for way in task.ways:
                answers = run / "answers" / f"{way.way}.parquet"
                steps.append(
                    Step(
                        f"{task.name}, {way.way}",
                        f"{task.name}, {way.way}",
                        answers.is_file,
                        partial(self._way, task, way),
                    )
                )
            steps.append(
                Step(
                    "page", f"page of {task.name}", (run / "report.html").is_file, partial(write_results, run)
                )
            )
        return steps

    def answers(self, task: TaskScale) -> pd.DataFrame:
        """All answers to a task's test inputs."""
        return read_answers(self.folder / task.name)

    def _base(self, task: TaskScale) -> Path:
        return self.folder / "base" / task.base

    def _train(self, base: str) -> None:
        """Train a model from scratch on the text of the tasks that share it, mixed."""
        tasks = [task for task in self.scale.tasks if task.base == base]
        rng = np.random.default_rng([self.seed, 70])
        text = [
            one
            for task in tasks
            for one in examples(text_cases(task, self.scale, self.seed), rng, task.worked)
        ]
        text = [text[i] for i in rng.permutation(len(text)).tolist()]
        words = tokenizer()
        net = _new_model(self.scale.shape, words, self.seed)
        sft(
            LanguageModel(net, words, "from scratch"),
            text,
            self._base(tasks[0]),
            epochs=1,
            lr=self.scale.lr,
            batch_tokens=tasks[0].batch_tokens,
            seed=self.seed,
            dtype="fp32",
        )

    def _distil(self, task: TaskScale) -> None:
        base = self._base(task)
        write_prompts(self.folder)
        system = named_system("rar2", self._prompts())
        sampling = Sampling(max_tokens=self.scale.rephrased, temperature=1.0, seed=self.seed)
        recipe = Recipe(
            plan=Plan(samples=task.samples, sampling=sampling),
            tune=dataclasses.replace(task.tune, seed=self.seed),
            answer_tokens=task.tune.max_tokens,
        )
        distil(
            questions(task, self.seed),
            system,
            LocalGenerator(load_model(base), _BATCH),
            base,
            self.folder / task.name,
            recipe,
            self._wordings(),
            tell=self._say,
        )

    def _way(self, task: TaskScale, way: TuneSettings) -> None:
        """Another internaliser on the pairs that the filter kept; its answers stand beside the others."""
        run = self.folder / task.name
        tuned = run / "ways" / way.way
        if not tuned.exists():
            lessons = read_lessons(run / "pairs", run / "samples")
            tuned.parent.mkdir(exist_ok=True)
            settings = dataclasses.replace(way, seed=self.seed)
            internalise(self._base(task), lessons, tuned, settings, self._say)
        test = questions(task, self.seed)
        answers = ask_at_once(
            WAY_NAMES[way.way],
            load_generator(tuned, _BATCH),
            test.items("test"),
            test.kind,
            self._wordings(),
            KeptReplies(run / "replies.jsonl"),
            4 * way.max_tokens,  # separators and mark of a stage are generated too
        )
        write_answers(answers, run, way.way)

    def _prompts(self) -> Prompts:
        return Prompts(self.folder / "prompts")

    def _wordings(self) -> Wordings:
        return Wordings(self._prompts(), self.folder / "wordings")


def _new_model(shape: Shape, words: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    """A Llama with random weights; its relative positions learn to look at the letter before in little time."""
    import transformers

    transformers.set_seed(seed)
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(words),
            hidden_size=shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=4 * shape.width,
            max_position_embeddings=_POSITIONS,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )


def _complete(run: Path) -> bool:
    manifest = read_manifest(run)
    return manifest is not None and manifest["status"] == "complete"
