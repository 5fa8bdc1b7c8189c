"""A distillation as documents and queries, and a distilled model beside its two selves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from distillations import write_distillation
from pretended import Pretender
from stores import make_query, write_scores

from influence.analysis.checkpoints import selves, selves_by_pair
from influence.cli.main import cli
from influence.data.corpus import read_corpus
from influence.data.queries import read_queries
from influence.data.tasks.makers.last_letter import last_letter
from influence.distill.lessons import read_lessons
from influence.distill.sample import Plan, sample
from influence.distill.systems import named_system
from influence.errors import InputError
from influence.store.checkpoints import Checkpoints
from influence.subjects.documents import distillation_queries

ASKED = 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_distillation(tmp_path_factory.mktemp("distillation") / "letters")
    items = last_letter(2, {"test": 8}).split("test")
    plan = Plan(samples=2)
    sample(items, named_system("rar2"), Pretender(wrong_every=3), folder / "test", kind="letters", plan=plan)
    return folder


def test_documents_and_queries_of_a_distillation(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    command = ["corpus", "distillation", str(run), "--out", str(out), "--asked", str(ASKED)]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    lessons = {lesson.id: lesson for lesson in read_lessons(run / "pairs", run / "samples")}
    documents = list(read_corpus(out / "documents.jsonl"))
    assert {document.source for document in documents} == {"full chain", "answer only", "distractor"}
    for document in documents:
        lesson = lessons[document.metadata["origin"]]
        right = document.metadata["answer"] == lesson.completion
        assert right == (document.source != "distractor")
        begins = lesson.context if document.metadata["form"] == "full" else lesson.prompt
        assert document.text == begins + document.metadata["answer"]
    queries = read_queries(out / "queries.jsonl")
    assert [query.task for query in queries] == ["System 1", "System 2"] * ASKED
    for one, two in zip(queries[::2], queries[1::2], strict=True):
        assert one.id.removesuffix("-system-1") == two.id.removesuffix("-system-2")
        assert one.completion == two.completion == one.answer
        assert len(two.prompt) > len(one.prompt)
    with pytest.raises(InputError, match="8 test inputs"):
        distillation_queries(run, 9)


def stages(folder: Path) -> Checkpoints:
    """Two inputs; the distilled model ranks the first as System 1 did, and the second as System 2 did."""
    rng = np.random.default_rng(0)
    one, two, noise = rng.normal(size=(3, 2, 40))
    names = [f"{n}-system-{s}" for n in "ab" for s in (1, 2)]
    queries = [make_query(n, id=name) for n, name in enumerate(names)]
    base = np.stack([one[0], two[0], one[1], two[1]])
    last = np.stack([3 * one[0], noise[0], two[1] + 1, noise[1]])
    return [
        ("base", write_scores(folder / "base", base, queries=queries)),
        ("model", write_scores(folder / "model", last, queries=queries)),
    ]


def test_selves_by_hand(tmp_path: Path) -> None:
    table = selves(stages(tmp_path), k=10).set_index(["input", "pair"])
    r, shared = table["r"].to_dict(), table["overlap"].to_dict()
    for like in (("a", "System 1 and distilled"), ("b", "System 2 and distilled")):
        assert (r[like], shared[like]) == (pytest.approx(1), 1)
    assert abs(r["a", "System 2 and distilled"]) < 0.5
    means = selves_by_pair(table.reset_index()).set_index(["pair", "measure"])["mean"]
    for pair in ("System 1 and distilled", "System 2 and distilled", "System 1 and System 2"):
        own = table.xs(pair, level="pair")
        assert means[(pair, "r")] == pytest.approx(own["r"].mean())
        assert means[(pair, "overlap")] == pytest.approx(own["overlap"].mean())


def test_other_queries_have_no_selves(tmp_path: Path) -> None:
    plain = write_scores(tmp_path / "plain", np.eye(2, 8))
    assert selves([("a", plain), ("b", plain)]).empty
    assert selves(stages(tmp_path)[:1]).empty
