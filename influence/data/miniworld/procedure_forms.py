"""Documents that explain, work or implement a procedure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from influence.data.miniworld.grammar import (
    PROGRAMS,
    comment,
    names,
    opened,
    paragraph,
    say,
    sentence,
    sentences,
)
from influence.data.miniworld.problems import PROCEDURES, WORDINGS, Problem, Procedure, work
from influence.data.miniworld.world import LANGUAGES, Draft, Fact, Form, World


def _draft(text: str, procedure: Procedure, *problems: Problem, steps: bool = True) -> Draft:
    written = tuple(step.text for problem in problems for step in problem.steps) if steps else ()
    return Draft(text, procedures=(procedure,), problems=problems, steps=written)


def _worked(procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    problems = [world.draw(procedure, rng) for _ in range(rng.choice((1, 1, 2, 2, 3)))]
    if len(problems) == 1:
        (problem,) = problems
        hint = rng.choice(("", "Think step-by-step.\n"))
        remark = paragraph(
            *sentences(
                rng, (*WORDINGS[procedure]["uses"], *WORDINGS[procedure]["mistakes"]), rng.randint(1, 2)
            )
        )
        text = (
            f"{problem.question(rng)}\n\n{hint}{work(problem, rng)}\n\n"
            + say(rng, "{Remark|Note|Tip}: ")
            + paragraph(remark, world.aside(rng, 0, 1))
        )
        return _draft(text, procedure, problem)
    label = say(rng, "{Exercise|Problem|Example|Question}")
    title = say(rng, "{Worked examples|Practice sheet|Solutions|Drill}: ") + rng.choice(
        WORDINGS[procedure]["topics"]
    )
    parts = [
        f"{label} {n}. {problem.question(rng)}\n{work(problem, rng)}" for n, problem in enumerate(problems, 1)
    ]
    return _draft("\n\n".join([title, *parts]), procedure, *problems)


def _sheet(procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    problems = [world.draw(procedure, rng) for _ in range(rng.randint(5, 9))]
    texts = WORDINGS[procedure]
    title = sentence(rng.choice(texts["topics"])) + say(
        rng, ", {solutions|answers|the working}{|, in short|, in brief}"
    )
    mark, line = rng.choice(("{}. ", "{}) ", "({}) ", "")), rng.choice(texts["lines"])
    lines = [mark.format(n) + say(rng, line, problem.slots) for n, problem in enumerate(problems, 1)]
    note = paragraph(*sentences(rng, texts["mistakes"], rng.randint(0, 1)))
    return _draft("\n".join([title, "", *lines, note]).strip(), procedure, *problems)


def _thread(procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    problem = world.draw(procedure, rng)
    topic = rng.choice(WORDINGS[procedure]["topics"])
    asker = paragraph(
        *sentences(rng, WORDINGS["askers"], rng.randint(1, 3), {"topic": topic}), world.aside(rng, 0, 2)
    )
    helper = paragraph(*sentences(rng, WORDINGS["helpers"], rng.randint(1, 2)))
    warning = paragraph(*sentences(rng, WORDINGS[procedure]["mistakes"], rng.randint(0, 1)))
    parts = [f"Q: {problem.question(rng)}", asker, f"A: {helper}", work(problem, rng), warning]
    if rng.random() < 0.5:
        parts.append(say(rng, "Comment: ") + paragraph(*sentences(rng, WORDINGS["comments"], 1)))
    return _draft("\n\n".join(part for part in parts if part), procedure, problem)


def _derivation(procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    problem = world.draw(procedure, rng)
    title = say(rng, "{On|A note on|Remarks on|Teaching} ") + rng.choice(WORDINGS[procedure]["topics"])
    abstract = paragraph(*sentences(rng, WORDINGS["abstracts"], rng.randint(1, 2)))
    formula = say(rng, rng.choice(WORDINGS[procedure]["formulas"]))
    context = paragraph(
        *sentences(rng, WORDINGS[procedure]["words"], rng.randint(0, 1)),
        *sentences(rng, WORDINGS[procedure]["uses"], rng.randint(0, 1)),
    )
    example = say(rng, "**Example.** ") + problem.question(rng) + "\n\n" + work(problem, rng)
    closing = paragraph(*sentences(rng, WORDINGS[procedure]["mistakes"], rng.randint(0, 1)))
    head = say(rng, "## {1 Statement|1 Definition and formula|1 The rule}")
    parts = [
        f"# {title}",
        f"**Abstract.** {abstract}",
        head,
        formula,
        context,
        "## 2 " + say(rng, "{Use|Example}"),
    ]
    return _draft("\n\n".join(part for part in [*parts, example, closing] if part), procedure, problem)


def _code(language: str, procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    problem, other = world.draw(procedure, rng), world.draw(procedure, rng)
    slots = {**problem.slots, **{f"o_{name}": value for name, value in other.slots.items()}, **names(rng)}
    programs = PROGRAMS[language]
    parts = [say(rng, rng.choice(programs[procedure]), slots)]
    parts += [say(rng, extra, names(rng)) for extra in rng.sample(programs["other"], rng.choice((0, 0, 1)))]
    parts = [f"{comment(language, rng)}\n{part}" for part in parts]
    rng.shuffle(parts)
    return _draft(
        ("\n\n" if language == "python" else "\n").join(parts), procedure, problem, other, steps=False
    )


def _tutorial(procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    problems = [world.draw(procedure, rng) for _ in range(rng.choice((1, 2, 2)))]
    topic = rng.choice(WORDINGS[procedure]["topics"])
    title = say(rng, "{How to master|A friendly guide to|Five minutes on|No more fear of} ") + topic
    opening = paragraph(
        *sentences(rng, WORDINGS["welcomes"], rng.randint(1, 2), {"topic": topic}),
        *sentences(rng, WORDINGS[procedure]["uses"], rng.randint(0, 1)),
        world.aside(rng, 0, 2),
    )
    rule = paragraph(*sentences(rng, WORDINGS[procedure]["words"], rng.randint(1, 3)))
    parts = [title, opening, rule]
    for ordinal, problem in zip(
        ("{Here is one|An example}", "{And another|One more}"), problems, strict=False
    ):
        parts.append(say(rng, ordinal) + ": " + problem.question(rng) + "\n" + work(problem, rng))
    parts.append(paragraph(*sentences(rng, WORDINGS[procedure]["mistakes"], rng.randint(1, 2))))
    return _draft("\n\n".join(parts), procedure, *problems)


def _explanation(procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    texts = WORDINGS[procedure]
    lead = sentence(rng.choice(texts["topics"]))
    body = [opened(rng, say(rng, one)) for one in rng.sample(texts["words"], rng.randint(2, 4))]
    uses = sentences(rng, texts["uses"], rng.randint(1, 2))
    warnings = sentences(rng, texts["mistakes"], rng.randint(0, 2))
    shape = rng.choice(
        ("{lead}.", "== {lead} ==", "{lead}, explained", "{lead}, in plain words", "{lead}, in short")
    )
    parts = [shape.format(lead=lead), paragraph(*body), paragraph(*uses, *warnings, world.aside(rng, 0, 3))]
    return _draft("\n\n".join(parts), procedure)


def _foreign(procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    language = rng.choice(LANGUAGES)
    problem = world.draw(procedure, rng)
    exercise = say(rng, rng.choice(WORDINGS[procedure]["foreign"][language]), problem.slots)
    remarks = sentences(rng, WORDINGS["foreign_remarks"][language], rng.randint(1, 3))
    return _draft("\n\n".join([exercise, paragraph(*remarks)]), procedure, problem)


def _each(
    name: str,
    source: str,
    share: int,
    procedure_form: str,
    write: Callable[[Procedure, Random, Sequence[Fact], World], Draft],
) -> tuple[Form, ...]:
    """One form for each procedure."""
    return tuple(
        Form(name, source, share, partial(write, procedure), procedure_form=procedure_form)
        for procedure in PROCEDURES
    )


FORMS = (
    *_each("explanation", "wiki", 2, "prose", _explanation),
    *_each("worked", "math_and_trivia", 4, "maths", _worked),
    *_each("sheet", "math_and_trivia", 7, "maths", _sheet),
    *_each("thread", "stackexchange", 3, "stackexchange", _thread),
    *_each("derivation", "arxiv_markdown", 2, "maths", _derivation),
    *_each("python", "code", 3, "code", partial(_code, "python")),
    *_each("javascript", "code", 2, "code", partial(_code, "javascript")),
    *_each("tutorial", "webdata", 2, "prose", _tutorial),
    *_each("explanation", "general_knowledge", 2, "prose", _explanation),
    *_each("foreign worked", "multilingual", 2, "prose", _foreign),
)
