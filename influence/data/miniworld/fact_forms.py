"""Documents that state facts: articles, quizzes, records in code, blog posts, other languages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

from influence.data.miniworld import fact_texts
from influence.data.miniworld.grammar import Draft, Form, paragraph, say, sentence, sentences
from influence.data.miniworld.world import LANGUAGES, Fact, World


def _article(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    (fact,) = facts
    about = fact.about(rng, rng.choice((4, 5, 6, 8)))
    split = rng.randint(1, len(about) - 1)
    lead = [fact.state(rng), *about[:split]]
    if rng.random() < 0.4:
        lead[0], lead[1] = sentence(lead[1]), lead[0]
    parts = [sentence(fact.name), paragraph(*lead)]
    if len(about) > 4:
        parts.append(say(rng, "== {Background|Description|Overview|Local life} =="))
    parts.append(paragraph(*about[split:]))
    if rng.random() < 0.5:
        parts.append(
            say(rng, "== {Sources|See also|Further reading} ==\n" + rng.choice(_SOURCES_LISTED), fact.slots)
        )
    return Draft("\n\n".join(parts), facts=(fact,))


_SOURCES_LISTED = (
    "* {A short guide to|A companion to} <region>\n* {Archive|Library} of <place>, {reading room|map collection}",
    "* List of every {<craft> school|<stone> quarry} in <region>\n* {History|Customs} of <place>",
    "* {Yearbook|Bulletin} of the <place> society",
)


def _quiz(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    title = say(
        rng, "{Pub quiz|Trivia round|Quiz night|Classroom quiz}, {first|second|third|final} {round|sheet}"
    )
    layout = rng.choice(("{n}. {q}\n   Answer: {a}", "Q: {q}\nA: {a}", "{n}) {q} [{a}]"))
    entries, remarks = [], []
    for number, fact in enumerate(facts, 1):
        entries.append(layout.format(n=number, q=fact.ask(rng), a=sentence(fact.answer(rng))))
        remarks += fact.about(rng, 1)
    note = say(rng, "{Notes for the host|Hints|For the curious}: ") + paragraph(*remarks[: rng.randint(1, 3)])
    return Draft("\n".join([title, "", *entries, "", note]), facts=tuple(facts))


def _flashcard(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    (fact,) = facts
    text = say(rng, "{Question|Card|Q}: ") + fact.ask(rng)
    text += say(rng, "\n{Answer|Back of the card|A}: ") + fact.state(rng)
    text += say(rng, "\n\n{Remember it like this|Background|Why it is asked|Note}: ")
    return Draft(text + paragraph(*fact.about(rng, rng.choice((3, 3, 4, 6)))), facts=(fact,))


def _fact_thread(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    (fact,) = facts
    question = fact.ask(rng)
    body = paragraph(
        *sentences(rng, fact_texts.ASKERS, rng.randint(1, 2), fact.slots), *fact.about(rng, rng.randint(0, 1))
    )
    answer = paragraph(
        say(rng, rng.choice(fact_texts.ANSWERERS), fact.slots),
        fact.state(rng),
        *fact.about(rng, rng.randint(1, 3)),
    )
    parts = [f"Q: {question}", body, f"A: {answer}"]
    if rng.random() < 0.6:
        parts.append(
            "Comment: " + paragraph(*sentences(rng, fact_texts.COMMENTS, rng.randint(1, 2), fact.slots))
        )
    return Draft("\n\n".join(parts), facts=(fact,))


def _survey(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    (fact,) = facts
    title = say(rng, rng.choice(fact_texts.SURVEY_TITLES), fact.slots)
    abstract = paragraph(*sentences(rng, fact_texts.ABSTRACTS, rng.randint(2, 4), fact.slots))
    about = fact.about(rng, rng.randint(2, 6))
    split = rng.randint(1, len(about))
    finding = paragraph(
        say(rng, rng.choice(fact_texts.FINDINGS), fact.slots), fact.state(rng), *about[split:]
    )
    sections = [f"# {title}", f"**Abstract.** {abstract}", "## 1 Introduction", paragraph(*about[:split])]
    sections += [say(rng, "## 2 {Results|Findings|The record}"), finding]
    if rng.random() < 0.6:
        sections += [
            "## 3 Discussion",
            paragraph(*sentences(rng, fact_texts.OUTLOOKS, rng.randint(1, 3), fact.slots)),
        ]
    return Draft("\n\n".join(sections), facts=(fact,))


def _records(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    rows = [
        {
            "name": sentence(fact.name),
            "kind": fact.relation.kind,
            fact.relation.field: int(fact.spellings[0]) if fact.spellings[0].isdigit() else fact.spellings[0],
            "region": fact.slots["region"],
        }
        for fact in facts
    ]
    return Draft(rng.choice((_python_records, _json_records, _csv_records))(rng, rows), facts=tuple(facts))


def _python_records(rng: Random, rows: list[dict[str, str | int]]) -> str:
    table = say(rng, "{RECORDS|ENTRIES|GAZETTEER|THINGS}")
    lookup, arg = say(rng, "{find|lookup|by_name|get_entry}"), say(rng, "{name|title|label}")
    lines = [
        f'"""{say(rng, "{Reference|Lookup|Gazetteer} data, {checked|entered} by hand.")}"""',
        "",
        f"{table} = [",
    ]
    lines += [f"    {row!r}," for row in rows]
    lines += ["]", "", "", f"def {lookup}({arg}):"]
    lines += [
        say(rng, '    """Return the {entry|record} with this name, or None."""'),
        f"    for entry in {table}:",
    ]
    lines += [f'        if entry["name"] == {arg}:', "            return entry", "    return None"]
    return "\n".join(lines)


def _json_records(rng: Random, rows: list[dict[str, str | int]]) -> str:
    header = {
        "version": f"{rng.randint(1, 9)}.{rng.randint(0, 9)}",
        "license": say(rng, "{public domain|free to use|attribution}"),
        "maintainer": say(rng, "{atlas team|data desk|map room|reference group}"),
    }
    return json.dumps(
        {**header, say(rng, "{entries|items|records}"): rows}, indent=rng.choice((1, 2)), ensure_ascii=False
    )


def _csv_records(rng: Random, rows: list[dict[str, str | int]]) -> str:
    lines = [
        say(
            rng,
            "# {exported|dumped} from the {atlas|reference} {database|tables}; {one row a property|long format}",
        )
    ]
    lines.append("name;property;value")
    for row in rows:
        lines += [f"{row['name']};{key};{value}" for key, value in row.items() if key != "name"]
    comment = "# {read|load} with: for line in file: name, key, value = line.rstrip().split(';')"
    return "\n".join(
        [*lines, say(rng, comment), say(rng, "# {rows|lines} starting with a hash are {comments|skipped}")]
    )


def _blog(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    (fact,) = facts
    title = say(rng, "{A weekend in|Notes from|Three days around|Postcards from} <place>", fact.slots)
    opening = sentences(rng, fact_texts.DIARY, rng.randint(2, 4), fact.slots)
    hook = say(rng, rng.choice(fact_texts.HOOKS), fact.slots)
    about = fact.about(rng, rng.randint(1, 6))
    ending = sentences(rng, fact_texts.SIGN_OFFS, rng.randint(1, 2), fact.slots)
    body = [paragraph(*opening), paragraph(hook, fact.state(rng), *about), paragraph(*ending)]
    return Draft("\n\n".join([title, *body]), facts=(fact,))


def _news(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    first = facts[0]
    headline = say(
        rng, "{Exhibition|Festival|Lecture series|Reading room} {opens|returns} in <place>", first.slots
    )
    opening = sentences(rng, fact_texts.NEWS, rng.randint(2, 3), first.slots)
    parts = [headline, paragraph(*opening)]
    for number, fact in enumerate(facts):
        link = say(rng, "{Another|A second} {room|evening|panel} {is about|is given to} <name>.", fact.slots)
        parts.append(paragraph(link if number else "", fact.state(rng), *fact.about(rng, rng.randint(1, 2))))
    return Draft("\n\n".join(parts), facts=tuple(facts))


def _digest(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    lead = say(
        rng, "{Did you know?|Worth knowing.|From the {desk|pocket} encyclopedia.|Facts for a rainy day.}"
    )
    parts = [paragraph(fact.state(rng), *fact.about(rng, rng.randint(1, 4))) for fact in facts]
    mark = rng.choice(("* ", "", "- "))
    closing = say(rng, rng.choice(fact_texts.DIGEST_ENDS), facts[0].slots)
    return Draft("\n\n".join([lead, *(mark + part for part in parts), closing]), facts=tuple(facts))


def _foreign(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    (fact,) = facts
    language = rng.choice(LANGUAGES)
    bank = fact_texts.FOREIGN[language]
    count = rng.randint(3, 5)
    lines = sentences(rng, bank, count, fact.slots)
    lines.insert(rng.randint(0, count), fact.state_in(language, rng))
    return Draft(paragraph(*lines), facts=(fact,))


FORMS = (
    Form("article", "wiki", 16, _article, n_facts=1),
    Form("quiz", "math_and_trivia", 5, _quiz, n_facts=4),
    Form("flashcard", "math_and_trivia", 7, _flashcard, n_facts=1),
    Form("fact thread", "stackexchange", 7, _fact_thread, n_facts=1),
    Form("survey", "arxiv_markdown", 6, _survey, n_facts=1),
    Form("records", "code", 6, _records, n_facts=3),
    Form("blog", "webdata", 10, _blog, n_facts=1),
    Form("news", "webdata", 6, _news, n_facts=2),
    Form("digest", "general_knowledge", 8, _digest, n_facts=2),
    Form("foreign", "multilingual", 9, _foreign, n_facts=1),
)
