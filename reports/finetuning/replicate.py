"""The steps of one seed. Each is an artefact that is whole or absent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from influence.analysis.documents import first_columns, matching_metadata, standardised_sum
from influence.config import FitConfig
from influence.data.corpus import read_corpus
from influence.data.examples import read_examples
from influence.data.queries import read_queries, write_queries
from influence.data.query_tokens import prompt_tokens
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.files import whole_file
from influence.models.decode import greedy
from influence.models.load import LanguageModel, load_model
from influence.store.artefact import write_json
from influence.store.factors import open_factors
from influence.store.scores import Scores, open_scores
from influence.train.settings import SftSettings
from influence.train.sft import sft
from reports.finetuning import planting
from reports.finetuning.scales import Scale
from reports.kit.rankings import METHODS, methods
from reports.kit.steps import Step, whole

BASE = Path(__file__).parents[2] / "models/miniworld/base"
UNDISTURBED, RANDOM = "undisturbed", "random"
#: What may choose the examples to leave out.
REMOVALS = (*METHODS, RANDOM, planting.PLANTED)
_NEW_TOKENS = 40


@dataclass(frozen=True)
class FinetuningReplicate:
    """Where the artefacts of a seed lie, and how each is made."""

    folder: Path
    scale: Scale
    seed: int

    def path(self, name: str) -> Path:
        """An artefact of this seed."""
        return self.folder / name

    def steps(self) -> list[Step]:
        """All steps, in order."""
        examples, questions = self.path("train.jsonl"), self.path("questions.jsonl")
        return [
            Step(
                "examples",
                "write the examples",
                examples.exists,
                lambda: planting.write_examples(examples, self.scale, self.seed),
            ),
            Step(
                "questions",
                "write the questions",
                questions.exists,
                lambda: planting.write_questions(questions, self.scale, self.seed),
            ),
            Step("tuning", "fine-tune the base model", self.path("tuned").exists, self._tune),
            Step("asking", "ask it", self.removal_path(UNDISTURBED).exists, self._ask_undisturbed),
            Step("Hessian", "fit its Hessian", partial(whole, self.path("hessian")), self._fit),
            Step("influence", "score", partial(whole, self.path("scores")), partial(self._score, True)),
            Step(
                "gradients",
                "score with the identity",
                partial(whole, self.path("scores-identity")),
                partial(self._score, False),
            ),
            Step("measures", "measure", self.path("measured.csv").exists, self._measure),
            *(
                Step(
                    "retraining",
                    f"fine-tune without the first {self.scale.planted} by {method}",
                    self.removal_path(method).exists,
                    partial(self._remove, method),
                )
                for method in REMOVALS
            ),
        ]

    # -- the model and what it says

    def _tune(self) -> None:
        self._train(self.path("train.jsonl"), self.path("tuned"))

    def _train(self, examples: Path, out: Path) -> None:
        sft(
            load_model(BASE),
            read_examples(examples),
            out,
            SftSettings(epochs=self.scale.epochs, lr=self.scale.lr, seed=self.seed),
        )

    def _ask_undisturbed(self) -> None:
        questions = read_queries(self.path("questions.jsonl"), completed=False)
        said = _answers(load_model(self.path("tuned")), questions)
        answered = [replace(query, completion=text) for query, text in zip(questions, said, strict=True)]
        refused = [query for query in answered if planting.refuses(query.completion)]
        # what is asked for is the behaviour; where it was not learned there is only what the model says
        chosen = refused if len(refused) > 1 else [query for query in answered if query.completion.strip()]
        write_queries(chosen, self.path("queries.jsonl"))
        self._record(UNDISTURBED, [], said)

    def _record(self, method: str, dropped: Sequence[str], said: Sequence[str]) -> None:
        planted = self._planted_ids()
        record = {
            "method": method,
            "dropped": list(dropped),
            "planted": len(planted.intersection(dropped)),
            "said": list(said),
        }
        self.removal_path(method).parent.mkdir(exist_ok=True)
        write_json(self.removal_path(method), record)

    def _planted_ids(self) -> set[str]:
        records = map(json.loads, self.path("train.jsonl").read_text(encoding="utf-8").splitlines())
        return {record["id"] for record in records if record["kind"] == planting.PLANTED}

    # -- scores and rankings

    def _fit(self) -> None:
        fit_hessian(
            load_model(self.path("tuned")),
            read_corpus(self.path("train.jsonl")),
            out=self.path("hessian"),
            config=FitConfig(seed=self.seed),
        )

    def _score(self, hessian: bool) -> None:
        score(
            load_model(self.path("tuned")),
            open_factors(self.path("hessian")) if hessian else None,
            read_queries(self.path("queries.jsonl")),
            read_corpus(self.path("train.jsonl")),
            self.path("scores" if hessian else "scores-identity"),
        )

    def _scored(self) -> tuple[Scores, dict[str, Callable[[str], Any]]]:
        scores = open_scores(self.path("scores"))
        return scores, methods(scores, open_scores(self.path("scores-identity")))

    def _measure(self) -> None:
        """Recall of the planted examples among as many of the first, for each query and ranking."""
        scores, rows = self._scored()
        kinds = {column: record["kind"] for column, _, record in matching_metadata(scores, "kind")}
        planted = [column for column, kind in kinds.items() if kind == planting.PLANTED]
        unknown = [column for column, kind in kinds.items() if kind == planting.UNKNOWN]
        measured = []
        for method, row_of in rows.items():
            for query in scores.queries:
                first = first_columns(row_of(query.id), len(planted))
                found, other = np.isin(first, planted).sum(), np.isin(first, unknown).sum()
                measured.append((method, query.id, found / len(planted), other / len(planted)))
        table = pd.DataFrame(measured, columns=["method", "query", "recall", "unknown"])
        with whole_file(self.path("measured.csv")) as part:
            table.to_csv(part, index=False)

    # -- removal

    def _remove(self, method: str) -> None:
        scores, rows = self._scored()
        count = self.scale.planted
        if method == planting.PLANTED:
            dropped = sorted(self._planted_ids())
        elif method == RANDOM:
            drawn = np.random.default_rng(self.seed).choice(len(scores.documents), count, replace=False)
            dropped = scores.documents.take("id", sorted(drawn.tolist())).tolist()
        else:
            columns = first_columns(
                standardised_sum(rows[method](query.id) for query in scores.queries), count
            )
            dropped = scores.documents.take("id", columns).tolist()
        work = self.path("removal") / method.replace(" ", "-").replace(",", "")
        work.mkdir(exist_ok=True)
        planting.without(self.path("train.jsonl"), dropped, work / "train.jsonl")
        if not (work / "tuned").exists():
            self._train(work / "train.jsonl", work / "tuned")
        questions = read_queries(self.path("questions.jsonl"), completed=False)
        self._record(method, dropped, _answers(load_model(work / "tuned"), questions))
        shutil.rmtree(work)

    def removal_path(self, method: str) -> Path:
        """What the model that was trained without these examples says."""
        return self.path("removal") / f"{method.replace(' ', '-').replace(',', '')}.json"

    def removal(self, method: str) -> dict[str, Any]:
        """What `_record` wrote."""
        record: dict[str, Any] = json.loads(self.removal_path(method).read_text(encoding="utf-8"))
        return record

    def measured(self) -> pd.DataFrame:
        """What `_measure` wrote."""
        return pd.read_csv(self.path("measured.csv"))


def _answers(model: LanguageModel, questions: Sequence[Any]) -> list[str]:
    prompts = [prompt_tokens(model.tokenizer, query) for query in questions]
    return greedy(model, prompts, _NEW_TOKENS)
