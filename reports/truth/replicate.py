"""The steps of one world and seed: its model, the scores in all settings, and the trainings on halves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from influence.config import FitConfig
from influence.data.corpus import read_corpus
from influence.data.miniworld import write_corpus
from influence.data.miniworld.corpus import FILE_NAME
from influence.data.queries import read_queries, write_queries
from influence.engine.checkpoints import choose_checkpoints, score_checkpoints
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.models.load import LanguageModel, load_model
from influence.store.factors import Factors
from influence.store.scores import Scores, open_scores
from influence.subjects.stages import plain_opener
from influence.train.pretrain import pretrain
from influence.train.settings import PretrainSettings
from influence.validation.methods import COSINE, DOT_PRODUCT, RowOf, baselines_of, cosine_of, row_of
from influence.validation.retraining import Job, is_done, random_jobs, retrain, training_of
from influence.validation.settings import ValidationConfig
from reports.kit.steps import Step, whole
from reports.truth.scales import Scale
from reports.truth.world import documents_of, queries_of

#: Folder of a setting -> its tracked layers.
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "mlp": ("mlp",),
    "mlp + head": ("mlp", "head"),
    "all + head": ("all", "head"),
}
OWN, PLAIN, PEER = "mlp", DOT_PRODUCT, "kronfluence's factors, mlp"
SUM = "sum of 3 checkpoints"


@dataclass(frozen=True)
class TruthReplicate:
    """Where the artefacts of a world lie, and how each is made."""

    folder: Path
    scale: Scale
    world: str
    seed: int

    def path(self, name: str) -> Path:
        """An artefact of this world."""
        return self.folder / name

    def steps(self) -> list[Step]:
        """All steps, in order."""
        settings = [
            Step(
                "scores",
                f"score at 3 checkpoints: {name}",
                partial(self._scored, name),
                partial(self._score, name),
            )
            for name in SETTINGS
        ]
        return [
            Step("corpus", "corpus and queries", self.path("queries.jsonl").exists, self._write),
            Step("model", "train the model", self.path("model").exists, self._train),
            *settings,
            Step("scores", f"score: {PLAIN}", partial(self._scored, PLAIN), self._score_plain),
            Step("scores", f"score: {PEER}", partial(self._scored, PEER), self._score_peer),
            *(
                Step(
                    "halves",
                    f"train on half {number + 1}",
                    partial(self._trained, number),
                    partial(self._halve, number),
                )
                for number in range(self.scale.subsets)
            ),
        ]

    # -- the world and its model

    def _write(self) -> None:
        documents = list(documents_of(self.scale.documents, self.seed))
        if not (self.path("corpus") / FILE_NAME).exists():
            write_corpus(documents, self.path("corpus"))
        write_queries(queries_of(documents, self.scale.queries), self.path("queries.jsonl"))

    def _train(self) -> None:
        epochs = self.scale.epochs[self.world]
        settings = PretrainSettings(size=self.scale.size, epochs=epochs, seed=self.seed, keep=3, dtype="fp32")
        pretrain(read_corpus(self.path("corpus")), self.path("model"), settings)

    # -- scores

    def _folder(self, name: str) -> Path:
        return self.path("runs") / name.replace(" ", "").replace(",", "-").replace("'", "")

    def _scored(self, name: str) -> bool:
        return whole(self._folder(name))

    def _score(self, name: str) -> None:
        queries = read_queries(self.path("queries.jsonl"))
        score_checkpoints(
            choose_checkpoints(str(self.path("model"))),
            plain_opener(queries, completions_by=None),
            read_corpus(self.path("corpus")),
            self._folder(name),
            layers=SETTINGS[name],
            summed=True,
        )

    def _score_plain(self) -> None:
        self._score_last(PLAIN, None)

    def _score_peer(self) -> None:
        corpus, model = read_corpus(self.path("corpus")), self._model()
        config = FitConfig(layers=("mlp",), backend="kronfluence")
        self._score_last(PEER, fit_hessian(model, corpus, out=self.path("kronfluence"), config=config))

    def _score_last(self, name: str, factors: Factors | None) -> None:
        queries = read_queries(self.path("queries.jsonl"))
        score(self._model(), factors, queries, read_corpus(self.path("corpus")), self._folder(name))

    def _model(self) -> LanguageModel:
        return load_model(self.path("model"))

    # -- trainings on halves, beside the scores of the model's last checkpoint

    @property
    def scores(self) -> Scores:
        """Gradient dot products at the end of training; the trainings on halves lie beside them."""
        return open_scores(self._folder(PLAIN))

    def _jobs(self, number: int) -> list[Job]:
        config = ValidationConfig(subsets=self.scale.subsets, seeds=self.scale.seeds_of_halves)
        return [job for job in random_jobs(self.scale.documents, config) if job.number == number]

    def _trained(self, number: int) -> bool:
        return whole(self._folder(PLAIN)) and all(is_done(self.scores, job) for job in self._jobs(number))

    def _halve(self, number: int) -> None:
        scores, corpus = self.scores, read_corpus(self.path("corpus"))
        training = training_of(scores, None)
        for job in self._jobs(number):
            retrain(scores, corpus, training, job)

    # -- what predicts

    def methods(self) -> dict[str, RowOf]:
        """Every way to predict a half's outcome, by what the page calls it."""
        scores = self.scores
        rows: dict[str, RowOf] = {}
        for name in SETTINGS:
            last = choose_checkpoints(str(self.path("model")))[-1].name
            rows[name] = row_of(open_scores(self._folder(name) / last))
            rows[f"{name}, {SUM}"] = row_of(open_scores(self._folder(name) / "sum"))
        rows[PEER] = row_of(open_scores(self._folder(PEER)))
        plain = open_scores(self._folder(PLAIN))
        rows[PLAIN] = row_of(plain)
        rows[COSINE] = cosine_of(plain)
        return rows | baselines_of(scores)
