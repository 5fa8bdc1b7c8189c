"""The steps of one seed: from its corpus to its measures. Each is an artefact that is whole or absent."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from influence.analysis.run import TAKES, analyze
from influence.config import FitConfig
from influence.data.corpus import read_corpus
from influence.data.miniworld.corpus import FILE_NAME
from influence.data.queries import completions_by, read_queries, write_queries
from influence.engine.complete import complete
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.files import whole_file
from influence.models.load import LanguageModel, load_model
from influence.report.pages import write_report
from influence.store.artefact import write_json
from influence.store.factors import open_factors
from influence.store.scores import Scores, open_scores
from reports.kit.rankings import Row, methods
from reports.kit.steps import Step, whole
from reports.miniworld import retrain, world
from reports.miniworld.ground_truth import gold_table, relation_table, truth_of
from reports.miniworld.metrics import corpus_shares, query_measures
from reports.miniworld.query_selection import accuracy, query_set
from reports.miniworld.removal import (
    TOLD,
    UNDISTURBED,
    columns_to_drop,
    describe_group,
    removal_group,
)
from reports.miniworld.scales import Scale

ANALYSES = ("correlation", "concentration", "answers", "sources", "reuse", "bm25", "sanity")

OWN = "scores"
#: Score store -> its queries: what the model itself said, and true statements whatever it would say.
STORES = {OWN: "queries.jsonl", "scores-told": world.TOLD}


def _store_of(group: str) -> str:
    return "scores-told" if group == TOLD else OWN


def _name(method: str) -> str:
    return method.replace(" ", "-").replace(",", "")


@dataclass(frozen=True)
class WorldReplicate:
    """Where the artefacts of a seed lie, and how each is made."""

    folder: Path
    scale: Scale
    seed: int

    def path(self, name: str) -> Path:
        """An artefact of this seed."""
        return self.folder / name

    @property
    def analysis(self) -> Path:
        """The tables of the analyses."""
        return self.path("scores") / "analysis"

    def steps(self) -> list[Step]:
        """All steps, in order."""
        corpus, questions = self.path(world.CORPUS) / FILE_NAME, self.path(world.QUESTIONS)
        write = {
            "corpus": (corpus, lambda: world.write_world(self.folder, self.scale, self.seed)),
            "tuning pairs": (
                self.path(world.TUNING),
                lambda: world.write_tuning(self.folder, self.scale, self.seed),
            ),
            "questions": (questions, lambda: world.write_questions(self.folder, self.scale)),
            "true statements": (self.path(world.TOLD), lambda: world.write_told(self.folder, self.scale)),
        }
        first = [Step(kind, kind, path.exists, run) for kind, (path, run) in write.items()]
        return [
            *first,
            self._step("base model", "pretrain the base model", "base", self._base),
            self._step("tuned model", "fine-tune it", "tuned", self._tuned),
            self._step("completions", "let it answer all questions", "completed.jsonl", self._complete),
            self._step("queries", "choose the queries", "queries.jsonl", self._choose),
            Step(
                "Hessian",
                "fit the Hessian of the base model",
                partial(whole, self.path("hessian")),
                self._fit,
            ),
            *(self._scoring(*which) for which in itertools.product(STORES, (True, False))),
            *(
                self._step(
                    "analyses", f"analyse: {name}", f"scores/analysis/{name}", partial(self._analyse, name)
                )
                for name in ANALYSES
            ),
            self._step("report", "write the report", "report.html", self._report),
            self._step("measures", "measure", "measures.json", self._measure),
            *self._removal_steps(),
        ]

    def _scoring(self, store: str, hessian: bool) -> Step:
        of = "the queries" if store == OWN else "true statements of facts"
        name = store if hessian else f"{store}-identity"
        return Step(
            "influence" if hessian else "gradient dot products",
            f"score every document for {of}" + ("" if hessian else ", with the identity for comparison"),
            partial(whole, self.path(name)),
            partial(self._score, STORES[store], name, hessian),
        )

    def _step(self, kind: str, title: str, name: str, run: Any) -> Step:
        return Step(kind, title, self.path(name).exists, run)

    # -- the models and what they say

    def _base(self) -> None:
        retrain.train_base(read_corpus(self.path(world.CORPUS)), self.path("base"), self.scale, self.seed)

    def _tuned(self) -> None:
        retrain.train_tuned(
            self.path("base"), self.path(world.TUNING), self.path("tuned"), self.scale, self.seed
        )

    def _complete(self) -> None:
        questions = read_queries(self.path(world.QUESTIONS), completed=False)
        complete(
            load_model(self.path("tuned")),
            questions,
            self.path("completed.jsonl"),
            max_new_tokens=self.scale.max_new_tokens,
        )

    def _choose(self) -> None:
        answered = read_queries(self.path("completed.jsonl"))
        known = {query.id for query in answered}
        questions = read_queries(self.path(world.QUESTIONS), completed=False)
        empty = [query for query in questions if query.id not in known]
        write_json(self.path("accuracy.json"), accuracy(answered, empty))
        write_queries(
            query_set(answered, self.scale.factual, self.scale.per_task), self.path("queries.jsonl")
        )

    # -- scores and analyses

    def _fit(self) -> None:
        fit_hessian(
            load_model(self.path("base")),
            read_corpus(self.path(world.CORPUS)),
            out=self.path("hessian"),
            config=FitConfig(documents=self.scale.hessian_documents, seed=self.seed),
        )

    def _score(self, queries: str, name: str, hessian: bool) -> None:
        # The gradients of the queries are of the base model too: the tuned one is so sure of its answers that its own
        # are noise (docs/log.md).
        score(
            load_model(self.path("base")),
            open_factors(self.path("hessian")) if hessian else None,
            read_queries(self.path(queries)),
            read_corpus(self.path(world.CORPUS)),
            self.path(name),
            completions_by=self._writer() if queries == STORES[OWN] else None,
        )

    def _writer(self) -> str | None:
        """The model that wrote the completions, of which the queries are some."""
        completed = self.path("completed.jsonl")
        return completions_by(completed, read_queries(completed))

    def _scored(self, store: str) -> tuple[Scores, dict[str, Row]]:
        """A score store, and the rows of every method for its queries."""
        scores = open_scores(self.path(store))
        return scores, methods(scores, open_scores(self.path(f"{store}-identity")))

    def _analyse(self, name: str) -> None:
        k = self.scale.top_k if "k" in TAKES[name] and name != "sanity" else None
        part = self.analysis / f"{name}.part"
        analyze(name, self.path("scores"), k=k, out=part)
        part.replace(self.analysis / name)

    def _report(self) -> None:
        write_report(self.path("scores"), self.path("report.html"))

    def _measure(self) -> None:
        scale, (scores, rows) = self.scale, self._scored(OWN)
        tables = {
            "queries": query_measures(scores, self.analysis, scale.top_k, scale.source_k),
            "gold": pd.concat([gold_table(*self._scored(store), scale.top_k) for store in STORES]),
            "relations": relation_table(scores, truth_of(scores), rows, scale.top_k),
        }
        for name, table in tables.items():
            with whole_file(self.path(f"measured-{name}.csv")) as part:
                table.to_csv(part, index=False)
        write_json(self.path("measures.json"), {"corpus_shares": corpus_shares(scores)})

    # -- removal

    def _removal_steps(self) -> list[Step]:
        asking = Step("asking", "ask the undisturbed model", self._asked(UNDISTURBED), self._ask_undisturbed)
        return [asking, *map(self._retraining, self.scale.removal_methods)]

    def _retraining(self, method: str) -> Step:
        title = f"retrain without the top documents by {method}"
        return Step("retraining", title, self._asked(method), partial(self._remove, method))

    def _asked(self, method: str) -> Callable[[], bool]:
        return lambda: all(self.removal_path(group, method).exists() for group in self.scale.removal_groups)

    def removal_path(self, group: str, method: str) -> Path:
        """What the model without these documents makes of the queries."""
        return self.path("removal") / f"{group}-{_name(method)}.json"

    def _ask_undisturbed(self) -> None:
        self.path("removal").mkdir(exist_ok=True)
        nothing: dict[str, list[str]] = {group: [] for group in self.scale.removal_groups}
        self._ask(load_model(self.path("tuned")), UNDISTURBED, nothing)

    def _remove(self, method: str) -> None:
        """Train once without the top documents of every group, and ask each group."""
        groups = self.scale.removal_groups
        dropped: dict[str, list[str]] = {}
        for number, group in enumerate(groups):
            scores, rows = self._scored(_store_of(group))
            queries, seed = removal_group(scores.queries, group), self.seed * len(groups) + number
            columns = columns_to_drop(
                method, queries, scores, truth_of(scores), rows, self.scale.removal_k, seed
            )
            dropped[group] = scores.documents.take("id", columns).tolist()
        corpus = retrain.without(self.path(world.CORPUS) / FILE_NAME, set().union(*dropped.values()))
        work = self.path("removal") / _name(method)
        work.mkdir(exist_ok=True)
        model = retrain.retrained(
            corpus, self.path("base"), self.path(world.TUNING), work, self.scale, self.seed
        )
        self._ask(model, method, dropped)
        self.tidy()

    def _ask(self, model: LanguageModel, method: str, dropped: Mapping[str, list[str]]) -> None:
        in_all = len(set().union(*dropped.values()))
        for group in dropped:
            queries = removal_group(open_scores(self.path(_store_of(group))).queries, group)
            record = {
                "group": group,
                "task": queries[0].task,
                "method": method,
                "completions": describe_group(queries),
                "dropped": dropped[group],
                "dropped_in_all": in_all,
                "asked": retrain.asked(model, queries, self.scale.max_new_tokens),
            }
            write_json(self.removal_path(group, method), record)

    def tidy(self) -> None:
        """Remove the models of retrainings that were asked, also when a kill came between the two."""
        for method in self.scale.removal_methods:
            if self._asked(method)():
                shutil.rmtree(self.path("removal") / _name(method), ignore_errors=True)

    # -- what was found

    def measured(self, name: str) -> pd.DataFrame:
        """A table of measures: queries, gold or relations."""
        return pd.read_csv(self.path(f"measured-{name}.csv"))

    def removal_records(self) -> list[dict[str, Any]]:
        """What `_ask` recorded, by group of queries and method, the undisturbed model first."""
        pairs = itertools.product(self.scale.removal_groups, (UNDISTURBED, *self.scale.removal_methods))
        return [json.loads(self.removal_path(*pair).read_text(encoding="utf-8")) for pair in pairs]

    def json(self, name: str) -> Any:
        """What a JSON artefact holds."""
        return json.loads(self.path(name).read_text(encoding="utf-8"))
