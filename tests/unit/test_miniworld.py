"""The controlled world: the same bytes every time, true metadata, and documents that differ."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from influence.data.corpus import read_corpus
from influence.data.miniworld import SOURCES, facts, generate, query_sets, write_corpus
from influence.data.miniworld.corpus import FORMS
from influence.data.miniworld.problems import PROCEDURES, draw, held_out
from influence.data.miniworld.world import WEIGHTS, untold_facts
from influence.errors import InputError
from influence.types import Document

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "corpora" / "miniworld"


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return list(generate(2000, 0))


# -- the same every time


def test_the_committed_sample_is_what_the_generator_writes(tmp_path: Path, documents: list[Document]) -> None:
    path = write_corpus(documents, tmp_path)
    assert path.read_bytes() == (SAMPLE / "documents.jsonl").read_bytes()
    assert path.stat().st_size <= 1_500_000


def test_the_corpus_reader_gives_the_documents_back(documents: list[Document]) -> None:
    assert list(read_corpus(SAMPLE)) == documents


def test_hash_seeds_change_nothing(documents: list[Document]) -> None:
    code = (
        "import hashlib; from influence.data.miniworld import generate\n"
        "print(hashlib.sha256(repr(list(generate(400, 0))).encode()).hexdigest())"
    )
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == hashlib.sha256(repr(documents[:400]).encode()).hexdigest()


def test_a_longer_corpus_starts_with_the_shorter_one(documents: list[Document]) -> None:
    assert list(generate(137, 0)) == documents[:137]


def test_documents_are_made_one_by_one() -> None:
    stream = generate(10**12, 0)
    assert next(stream).id == "mw0-000000"


def test_seeds_change_the_documents_but_not_the_facts(documents: list[Document]) -> None:
    other = list(generate(600, 1))
    assert not {d.text for d in other} & {d.text for d in documents}
    assert not {d.id for d in other} & {d.id for d in documents}
    assert {f for d in other for f in d.metadata["facts"]} == {fact.id for fact in facts()}


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (-5, 0), (2.5, 0), (True, 0), (10, -1), (10, "a")])
def test_bad_settings_are_refused_at_once(count: Any, seed: Any) -> None:
    with pytest.raises(InputError, match="must be a whole number"):
        generate(count, seed)


# -- shares and counts


def test_every_block_of_200_has_the_exact_shares(documents: list[Document]) -> None:
    wanted: Counter[tuple[str, str]] = Counter()
    for form in FORMS:
        wanted[form.source, form.name] += form.share
    assert sum(wanted.values()) == 200
    for start in range(0, 2000, 200):
        assert Counter((d.source, d.metadata["form"]) for d in documents[start : start + 200]) == wanted
    assert {source for source, _ in wanted} == set(SOURCES)


def test_facts_are_stated_as_often_as_their_weight_says(documents: list[Document]) -> None:
    stated = [fact for d in documents for fact in d.metadata["facts"]]
    rounds, rest = divmod(len(stated), sum(fact.weight for fact in facts()))
    assert rounds >= 2
    assert rest
    count = Counter(stated)
    for fact in facts():
        assert rounds * fact.weight <= count[fact.id] <= (rounds + 1) * fact.weight
    assert {fact.weight for fact in facts()} == set(WEIGHTS)


def test_a_fact_comes_in_several_wordings_and_sources(documents: list[Document]) -> None:
    sources, forms = defaultdict(set), defaultdict(set)
    for d in documents:
        for fact in d.metadata["facts"]:
            sources[fact].add(d.source)
            forms[fact].add(d.metadata["form"])
    for fact in facts():
        if fact.weight >= 4:
            assert len(sources[fact.id]) >= 3
            assert len(forms[fact.id]) >= 4


def test_no_document_states_a_fact_twice() -> None:
    for seed in range(12):
        for d in generate(1000, seed):
            assert len(set(d.metadata["facts"])) == len(d.metadata["facts"])


def test_documents_have_natural_lengths(documents: list[Document]) -> None:
    words = [len(d.text.split()) for d in documents]
    assert min(words) >= 30
    assert max(words) <= 400
    assert np.std(words) > 30


# -- truth


def test_each_listed_fact_is_stated_and_no_other(documents: list[Document]) -> None:
    for d in documents:
        listed = [fact for fact in facts() if fact.id in d.metadata["facts"]]
        assert len(listed) == len(d.metadata["facts"]) == len(set(d.metadata["facts"]))
        assert [fact for fact in facts() if states(d.text, fact)] == listed, d.text


def states(text: str, fact: Any) -> bool:
    """Whether the thing and its value are both in the text, as whole words."""
    thing = re.search(rf"\b{re.escape(fact.core)}\b", text, re.IGNORECASE)
    return bool(thing) and any(re.search(rf"\b{re.escape(value)}\b", text) for value in fact.spellings)


def test_listed_steps_and_problems_stand_in_the_text(documents: list[Document]) -> None:
    for d in documents:
        for step in d.metadata["steps"]:
            assert step in d.text
            left, right = step.split(" = ")
            assert eval(left) == int(right)
        for problem in d.metadata["problems"]:
            for number in re.findall(r"\d+", problem):
                assert re.search(rf"(?<!\d){number}(?!\d)", d.text)
            assert problem.split()[0] in d.metadata["procedures"]


def test_documents_without_a_procedure_work_no_step(documents: list[Document]) -> None:
    for d in documents:
        if not d.metadata["procedures"]:
            assert not d.metadata["steps"]
            assert not d.metadata["problems"]
            assert not re.search(r"\d+ ?[-+*/] ?\(?-?\d+\)? ?= ?-?\d", d.text)


def test_about_a_third_of_the_documents_are_distractors(documents: list[Document]) -> None:
    distractors = sum(not d.metadata["facts"] and not d.metadata["procedures"] for d in documents)
    assert 0.25 < distractors / len(documents) < 0.4


def test_templates_are_filled_in(documents: list[Document]) -> None:
    for d in documents:
        assert not re.search(r"<[a-z_]+\d?>", d.text), d.text
        if d.source != "code":
            assert not re.search(r"\{[^}]*\|", d.text), d.text
        assert d.text == d.text.strip()
        assert not re.search(r"\ba [aeiou]", d.text.split("def ")[0]) or d.source in (
            "code",
            "multilingual",
        ), d.text


def test_python_programs_do_what_they_say(documents: list[Document]) -> None:
    programs = [d for d in documents if d.metadata["form"] == "python"]
    assert len(programs) >= 50
    tested = 0
    for d in programs:
        names: dict[str, Any] = {}
        exec(compile(d.text, d.id, "exec"), names)
        for test in [value for name, value in names.items() if name.startswith("test_")]:
            test()
            tested += 1
    assert tested >= 20


def test_held_out_problems_are_for_queries_only() -> None:
    from random import Random

    rng = Random(3)
    for procedure in PROCEDURES:
        assert not any(held_out(draw(procedure, rng).key) for _ in range(200))
        assert all(held_out(draw(procedure, rng, for_query=True).key) for _ in range(50))


def test_no_document_works_a_problem_of_a_query(documents: list[Document]) -> None:
    worked = {numbers(d) for d in documents for d in problem_texts(d)}
    assert len(worked) > 300
    for name in PROCEDURES:
        for query in query_sets()[name]:
            assert numbers(query.prompt) not in worked


def problem_texts(document: Document) -> list[str]:
    """The places of a text where a problem is written out, found without its metadata."""
    point = r"\(\d+, \d+\)"
    return re.findall(
        rf"{point} (?:and|y|et|und) B?{point}|\(\d+ [-+] \d+\) \* \d+|\d+x \+ \d+ = \d+", document.text
    )


def numbers(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+|[+*](?= )", text.split("\n")[0]))


def test_gold_documents_state_the_answer_and_nothing_else_does(documents: list[Document]) -> None:
    by_id = {d.id: d for d in documents}
    for query in query_sets()["factual"]:
        for gold in query.gold:
            assert any(keyword in by_id[gold].text for keyword in query.keywords)
        thing = next(fact for fact in facts() if fact.spellings == query.keywords)
        assert {d.id for d in documents if states(d.text, thing)} == set(query.gold)


def test_controls_are_about_things_no_document_mentions(documents: list[Document]) -> None:
    text = "\n".join(d.text for d in documents).lower()
    for fact in untold_facts():
        assert fact.core.lower() not in text
    for query in query_sets()["controls"]:
        assert query.prompt.split("\n")[0].lower() not in text


def test_names_and_values_are_unique() -> None:
    everything = [*facts(), *untold_facts()]
    assert len({fact.id for fact in everything}) == len({fact.core.lower() for fact in everything}) == 136
    assert len({fact.spellings for fact in everything}) == 136
    cores = [fact.core.lower() for fact in everything]
    assert not [(a, b) for a in cores for b in cores if a != b and a in b]


# -- documents are not near-copies


def test_documents_are_not_near_copies(documents: list[Document]) -> None:
    """Jaccard similarity of word 5-grams with the nearest other document."""
    vocabulary: dict[tuple[str, ...], int] = {}
    rows, columns, total = [], [], 0
    for row, d in enumerate(documents):
        words = d.text.split()
        grams = [tuple(words[i : i + 5]) for i in range(len(words) - 4)]
        total += len(grams)
        for gram in set(grams):
            rows.append(row)
            columns.append(vocabulary.setdefault(gram, len(vocabulary)))
    has = scipy.sparse.csr_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)))
    shared = (has @ has.T).toarray()
    sizes = shared.diagonal()
    similarity = shared / (sizes[:, None] + sizes[None, :] - shared)
    np.fill_diagonal(similarity, 0)
    nearest = similarity.max(axis=1)
    assert nearest.max() < 0.75
    assert np.quantile(nearest, 0.95) < 0.45
    assert np.median(nearest) < 0.25
    assert len(vocabulary) / total > 0.4


# -- the file


def test_records_are_flat(documents: list[Document], tmp_path: Path) -> None:
    record = json.loads(write_corpus(documents[:1], tmp_path / "a" / "b").read_text(encoding="utf-8"))
    assert list(record) == ["id", "source", "text", "facts", "procedures", "form", "problems", "steps"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Any:
        yield from generate(3, 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corpus(broken(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_documents_already_there_are_kept(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl.gz").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"holds documents already.\n  found: other.jsonl.gz"):
        write_corpus(generate(3, 0), tmp_path)
    with pytest.raises(InputError, match="cannot be made"):
        write_corpus(generate(3, 0), tmp_path / "other.jsonl.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["other.jsonl.gz"]


def test_the_card_shows_the_computed_composition(documents: list[Document]) -> None:
    card = (SAMPLE / "README.md").read_text(encoding="utf-8")
    for line in composition(documents):
        assert line in card, line


def composition(documents: list[Document]) -> list[str]:
    """The table of the card, one line for each source and one for all."""
    lines = []
    for source in (*SOURCES, "all"):
        chosen = [d for d in documents if source in (d.source, "all")]
        states_fact = sum(bool(d.metadata["facts"]) for d in chosen)
        procedure = sum(bool(d.metadata["procedures"]) for d in chosen)
        words = [len(d.text.split()) for d in chosen]
        lines.append(
            f"| {source} | {len(chosen)} | {len(chosen) / len(documents):.0%} | {states_fact} | {procedure} "
            f"| {len(chosen) - states_fact - procedure} | {min(words)}–{max(words)}, median {int(np.median(words))} |"
        )
    return lines
