"""Validation by training again: each training counts once also after a kill, pieces, faults, the report's line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from stores import CONFIG as STORE
from stores import write_scores
from tiny import tiny_model

from influence.cli.main import cli
from influence.data.corpus import Corpus, read_corpus
from influence.errors import ComputeError, InputError, StoreError
from influence.report.run_card import checks
from influence.store.formats.tables import read_tables
from influence.store.formats.validation import RETRAINED
from influence.store.scores import Scores
from influence.train.settings import PretrainSettings
from influence.types import Document, Query
from influence.validation import retraining
from influence.validation.lds import CEILING
from influence.validation.methods import BM25, CHANCE, PRESENCE
from influence.validation.retraining import (
    CommandTraining,
    RecipeTraining,
    random_jobs,
    read_retrainings,
    training_of,
)
from influence.validation.settings import ValidationConfig
from influence.validation.validate import collect, plan_validation, validate

WORDS = ["red", "blue", "green", "black", "white", "grey", "pink", "brown", "gold", "lime", "teal", "navy"]
#: Moves the output weights of each letter by how often the corpus has it, and notes that it ran.
TRAIN = """
import json, shutil, sys
from safetensors.numpy import load_file, save_file
base, calls, corpus, out, seed = sys.argv[1:]
text = "".join(json.loads(line)["text"] for line in open(corpus))
open(calls, "a").write(corpus + "\\n")
shutil.copytree(base, out)
weights = load_file(out + "/model.safetensors")
vocabulary = json.load(open(out + "/tokenizer.json"))["model"]["vocab"]
for letter, row in vocabulary.items():
    weights["lm_head.weight"][row] *= 1 + 0.3 * text.count(letter) / len(text) + 0.001 * int(seed)
save_file(weights, out + "/model.safetensors", {"format": "pt"})
"""
CONFIG = ValidationConfig(subsets=3, seeds=2)


def query(number: int) -> Query:
    return Query(
        id=f"q{number}",
        task="colour",
        group="factual",
        prompt="a ",
        completion=f"{WORDS[number]} car",
        gold=(f"d{number}",),
    )


@pytest.fixture
def run(tmp_path: Path) -> Scores:
    documents = [Document(f"d{n}", f"a {word} car and a {word} hat", "made") for n, word in enumerate(WORDS)]
    model = tiny_model("llama")
    model.model.float().save_pretrained(tmp_path / "base")
    model.tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "train.py").write_text(TRAIN)
    lines = [json.dumps({"id": d.id, "text": d.text, "source": d.source}) for d in documents]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    dot_QD = np.random.default_rng(0).standard_normal((4, len(WORDS)))
    for name, hessian in (("scores", "fitted"), ("plain", "identity")):
        scores = write_scores(
            tmp_path / "runs" / name,
            dot_QD,
            queries=[query(n) for n in range(4)],
            documents=documents,
            config=STORE | {"hessian": hessian, "max_length": 64},
            provenance={"corpus_name": str(tmp_path / "corpus.jsonl"), "model_name": str(tmp_path / "base")},
        )
        if name == "scores":
            result = scores
    return result


@pytest.fixture
def corpus(run: Scores) -> Corpus:
    return read_corpus(run.manifest["provenance"]["corpus_name"])


def command(run: Scores) -> str:
    place = run.folder.parents[1]
    words = [sys.executable, place / "train.py", place / "base", place / "calls"]
    return " ".join(map(str, words)) + " {corpus} {out} {seed}"


def calls(run: Scores) -> int:
    return len((run.folder.parents[1] / "calls").read_text().splitlines())


def test_a_killed_validation_counts_each_training_once(
    run: Scores, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = CommandTraining(command(run))
    whole, asked = retraining.completion_losses, []

    def killed(*arguments: object) -> list[float]:
        asked.append(arguments)
        if len(asked) in (2, 4):
            raise KeyboardInterrupt
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(retraining, "completion_losses", killed)
    for left in (5, 4):
        with pytest.raises(KeyboardInterrupt):
            validate(run, corpus, training, CONFIG)
        assert plan_validation(run, training, CONFIG).left == left
        with pytest.raises(InputError, match="Fewer than three subsets"):
            collect(run)
    tables = validate(run, corpus, training, CONFIG)
    assert tables is not None
    assert calls(run) == len(read_retrainings(run)) == 6, "a model that was trained is not trained again"
    assert not list(run.folder.glob("validation/*/model"))
    again = validate(run, corpus, training, CONFIG)
    assert calls(run) == 6
    pd.testing.assert_frame_equal(tables["lds"], again["lds"])  # type: ignore[index]
    methods = [
        "scores",
        "gradient dot product (plain)",
        "gradient cosine (plain)",
        BM25,
        "BM25 of the completion",
        PRESENCE,
        CHANCE,
        CEILING,
    ]
    lds = tables["lds"]
    assert list(lds[lds["gold"] == "counted"]["method"]) == methods
    assert list(lds[lds["gold"] == "taken out"]["method"]) == [m for m in methods if m != PRESENCE]
    assert set(lds["subsets"]) == {3}
    np.testing.assert_allclose(lds[lds["method"] == "scores"]["lds"].iloc[0], lds.iloc[1]["lds"])
    stored = read_tables(run.folder, "validation", ("checks",))
    assert stored is not None
    (line,) = [check for check in checks(run, {"validation": stored["checks"]}) if "Retraining" in check.name]
    assert line.state in ("pass", "warn")
    assert "LDS" in line.text
    (line,) = [check for check in checks(run, {}) if check.name.lower() == RETRAINED]
    assert (line.state, line.text) == ("not run", "influence validate")


def test_pieces_and_removals_are_collected(run: Scores) -> None:
    words = ["validate", str(run.folder), "--train", command(run), "--subsets", "3", "--seeds", "1"]
    said = CliRunner().invoke(cli, [*words, "--remove", "4", "--dry-run"], catch_exceptions=False).stdout
    assert "Trainings: 9, of which 0 are done" in said
    assert "0 ± 0.354" in said
    names = [line.rpartition(" ")[2] for line in said.splitlines() if "--only" in line]
    assert len(names) == 9
    for name in names:
        CliRunner().invoke(cli, [*words, "--remove", "4", "--only", name], catch_exceptions=False)
    assert calls(run) == 9
    said = CliRunner().invoke(cli, ["validate", str(run.folder), "--collect"], catch_exceptions=False).stdout
    assert "without the top 4 of BM25" in said
    assert "presence of gold documents" in said
    assert "Retraining" not in said
    assert f"{RETRAINED}:" in said
    left_out = {one.group: len(one.left_out) for one in read_retrainings(run)}
    assert left_out == {"random": 6, **dict.fromkeys((*left_out.keys() - {"random"},), 4)}


def test_faults_say_what_to_do(run: Scores, corpus: Corpus) -> None:
    training = CommandTraining("echo no luck; exit 3 # {corpus} {out} {seed}")
    with pytest.raises(ComputeError, match=r"(?s)ended with 3.*no luck"):
        validate(run, corpus, training, CONFIG)
    with pytest.raises(ComputeError, match="left no model"):
        CommandTraining("true {corpus} {out} {seed}").run(run.folder, run.folder / "x", 0, run.folder / "log")
    with pytest.raises(StoreError, match="made with other arguments"):
        validate(run, corpus, CommandTraining(command(run)), CONFIG)
    with pytest.raises(InputError, match=r"lacks \{out\}"):
        CommandTraining("train {corpus} {seed}")
    with pytest.raises(InputError, match="was trained is not known"):
        training_of(run, None)
    other = run.folder.parents[1] / "other.jsonl"
    other.write_text('{"id": "x", "text": "y"}\n')
    with pytest.raises(InputError, match="not those that were scored"):
        validate(run, read_corpus(other), training, CONFIG)
    for wrong in ({"subsets": 2}, {"left_out": 1.0}, {"seeds": 0}):
        with pytest.raises(InputError):
            ValidationConfig(**wrong)  # type: ignore[arg-type]


def test_our_own_recipes_are_repeated(run: Scores, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {"size": "tiny", "epochs": 3, "dtype": "fp32", "seed": 5}
    base = run.folder.parents[1] / "base"
    (base / "training.json").write_text(json.dumps({"settings": chosen, "seconds": 8.0}))
    training = training_of(run, None)
    assert isinstance(training, RecipeTraining)
    seen = {}
    monkeypatch.setattr(
        "influence.train.pretrain.pretrain",
        lambda corpus, out, settings, **more: seen.update(more, settings=settings),
    )
    file = Path(run.manifest["provenance"]["corpus_name"])
    training.run(file, base / "out", 1, base / "log")
    tokenizer = seen.pop("tokenizer")
    assert tokenizer.get_vocab() == tiny_model("llama").tokenizer.get_vocab()
    assert seen == {"settings": PretrainSettings(size="tiny", epochs=3, dtype="fp32", seed=6)}
    plan = plan_validation(run, training, CONFIG)
    assert plan.seconds == pytest.approx(6 * 0.5 * 8.0)
    assert len({job.name for job in random_jobs(12, CONFIG)}) == 6
