"""Documents that state facts: articles, quizzes, records in code, blog posts, other languages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

from influence.data.miniworld.grammar import paragraph, say, sentence, sentences, texts
from influence.data.miniworld.world import LANGUAGES, Draft, Fact, Form, World

_TEXTS = texts("facts")
_EVERYDAY = texts("distractors")["foreign"]


def _again(rng: Random, fact: Fact) -> str:
    """The fact once more, as a statement or as a question with its answer: what is said twice can be learned."""
    question = fact.ask(rng) + " " if rng.random() < 0.5 else ""
    return question + fact.state(rng)


def _article(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    (fact,) = facts
    about = fact.about(rng, rng.choice((2, 3, 4, 5)))
    split = rng.randint(1, len(about) - 1)
    lead = [fact.state(rng), *about[:split]]
    if rng.random() < 0.4:
        lead[0], lead[1] = sentence(lead[1]), lead[0]
    parts = [sentence(fact.name), paragraph(*lead)]
    if len(about) > 3:
        parts.append(say(rng, "== {Background|Description|Overview|Local life} =="))
    parts.append(paragraph(*about[split:], world.aside(rng, 0, 2), _again(rng, fact)))
    if rng.random() < 0.5:
        parts.append(
            say(
                rng,
                "== {Sources|See also|Further reading} ==\n" + rng.choice(_TEXTS["sources_listed"]),
                fact.slots,
            )
        )
    return Draft("\n\n".join(parts), facts=(fact,))


def _quiz(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    title = say(
        rng, "{Pub quiz|Trivia round|Quiz night|Classroom quiz}, {first|second|third|final} {round|sheet}"
    )
    layout = rng.choice(("{n}. {q}\n   Answer: {a}", "Q: {q}\nA: {a}", "{n}) {q} [{a}]"))
    entries, remarks = [], []
    asked = [(fact.ask(rng), fact.answer(rng)) for fact in facts]
    asked += rng.sample(_TEXTS["trivia"], rng.randint(1, 3))
    rng.shuffle(asked)
    for number, (question, answer) in enumerate(asked, 1):
        entries.append(layout.format(n=number, q=question, a=sentence(answer)))
    for fact in facts:
        remarks += [*fact.about(rng, 1), fact.state(rng)]
    note = say(rng, "{Notes for the host|Hints|For the curious}: ") + paragraph(
        *remarks, world.aside(rng, 0, 2)
    )
    return Draft("\n".join([title, "", *entries, "", note]), facts=tuple(facts))


def _flashcard(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    (fact,) = facts
    text = say(rng, "{Question|Card|Q}: ") + fact.ask(rng)
    text += say(rng, "\n{Answer|Back of the card|A}: ") + fact.state(rng)
    text += say(rng, "\n\n{Remember it like this|Background|Why it is asked|Note}: ")
    return Draft(
        text + paragraph(*fact.about(rng, rng.choice((1, 2, 3, 4))), world.aside(rng, 1, 2), fact.state(rng)),
        facts=(fact,),
    )


def _fact_thread(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    (fact,) = facts
    question = fact.ask(rng)
    body = paragraph(
        *sentences(rng, _TEXTS["askers"], rng.randint(1, 2), fact.slots),
        *fact.about(rng, rng.randint(0, 1)),
        world.aside(rng, 0, 2),
    )
    answer = paragraph(
        say(rng, rng.choice(_TEXTS["answerers"]), fact.slots),
        fact.state(rng),
        *fact.about(rng, rng.randint(1, 3)),
    )
    parts = [f"Q: {question}", body, f"A: {answer}"]
    if rng.random() < 0.6:
        parts.append(
            "Comment: "
            + paragraph(*sentences(rng, _TEXTS["comments"], rng.randint(1, 2), fact.slots), fact.state(rng))
        )
    return Draft("\n\n".join(parts), facts=(fact,))


def _survey(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    (fact,) = facts
    title = say(rng, rng.choice(_TEXTS["survey_titles"]), fact.slots)
    abstract = paragraph(*sentences(rng, _TEXTS["abstracts"], rng.randint(2, 4), fact.slots))
    about = fact.about(rng, rng.randint(2, 6))
    split = rng.randint(1, len(about))
    finding = paragraph(say(rng, rng.choice(_TEXTS["findings"]), fact.slots), fact.state(rng), *about[split:])
    sections = [
        f"# {title}",
        f"**Abstract.** {abstract} {_again(rng, fact)}",
        "## 1 Introduction",
        paragraph(*about[:split]),
    ]
    sections += [say(rng, "## 2 {Results|Findings|The record}"), finding]
    if rng.random() < 0.6:
        sections += [
            "## 3 Discussion",
            paragraph(*sentences(rng, _TEXTS["outlooks"], rng.randint(1, 3), fact.slots)),
        ]
    return Draft("\n\n".join(sections), facts=(fact,))


def _records(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    rows = [
        {
            "name": sentence(fact.name),
            "kind": fact.relation.kind,
            fact.relation.field: int(fact.spellings[0]) if fact.spellings[0].isdigit() else fact.spellings[0],
            "region": fact.slots["region"],
            "note": world.aside(rng, 1, 1),
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
    opening = sentences(rng, _TEXTS["diary"], rng.randint(1, 3), fact.slots)
    hook = say(rng, rng.choice(_TEXTS["hooks"]), fact.slots)
    about = fact.about(rng, rng.randint(1, 3))
    ending = sentences(rng, _TEXTS["sign_offs"], rng.randint(1, 2), fact.slots)
    body = [
        paragraph(*opening, world.aside(rng, 1, 3)),
        paragraph(hook, fact.state(rng), *about),
        paragraph(*ending, _again(rng, fact)),
    ]
    return Draft("\n\n".join([title, *body]), facts=(fact,))


def _news(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    first = facts[0]
    headline = say(
        rng, "{Exhibition|Festival|Lecture series|Reading room} {opens|returns} in <place>", first.slots
    )
    opening = sentences(rng, _TEXTS["news"], rng.randint(1, 2), first.slots)
    parts = [headline, paragraph(*opening, world.aside(rng, 0, 2))]
    for number, fact in enumerate(facts):
        link = say(rng, "{Another|A second} {room|evening|panel} {is about|is given to} <name>.", fact.slots)
        parts.append(
            paragraph(
                link if number else "",
                fact.state(rng),
                *fact.about(rng, rng.randint(1, 2)),
                _again(rng, fact),
            )
        )
    return Draft("\n\n".join(parts), facts=tuple(facts))


def _digest(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    lead = say(
        rng, "{Did you know?|Worth knowing.|From the {desk|pocket} encyclopedia.|Facts for a rainy day.}"
    )
    parts = [
        paragraph(fact.state(rng), *fact.about(rng, rng.randint(1, 4)), _again(rng, fact)) for fact in facts
    ]
    mark = rng.choice(("* ", "", "- "))
    parts += [world.aside(rng, 1, 2)] * rng.randint(0, 1)
    closing = say(rng, rng.choice(_TEXTS["digest_ends"]), facts[0].slots)
    return Draft("\n\n".join([lead, *(mark + part for part in parts), closing]), facts=tuple(facts))


def _foreign(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    (fact,) = facts
    language = rng.choice(LANGUAGES)
    bank = _TEXTS["foreign"][language]
    lines = sentences(rng, bank, rng.randint(1, 4), fact.slots)
    lines += sentences(rng, _EVERYDAY[language], rng.randint(1, 2))
    for _ in range(2):
        lines.insert(rng.randint(0, len(lines)), fact.state_in(language, rng))
    return Draft(paragraph(*lines), facts=(fact,))


FORMS = (
    Form("article", "wiki", 16, _article, n_facts=1),
    Form("quiz", "math_and_trivia", 5, _quiz, n_facts=2),
    Form("flashcard", "math_and_trivia", 7, _flashcard, n_facts=1),
    Form("fact thread", "stackexchange", 7, _fact_thread, n_facts=1),
    Form("survey", "arxiv_markdown", 6, _survey, n_facts=1),
    Form("records", "code", 6, _records, n_facts=2),
    Form("blog", "webdata", 10, _blog, n_facts=1),
    Form("news", "webdata", 6, _news, n_facts=2),
    Form("digest", "general_knowledge", 8, _digest, n_facts=2),
    Form("foreign", "multilingual", 9, _foreign, n_facts=1),
)
