"""One seed: for each task a base model, its distillation with controls and the other internalisers.

Each step is done when its folder is there, whole; there is no other record of progress. All go on by themselves where a
killed process left them.
"""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from influence.distill.evaluate import ask_at_once
from influence.distill.lessons import read_lessons
from influence.distill.prompt_texts import Prompts, Wordings
from influence.distill.run import distil
from influence.distill.sample import Plan
from influence.distill.settings import Recipe, TuneSettings
from influence.distill.systems import named_system
from influence.distill.tune import internalise
from influence.generate.local import LocalGenerator
from influence.generate.request import KeptReplies, Sampling
from influence.models.load import LanguageModel, load_model
from influence.report.distillation import write_results
from influence.store.formats.distillation import AS_LONG, CONTEXT, STEPWISE, read_answers, write_answers
from influence.store.formats.training import STAGE_FILE
from influence.train.answering import load_generator
from influence.train.settings import SftSettings
from influence.train.sft import sft
from influence.train.stepwise.new_model import Shape
from reports.kit.steps import Step, whole
from reports.system2.scales import Base, Scale, TaskScale
from reports.system2.tasks import questions, text_cases, write_prompts
from reports.system2.text import examples
from reports.system2.vocabulary import tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

#: Positions of the base model: no prompt with its reply is longer.
_POSITIONS = 256
#: Prompts decoded together.
_BATCH = 128

#: Internaliser -> name of its model in the tables.
WAY_NAMES = {"stepwise": STEPWISE, "context": CONTEXT}


class System2Replicate:
    """All of a seed, in one folder."""

    def __init__(self, folder: Path, scale: Scale, seed: int) -> None:
        self.folder, self.scale, self.seed = folder, scale, seed

    def steps(self) -> list[Step]:
        """For each task its base model, its distillation, the other ways, and the page."""
        steps = []
        for task in self.scale.tasks:
            run, base = self.folder / task.name, self._base(task)
            steps.append(
                Step(
                    f"{task.base.name}, base",
                    f"base model of {task.base.name}",
                    base.is_dir,
                    partial(self._train, task.base),
                )
            )
            steps.append(
                Step(
                    f"{task.name}, distillation",
                    f"distil {task.name}",
                    partial(whole, run),
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
            if any(way.way == "stepwise" for way in task.ways):
                steps.append(
                    Step(
                        f"{task.name}, as long",
                        f"{task.name}, answers alone for as long",
                        (run / "answers" / "as-long.parquet").is_file,
                        partial(self._as_long, task),
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
        return self.folder / "base" / task.base.name

    def _train(self, base: Base) -> None:
        """Train a model from scratch on the text of the tasks that share it, mixed."""
        tasks = [task for task in self.scale.tasks if task.base == base]
        rng = np.random.default_rng([self.seed, 70])
        text = [
            example
            for task in tasks
            for example in examples(text_cases(task, self.seed), rng, task.base.numbers)
        ]
        text = [text[i] for i in rng.permutation(len(text)).tolist()]
        words = tokenizer(base.numbers)
        net = _new_model(base.shape, words, self.seed)
        sft(
            LanguageModel(net, words, "from scratch"),
            text,
            self._base(tasks[0]),
            SftSettings(epochs=1, lr=base.lr, batch_tokens=base.batch_tokens, seed=self.seed, dtype="fp32"),
        )

    def _distil(self, task: TaskScale) -> None:
        base = self._base(task)
        write_prompts(self._prompt_folder(task), task.base.numbers)
        system = named_system("rar2", self._prompts(task))
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
            self._wordings(task),
        )

    def _way(self, task: TaskScale, way: TuneSettings) -> None:
        """Another internaliser on the pairs that the filter kept; its answers stand beside the others."""
        self._internalise(task, way, way.way)
        self._ask(task, way, way.way, WAY_NAMES[way.way])

    def _as_long(self, task: TaskScale) -> None:
        """Answers alone on as many examples as stepwise removal saw: what time alone does."""
        run = self.folder / task.name
        seen = json.loads((run / "ways" / "stepwise" / STAGE_FILE).read_text(encoding="utf-8"))["examples"]
        epochs = -(-seen // len(read_lessons(run / "pairs", run / "samples")))
        longer = dataclasses.replace(task.tune, epochs=epochs)
        self._internalise(task, longer, "as-long")
        self._ask(task, longer, "as-long", AS_LONG)

    def _internalise(self, task: TaskScale, settings: TuneSettings, name: str) -> None:
        run = self.folder / task.name
        tuned = run / "ways" / name
        if not tuned.exists():
            lessons = read_lessons(run / "pairs", run / "samples")
            tuned.parent.mkdir(exist_ok=True)
            settings = dataclasses.replace(settings, seed=self.seed)
            internalise(self._base(task), lessons, tuned, settings)

    def _ask(self, task: TaskScale, settings: TuneSettings, name: str, model: str) -> None:
        run = self.folder / task.name
        test = questions(task, self.seed)
        answers = ask_at_once(
            model,
            load_generator(run / "ways" / name, _BATCH),
            test.split("test"),
            test.kind,
            self._wordings(task),
            KeptReplies(
                run / "ways" / "replies.jsonl"
            ),  # the distillation is finished: its own file stays as it is
            4 * settings.max_tokens,  # separators and mark of a stage are generated too
        )
        write_answers(answers, run, name)

    def _prompt_folder(self, task: TaskScale) -> Path:
        """Folder of the prompts and wordings of a base model."""
        return self.folder / "asked" / task.base.name

    def _prompts(self, task: TaskScale) -> Prompts:
        return Prompts(self._prompt_folder(task) / "prompts")

    def _wordings(self, task: TaskScale) -> Wordings:
        return Wordings(self._prompts(task), self._prompt_folder(task) / "wordings")


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
