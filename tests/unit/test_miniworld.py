"""The controlled world: the same bytes every time, true metadata, and documents that differ."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import unittest
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from influence.data.corpus import read_corpus
from influence.data.miniworld import (
    SOURCES,
    Fact,
    Ranges,
    Settings,
    World,
    all_questions,
    generate,
    make_plan,
    problem_set,
    question_sets,
    ready_query_sets,
    tuning_pairs,
    write_corpus,
)
from influence.data.miniworld.grammar import title, word
from influence.data.miniworld.problems import PROCEDURES, held_out, withheld
from influence.data.miniworld.settings import SHARES, parse_shares
from influence.data.miniworld.world import COUNTS, untold_facts
from influence.errors import InputError
from influence.types import Document

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "corpora" / "miniworld"


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return list(generate(2000, 0))


@pytest.fixture(scope="module")
def world() -> World:
    return make_plan(2000, Settings()).world


def counted(documents: list[Document]) -> Counter[str]:
    """In how many documents each fact is stated."""
    return Counter(fact for d in documents for fact in d.metadata["facts"])


# -- the same every time


def test_the_committed_sample_is_what_the_generator_writes(tmp_path: Path, documents: list[Document]) -> None:
    path = write_corpus(documents, tmp_path)
    assert path.read_bytes() == (SAMPLE / "documents.jsonl").read_bytes()
    assert path.stat().st_size <= 1_500_000


def test_the_corpus_reader_gives_the_documents_back(documents: list[Document]) -> None:
    assert list(read_corpus(SAMPLE)) == documents


def test_hash_seeds_change_nothing() -> None:
    code = (
        "import hashlib; from influence.data.miniworld import generate\n"
        "print(hashlib.sha256(repr(list(generate(400, 0))).encode()).hexdigest())"
    )
    wanted = hashlib.sha256(repr(list(generate(400, 0))).encode()).hexdigest()
    for hash_seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == wanted


def test_documents_are_made_one_by_one() -> None:
    stream = generate(10**12, 0, Settings(facts=1000))
    assert next(stream).id == "mw0-000000"


def test_seeds_change_the_documents_but_not_the_facts(documents: list[Document]) -> None:
    other = list(generate(2000, 1))
    assert not {d.text for d in other} & {d.text for d in documents}
    assert not {d.id for d in other} & {d.id for d in documents}
    assert counted(other) == counted(documents)


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (-5, 0), (2.5, 0), (True, 0), (10, -1), (10, "a")])
def test_bad_settings_are_refused_at_once(count: Any, seed: Any) -> None:
    with pytest.raises(InputError, match="must be a whole number"):
        generate(count, seed)


# -- shares and counts


@pytest.mark.parametrize("n_documents", [40, 300, 1000, 5000])
@pytest.mark.parametrize("seed", [0, 3])
def test_every_fact_is_stated_in_exactly_its_count_of_documents(n_documents: int, seed: int) -> None:
    documents = list(generate(n_documents, seed))
    world = make_plan(n_documents, Settings()).world
    count = counted(documents)
    assert {fact.id: fact.count for fact in world.facts() if fact.count} == count
    assert [fact.count for fact in world.facts()] == list(COUNTS) * (world.n_facts // 5)
    assert all(len(set(d.metadata["facts"])) == len(d.metadata["facts"]) for d in documents)


def test_the_number_of_facts_is_a_setting() -> None:
    for n_facts in (0, 3, 80, 130):
        documents = list(generate(2000, 0, Settings(facts=n_facts)))
        world = make_plan(2000, Settings(facts=n_facts)).world
        assert counted(documents) == {fact.id: fact.count for fact in world.facts() if fact.count}
        assert len(list(world.facts())) == n_facts
    larger = make_plan(100_000, Settings()).world
    assert larger.n_facts > 6000
    assert [f.id for f in larger.facts()][:130] == [f.id for f in world.facts()]


def test_statements_are_spread_over_the_whole_corpus(documents: list[Document]) -> None:
    parts = [sum(len(d.metadata["facts"]) for d in documents[at : at + 400]) for at in range(0, 2000, 400)]
    assert max(parts) - min(parts) < 0.4 * max(parts)
    once = {fact.id for fact in make_plan(2000, Settings()).world.facts() if fact.count == 1}
    places = [i for i, d in enumerate(documents) if once.intersection(d.metadata["facts"])]
    assert 600 < np.mean(places) < 1400


def test_a_fact_comes_in_several_wordings_sources_and_forms(documents: list[Document], world: World) -> None:
    sources, forms = defaultdict(set), defaultdict(set)
    for d in documents:
        for fact in d.metadata["facts"]:
            sources[fact].add(d.source)
            forms[fact].add(d.metadata["form"])
    for fact in world.facts():
        if fact.foreign:
            assert sources[fact.id] <= {"multilingual"}
        elif fact.count == 20:
            assert len(sources[fact.id]) >= 4
            assert len(forms[fact.id]) >= 4
        else:
            assert len(forms[fact.id]) >= min(fact.count, 4)
        assert "multilingual" not in sources[fact.id] or fact.foreign
    assert {fact.count for fact in world.facts() if fact.foreign} == set(COUNTS)


def test_the_facts_for_asking_and_for_tuning_are_alike(world: World) -> None:
    for count in COUNTS:
        roles = Counter(fact.role for fact in world.facts() if fact.count == count)
        assert roles["asking"] == roles["tuning"]
        for role in ("asking", "tuning"):
            told = [fact for fact in world.facts() if fact.count == count and fact.role == role]
            assert len({fact.relation.kind for fact in told}) == 8


# -- settings


def test_the_shares_of_sources_are_met(documents: list[Document]) -> None:
    assert Counter(d.source for d in documents) == {s: round(2000 * share) for s, share in SHARES.items()}
    shares = {"wiki": 0.5, "code": 0.25, "multilingual": 0.25}
    chosen = Counter(d.source for d in generate(1000, 0, Settings(shares=shares)))
    assert chosen == {"wiki": 500, "code": 250, "multilingual": 250}


def test_the_forms_of_procedures_are_met() -> None:
    forms = {"prose": 0.2, "maths": 0.4, "code": 0.2, "stackexchange": 0.2}
    shown = list(generate(1000, 0, Settings(procedures=0.4, forms=forms)))
    count = Counter(d.metadata["procedure_form"] for d in shown)
    assert count == {"": 600, "prose": 80, "maths": 160, "code": 80, "stackexchange": 80}
    assert Counter(d.source for d in shown) == Counter(d.source for d in generate(1000, 0))
    for d in shown:
        assert bool(d.metadata["procedures"]) == bool(d.metadata["procedure_form"])
    none = Settings(procedures=0.0, facts=10)
    assert not any(d.metadata["procedures"] for d in generate(300, 0, none))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shares": {"wiki": 0.5, "code": 0.4}}, "sources must sum to 1, and these sum to 0.9"),
        ({"shares": {"wiki": 0.5, "coed": 0.5}}, "no source 'coed'.*\n.*\n.*mean 'code'"),
        ({"shares": {"wiki": 1.5, "code": -0.5}}, "must lie between 0 and 1"),
        ({"shares": {"wiki": float("nan"), "code": 1}}, "must lie between 0 and 1"),
        ({"forms": {"prose": 0.5}}, "forms must sum to 1"),
        ({"forms": {"poetry": 1}}, "no form 'poetry'"),
        ({"facts": -1}, "number of facts must be a whole number"),
        ({"procedures": 1.2}, "must lie between 0 and 1"),
        ({"withheld_steps": 0.9}, "must lie between 0 and 0.5"),
    ],
)
def test_bad_settings_have_a_clear_error(settings: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings(**settings)


def test_settings_that_do_not_fit_together_have_a_clear_error() -> None:
    with pytest.raises(InputError, match=r"More facts than documents.*\n.*\n.*at most 130 facts"):
        generate(2000, 0, Settings(facts=200))
    with pytest.raises(InputError, match=r"More facts than documents: .* in other languages"):
        generate(2000, 0, Settings(facts=130, shares={**SHARES, "multilingual": 0.01, "wiki": 0.26}))
    with pytest.raises(InputError, match="source 'code' has no room"):
        generate(2000, 0, Settings(procedures=0.33, forms={"code": 1}))
    with pytest.raises(
        InputError, match="No source of this corpus holds procedure documents of the form 'code'"
    ):
        generate(2000, 0, Settings(shares={"wiki": 1}, forms={"code": 0.5, "prose": 0.5}, facts=0))
    with pytest.raises(InputError, match="slope_coordinates must be a whole number"):
        Ranges(slope_coordinates=1)


def test_shares_are_read_strictly() -> None:
    assert parse_shares("wiki=0.5, code=.5", "sources") == {"wiki": 0.5, "code": 0.5}
    for text in ("", "wiki", "wiki=", "wiki=a", "wiki=nan", "wiki=0.5,,code=0.5"):
        with pytest.raises(InputError, match="cannot be read"):
            parse_shares(text, "sources")
    with pytest.raises(InputError, match="'wiki' twice"):
        parse_shares("wiki=0.5,wiki=0.5", "sources")


def test_ranges_bound_the_numbers() -> None:
    ranges = Ranges(
        slope_coordinates=12, slope_signs=False, arithmetic_terms=6, arithmetic_factor=9, linear_totals=40
    )
    settings = Settings(ranges=ranges, procedures=0.4, facts=0)
    documents = list(generate(600, 0, settings))
    world = make_plan(600, settings).world
    most = {"slopes": 12, "arithmetic": 9, "linear": 40}
    for d in documents:
        for problem in d.metadata["problems"]:
            assert max(map(int, re.findall(r"\d+", problem))) <= most[problem.split()[0]]
        if d.metadata["procedures"] == ["slopes"]:
            assert not any("-" in step.split("= ")[1] for step in d.metadata["steps"])
    assert all(max(map(int, re.findall(r"\d+", q.prompt))) <= 12 for q in problem_set(world, "slopes", 30))
    narrow = World(0, Ranges(arithmetic_terms=3, arithmetic_factor=3))
    with pytest.raises(InputError, match="hold no 100 problems"):
        problem_set(narrow, "arithmetic")


def test_documents_without_asides_are_shorter_and_as_true(documents: list[Document]) -> None:
    brief = list(generate(2000, 0, Settings(asides=False)))
    assert counted(brief) == counted(documents)
    words = [sum(len(d.text.split()) for d in corpus) for corpus in (brief, documents)]
    assert words[0] < 0.9 * words[1]


def test_documents_have_natural_lengths(documents: list[Document]) -> None:
    words = [len(d.text.split()) for d in documents]
    assert min(words) >= 30
    assert max(words) <= 150
    assert np.std(words) > 20


# -- truth


def test_each_listed_fact_is_stated_and_no_other(documents: list[Document], world: World) -> None:
    for d in documents:
        assert {fact.id for fact in world.facts() if states(d.text, fact)} == set(d.metadata["facts"]), d.text


def states(text: str, fact: Fact) -> bool:
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
    tested = printed = 0
    for d in programs:
        names: dict[str, Any] = {}
        with contextlib.redirect_stdout(io.StringIO()) as stdout:
            exec(compile(d.text, d.id, "exec"), names)
        assert stdout.getvalue().split() == re.findall(r"^print.*# (\S+)$", d.text, re.MULTILINE)
        printed += bool(stdout.getvalue())
        for name, value in names.items():
            if name.startswith("test_"):
                value()
                tested += 1
            elif isinstance(value, type) and issubclass(value, unittest.TestCase):
                result = unittest.TestResult()
                unittest.defaultTestLoader.loadTestsFromTestCase(value).run(result)
                assert result.testsRun == 1
                assert result.wasSuccessful()
                tested += 1
    assert tested >= 15
    assert printed >= 3


def test_javascript_programs_do_what_they_say(documents: list[Document], tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    script = tmp_path / "all.mjs"
    script.write_text(
        "const expect = (v) => ({ toBe: (w) => { if (v !== w) throw new Error(`${v} is not ${w}`); } });\n"
        "const test = (name, body) => body(), it = test, describe = test, suite = test;\n"
        "console.assert = (ok) => { if (!ok) throw new Error('assertion failed'); };\n"
        + "\n".join(
            "{ let module = {}; console.log = () => {};\n"
            + re.sub(r"^export (default .*)?", "", d.text, flags=re.M)
            + "\n}"
            for d in documents
            if d.metadata["form"] == "javascript"
        )
    )
    run = subprocess.run([node, str(script)], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr


def test_held_out_problems_are_for_queries_only(world: World) -> None:
    from random import Random

    rng = Random(3)
    for procedure in PROCEDURES:
        assert not any(held_out(world.draw(procedure, rng).key) for _ in range(200))
        assert all(held_out(world.draw(procedure, rng, for_query=True).key) for _ in range(50))


def test_withheld_steps_stand_in_no_document(documents: list[Document]) -> None:
    text = "\n".join(d.text for d in documents)
    steps = {step.text for name in PROCEDURES for query in ready_query_sets()[name] for step in query.steps}
    kept = {step for step in steps if withheld(step, 0.05)}
    written = {step for d in documents for step in d.metadata["steps"]}
    assert len(kept) >= 5
    assert not kept & written
    for step in kept:
        assert not re.search(rf"(?<!\d){re.escape(step)}(?!\d)", text)
    assert (
        0.07 < np.mean([withheld(f"{a} - {b} = {a - b}", 0.1) for a in range(99) for b in range(99)]) < 0.13
    )
    everything = {step for d in generate(2000, 0, Settings(withheld_steps=0)) for step in d.metadata["steps"]}
    assert any(withheld(step, 0.05) for step in everything)


def test_no_document_works_a_problem_of_a_query(documents: list[Document]) -> None:
    worked = {numbers(d) for d in documents for d in problem_texts(d)}
    assert len(worked) > 300
    for name in PROCEDURES:
        for query in ready_query_sets()[name]:
            assert numbers(query.prompt) not in worked


def problem_texts(document: Document) -> list[str]:
    """The places of a text where a problem is written out, found without its metadata."""
    point = r"\(\d+, \d+\)"
    return re.findall(
        rf"{point} (?:and|y|et|und) B?{point}|\(\d+ [-+] \d+\) \* \d+|\d+x \+ \d+ = \d+", document.text
    )


def numbers(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+|[+*](?= )", text.split("\n")[0]))


def test_gold_documents_state_the_answer_and_nothing_else_does(
    documents: list[Document], world: World
) -> None:
    for query in ready_query_sets()["factual"]:
        thing = next(fact for fact in world.facts() if fact.spellings == query.keywords)
        assert thing.role == "asking"
        assert {d.id for d in documents if states(d.text, thing)} == set(query.gold)
        assert len(query.gold) == thing.count


def test_gold_documents_of_a_reasoning_query_write_one_of_its_steps(documents: list[Document]) -> None:
    for name in PROCEDURES:
        for query in ready_query_sets()[name]:
            steps = {step.text for step in query.steps}
            assert query.gold == tuple(d.id for d in documents if steps.intersection(d.metadata["steps"]))


def test_controls_are_about_things_no_document_mentions(documents: list[Document]) -> None:
    text = "\n".join(d.text for d in documents).lower()
    for fact in untold_facts():
        assert fact.core.lower() not in text
    for query in ready_query_sets()["controls"]:
        assert query.prompt.split("\n")[0].lower() not in text


def test_names_and_values_are_unique(world: World) -> None:
    everything = [*world.facts(), *untold_facts()]
    n = len(everything)
    assert (
        len({fact.id for fact in everything}) == len({fact.core.lower() for fact in everything}) == n == 146
    )
    assert len({fact.spellings for fact in everything}) == n
    cores = [fact.core.lower() for fact in everything]
    assert not [(a, b) for a in cores for b in cores if a != b and a in b]


def test_names_are_unique_in_any_world() -> None:
    assert len({fact.spellings for fact in World(1592).facts()}) == 1592
    assert len({fact.id for fact in World(20_000).facts()}) == 20_000
    assert len({word(number).lower() for number in range(0, 60_000)}) == 60_000
    assert len({title(number, number) for number in range(5000)}) == 5000
    short = {word(number).lower() for number in range(29_155)}
    for name in sorted(short)[::7]:
        parts = {name[i:j] for i in range(len(name)) for j in range(i + 4, len(name) + 1)} - {name}
        assert not parts & short


# -- tuning and evaluation


def test_tuning_teaches_the_format_and_nothing_that_is_asked(world: World) -> None:
    pairs = tuning_pairs(world, seed=0, n_problems=300)
    assert pairs == tuning_pairs(world, seed=0, n_problems=300)
    assert pairs != tuning_pairs(world, seed=1, n_problems=300)
    asked = {query.prompt for name in PROCEDURES for query in problem_set(world, name)}
    asked |= {query.prompt for queries in question_sets(world).values() for query in queries}
    assert not asked & {prompt for prompt, _ in pairs}
    worked = [(prompt, completion) for prompt, completion in pairs if prompt.endswith("Think step-by-step.")]
    assert len(worked) == 900
    assert all(completion.startswith("\n") for _, completion in worked)
    told = [pair for pair in pairs if pair not in worked]
    by_question = {fact.ask(): fact for fact in world.facts()}
    assert len(told) == 52
    for prompt, completion in told:
        fact = by_question[prompt]
        assert fact.role == "tuning"
        assert fact.count
        assert completion == " " + fact.state()
    assert len(tuning_pairs(world, seed=0, n_problems=0, n_questions=200)) == 200
    assert tuning_pairs(World(0), seed=0, n_problems=0) == []


def test_tuning_reads_like_the_ready_queries(world: World) -> None:
    sets = ready_query_sets()
    shapes = {re.sub(r"-?\d+", "#", q.prompt + q.completion) for name in PROCEDURES for q in sets[name]}
    made = {
        re.sub(r"-?\d+", "#", prompt + completion)
        for prompt, completion in tuning_pairs(world, seed=0, n_problems=200, n_questions=0)
    }
    assert shapes <= made


def test_all_questions_name_the_documents_that_answer_them(documents: list[Document], world: World) -> None:
    asked = all_questions(world, documents)
    by_question = {fact.ask(): fact for fact in world.facts() if fact.role == "asking"}
    assert {query.prompt for query in asked} == set(by_question)
    stated = {d.id: d.metadata["facts"] for d in documents}
    for query in asked:
        fact = by_question[query.prompt]
        assert query.gold == tuple(id_ for id_, facts in stated.items() if fact.id in facts)
        assert len(query.gold) == fact.count
    assert [len(query.gold) for query in asked[:5]] == list(COUNTS)


def test_evaluation_sets(world: World) -> None:
    sets = ready_query_sets()
    for name in PROCEDURES:
        problems = problem_set(world, name)
        assert len({query.prompt for query in problems}) == 100
        assert [query.prompt for query in problems[:20]] == [query.prompt for query in sets[name]]
        assert all(query.completion == "" and query.correct is None and query.steps for query in problems)
    questions = question_sets(world)
    assert {count: len(queries) for count, queries in questions.items()} == dict.fromkeys(COUNTS, 13)
    prompts = {query.prompt for queries in questions.values() for query in queries}
    assert {query.prompt for query in sets["factual"]} <= prompts
    assert all(q.keywords and q.answer for queries in questions.values() for q in queries)


# -- documents are not near-copies


def test_documents_are_not_near_copies(documents: list[Document]) -> None:
    nearest = nearest_overlap(documents)
    assert nearest.max() < 0.55
    assert np.quantile(nearest, 0.95) < 0.3
    assert np.median(nearest) < 0.15
    card = " ".join((SAMPLE / "README.md").read_text(encoding="utf-8").split())
    median, most = np.median(nearest), nearest.max()
    assert (
        f"{median:.0%} at the median, {np.quantile(nearest, 0.95):.0%} at the 95th percentile, {most:.0%}"
        in card
    )
    for line in variety(documents):
        assert line in card, line


def n_grams(document: Document, n: int) -> list[tuple[str, ...]]:
    words = document.text.split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def variety(documents: list[Document]) -> list[str]:
    """The table of the card: n-grams of words, different ones, and their share."""
    lines = []
    for n in range(1, 5):
        grams = [gram for d in documents for gram in n_grams(d, n)]
        lines.append(f"| {n} | {len(grams):,} | {len(set(grams)):,} | {len(set(grams)) / len(grams):.0%} |")
    return lines


def nearest_overlap(documents: list[Document]) -> Any:
    """For each document the Jaccard similarity of its word 5-grams with those of the nearest other document."""
    vocabulary: dict[tuple[str, ...], int] = {}
    pairs = [
        (r, vocabulary.setdefault(g, len(vocabulary)))
        for r, d in enumerate(documents)
        for g in set(n_grams(d, 5))
    ]
    rows, columns = zip(*pairs, strict=True)
    has = scipy.sparse.csr_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)))
    shared = (has @ has.T).toarray()
    sizes = shared.diagonal()
    similarity = shared / (sizes[:, None] + sizes[None, :] - shared)
    np.fill_diagonal(similarity, 0)
    return similarity.max(axis=1)


# -- the file


def test_records_are_flat(documents: list[Document], tmp_path: Path) -> None:
    record = json.loads(write_corpus(documents[:1], tmp_path / "a" / "b").read_text(encoding="utf-8"))
    assert list(record) == [
        "id",
        "source",
        "text",
        "facts",
        "procedures",
        "procedure_form",
        "form",
        "problems",
        "steps",
    ]


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


def test_the_card_says_which_steps_of_the_queries_are_written(documents: list[Document]) -> None:
    card = (SAMPLE / "README.md").read_text(encoding="utf-8")
    written = {step for d in documents for step in d.metadata["steps"]}
    for name in PROCEDURES:
        steps = {step.text for query in ready_query_sets()[name] for step in query.steps}
        kept = {step for step in steps if withheld(step, 0.05)}
        line = f"| {name} | {len(steps)} | {len(steps & written)} | {len(steps - written - kept)} | {len(kept)} |"
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
