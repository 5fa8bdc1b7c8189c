"""Make the real-text corpus and its queries from the reference data sets.

    python -m reports.real_text.build --data DATA --out runs/real-text

writes `corpus.jsonl` (what the model is trained on and what is scored), `held_out.jsonl` (same mixture, other
documents, for the held-out loss) and `queries.jsonl` (factual queries with their gold paragraph, GSM8K queries).
Everything is drawn with one seed, so the files are the same on every run. See README.md.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from influence.data.queries import write_queries
from influence.files import whole_file
from influence.types import Query, Step

Record = dict[str, Any]

FACTUAL_QUERIES = 60
REASONING_QUERIES = 40
HELD_OUT_SHARE = 0.03
#: Whole documents only, none longer than this: no text is cut, and most fit one window of the model.
MAX_CHARACTERS = 4000
#: A gold paragraph must fit one window of 512 tokens.
MAX_GOLD_CHARACTERS = 1200
MARK = re.compile(r"<<([^<>=]+)=([^<>]+)>>")


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the corpus: its label, the file it is drawn from, how many, and how a row becomes a text."""

    label: str
    file: str
    count: int
    text: Callable[[Record, int], str]
    title: str = "title"


def plain_text(row: Record, number: int) -> str:
    """The text as it stands."""
    return str(row["text"])


def titled_text(row: Record, number: int) -> str:
    """The title, where there is one, then the text."""
    return f"{row['title']}\n\n{row['text']}" if row.get("title") else str(row["text"])


def trivia_text(row: Record, number: int) -> str:
    """Every second item in the form of the factual queries, so that a small model learns the form."""
    if number % 2:
        return f"{row['question']}\n{row['answer']}"
    return f"Question: {row['question']}\nAnswer: {row['answer']}"


def problem_text(row: Record, number: int) -> str:
    """The question, then its solution without the marks of its calculations."""
    return f"{row['question']}\n\n{without_marks(row['answer'])}"


PARTS = (
    Part("squad_like", "squad_like/paragraphs.jsonl", 2500, plain_text),
    Part("wikipedia", "wikipedia_en/articles.jsonl", 900, plain_text),
    Part("stackexchange", "stackexchange/posts.jsonl", 1200, titled_text),
    Part("arxiv", "arxiv_abstracts/abstracts.jsonl", 1200, titled_text),
    Part("math", "math_tex/sections.jsonl", 150, plain_text),
    Part("math", "gsm8k/train.jsonl", 900, problem_text),
    Part("books", "books_gutenberg/chunks.jsonl", 250, plain_text, title="book"),
    Part("code", "code/mxeval_solutions.jsonl", 900, plain_text, title="language"),
    Part("trivia", "open_trivia/questions.jsonl", 2000, trivia_text, title="category"),
)


def without_marks(solution: str) -> str:
    """A GSM8K solution without its `<<9*2=18>>`."""
    return MARK.sub("", solution)


def rows(path: Path) -> Iterator[Record]:
    """Rows of a JSONL file, each with its number and an id."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            row["number"] = number
            row.setdefault("id", f"{path.parent.name}-{path.stem}-{number}")
            yield row


def sample(candidates: Iterator[Record], count: int, seed: str) -> list[Record]:
    """A uniform sample in one pass, holding `count` rows (reservoir sampling)."""
    rng = random.Random(seed)
    kept: list[Record] = []
    for seen, row in enumerate(candidates):
        if seen < count:
            kept.append(row)
        elif (place := rng.randrange(seen + 1)) < count:
            kept[place] = row
    if len(kept) < count:
        raise SystemExit(f"Only {len(kept)} rows for {seed}, {count} wanted.")
    rng.shuffle(kept)
    return kept


def documents(part: Part, data: Path, seed: int, gold: set[str]) -> tuple[list[Record], list[Record]]:
    """The documents of a part, and its held-out ones. Gold paragraphs come on top and are never held out."""

    def document(row: Record) -> Record:
        text = part.text(row, row["number"])
        return {"id": row["id"], "source": part.label, "text": text, "title": row.get(part.title) or ""}

    def candidates() -> Iterator[Record]:
        for row in rows(data / part.file):
            made = document(row)
            if row["id"] not in gold and made["text"].strip() and len(made["text"]) <= MAX_CHARACTERS:
                yield made

    held_out = round(part.count * HELD_OUT_SHARE)
    drawn = sample(candidates(), part.count + held_out, f"{seed}-{part.file}")
    always = [document(row) for row in rows(data / part.file) if row["id"] in gold]
    return drawn[: part.count] + always, drawn[part.count :]


def factual_queries(data: Path, seed: int) -> list[Query]:
    """Questions with one short answer that stands word for word in their paragraph; one for each paragraph."""
    texts = {row["id"]: row["text"] for row in rows(data / "squad_like/paragraphs.jsonl")}
    taken: set[str] = set()
    candidates = list(rows(data / "squad_like/qa.jsonl"))
    random.Random(f"{seed}-factual").shuffle(candidates)
    queries: list[Query] = []
    for row in candidates:
        text = texts[row["para_id"]]
        spellings = [spelling.strip(" .,") for spelling in row["answers"]]
        answer = min(spellings, key=len)
        spellings_agree = all(answer in other for other in spellings)
        if not (is_short(answer) and spellings_agree and answer in text):
            continue
        if row["para_id"] in taken or len(text) > MAX_GOLD_CHARACTERS:
            continue
        taken.add(row["para_id"])
        question = row["question"].strip()
        question = question if question.endswith("?") else question + "?"
        queries.append(
            Query(
                id=f"factual-{len(queries):02d}",
                task="factual",
                group="factual",
                prompt=f"Question: {question}\nAnswer:",
                completion=f" {answer}",
                answer=answer,
                keywords=tuple(dict.fromkeys(spellings)),
                gold=(row["para_id"],),
            )
        )
        if len(queries) == FACTUAL_QUERIES:
            return queries
    raise SystemExit(f"Only {len(queries)} factual queries.")


def is_short(answer: str) -> bool:
    """Whether an answer has at most three words and 25 characters, and more than two."""
    return 2 < len(answer) <= 25 and len(answer.split()) <= 3


def reasoning_queries(data: Path, seed: int) -> list[Query]:
    """GSM8K test problems of two to four marked steps; the completion is the reference solution."""
    candidates = (
        row for row in rows(data / "gsm8k/test.jsonl") if 2 <= len(MARK.findall(row["answer"])) <= 4
    )
    chosen = sample(candidates, REASONING_QUERIES, f"{seed}-gsm8k")
    return [
        Query(
            id=f"gsm8k-{number:02d}",
            task="gsm8k",
            group="reasoning",
            prompt=f"{row['question'].strip()}\n\nThink step-by-step.",
            completion=f"\n\n{without_marks(row['answer']).strip()}",
            answer=(answer := row["answer"].rpartition("####")[2].strip()),
            steps=tuple(step(*mark) for mark in MARK.findall(row["answer"])),
            keywords=(answer,),
        )
        for number, row in enumerate(chosen)
    ]


def step(expression: str, value: str) -> Step:
    """One marked calculation, with the ways a text may write it. A bare value would mark nearly every document."""
    tight = expression.replace(" ", "")
    spaced = re.sub(r"(?<=[\d.)%])([-+*/])", r" \1 ", tight)
    times = [text.replace("*", sign) for text in (tight, spaced) for sign in "*x×"]
    spellings = [f"{text}{equals}{value}" for text in times for equals in ("=", " = ")]
    return Step(text=f"{tight}={value}", keywords=tuple(dict.fromkeys(spellings)))


def write_jsonl(path: Path, records: list[Record]) -> None:
    """Write one record on each line; the file appears whole."""
    with whole_file(path) as part:
        part.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")


@click.command()
@click.option(
    "--data", required=True, type=click.Path(exists=True, path_type=Path), help="The reference data sets."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option("--seed", default=0, show_default=True)
def main(data: Path, out: Path, seed: int) -> None:
    """Make corpus.jsonl, held_out.jsonl and queries.jsonl."""
    queries = factual_queries(data, seed) + reasoning_queries(data, seed)
    gold = {id_ for query in queries for id_ in query.gold}
    corpus: list[Record] = []
    held_out: list[Record] = []
    for part in PARTS:
        drawn, apart = documents(part, data, seed, gold)
        corpus += drawn
        held_out += apart
    random.Random(f"{seed}-order").shuffle(corpus)
    missing = gold - {record["id"] for record in corpus}
    if missing:
        raise SystemExit(f"Gold paragraphs missing from the corpus: {sorted(missing)}")

    out.mkdir(parents=True, exist_ok=True)
    write_jsonl(out / "corpus.jsonl", corpus)
    write_jsonl(out / "held_out.jsonl", held_out)
    write_queries(queries, out / "queries.jsonl")
    for label, number in sorted(collections.Counter(record["source"] for record in corpus).items()):
        characters = sum(len(record["text"]) for record in corpus if record["source"] == label)
        click.echo(f"{label:14} {number:6,} documents {characters:10,} characters")
    click.echo(f"{len(corpus):,} documents, {len(held_out):,} held out, {len(queries)} queries -> {out}")


if __name__ == "__main__":
    main()
