"""Documents that explain, work or implement a procedure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from influence.data.miniworld.code_snippets import OTHER_JAVASCRIPT, OTHER_PYTHON
from influence.data.miniworld.code_templates import JAVASCRIPT, PYTHON, names
from influence.data.miniworld.explanations import (
    FOREIGN_REMARKS,
    FOREIGN_WORKED,
    FORMULAS,
    MISTAKES,
    USES,
    WORDS,
)
from influence.data.miniworld.grammar import Draft, Form, paragraph, say, sentence, sentences
from influence.data.miniworld.problems import PROCEDURES, Problem, Procedure, work
from influence.data.miniworld.world import LANGUAGES, Fact, World

TOPICS: dict[Procedure, tuple[str, ...]] = {
    "slopes": ("the slope of a line", "slopes from two points", "gradients of straight lines"),
    "arithmetic": ("the order of operations", "two-step arithmetic", "sums with parentheses"),
    "linear": ("linear equations", "solving for x", "equations with one unknown"),
}


def _draft(text: str, procedure: Procedure, *problems: Problem, steps: bool = True) -> Draft:
    written = tuple(step.text for problem in problems for step in problem.steps) if steps else ()
    return Draft(text, procedures=(procedure,), problems=problems, steps=written)


def _worked(procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    problems = [world.draw(procedure, rng) for _ in range(rng.choice((1, 1, 2, 2, 3)))]
    if len(problems) == 1:
        (problem,) = problems
        hint = rng.choice(("", "Think step-by-step.\n"))
        remark = paragraph(*sentences(rng, (*USES[procedure], *MISTAKES[procedure]), rng.randint(1, 2)))
        text = (
            f"{problem.question(rng)}\n\n{hint}{work(problem, rng)}\n\n"
            + say(rng, "{Remark|Note|Tip}: ")
            + remark
        )
        return _draft(text, procedure, problem)
    label = say(rng, "{Exercise|Problem|Example|Question}")
    title = say(rng, "{Worked examples|Practice sheet|Solutions|Drill}: ") + rng.choice(TOPICS[procedure])
    parts = [
        f"{label} {n}. {problem.question(rng)}\n{work(problem, rng)}" for n, problem in enumerate(problems, 1)
    ]
    return _draft("\n\n".join([title, *parts]), procedure, *problems)


def _thread(procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    problem = world.draw(procedure, rng)
    topic = rng.choice(TOPICS[procedure])
    asker = paragraph(*sentences(rng, _ASKERS, rng.randint(1, 3), {"topic": topic}))
    helper = paragraph(*sentences(rng, _HELPERS, rng.randint(1, 2)))
    warning = paragraph(*sentences(rng, MISTAKES[procedure], rng.randint(0, 1)))
    parts = [f"Q: {problem.question(rng)}", asker, f"A: {helper}", work(problem, rng), warning]
    if rng.random() < 0.5:
        parts.append(say(rng, "Comment: ") + paragraph(*sentences(rng, _COMMENTS, 1)))
    return _draft("\n\n".join(part for part in parts if part), procedure, problem)


_ASKERS = (
    "this is {from|on} {last week's|an old} {worksheet|exam} about <topic> and I am {stuck|lost}.",
    "I {tried|began} twice and {got|ended with} two {different|contradictory} answers.",
    "my {textbook|teacher} skips the {middle|intermediate} steps.",
    "please {show|include} every step, not {only|just} the result.",
    "I {understand|follow} the idea of <topic>, but the {signs|numbers} confuse me.",
    "a {calculator|program} gives the {number|result}, but I {want|need} to see why.",
)
_HELPERS = (
    "{take|do} it one step at a time.",
    "you were {close|nearly there}, so {let us|let me} write it out {slowly|in full}.",
    "{nothing here|none of this} needs a calculator.",
    "the {method|recipe} never changes, only the numbers do.",
    "I {always|usually} {write|put} each intermediate result on its own line.",
)
_COMMENTS = (
    "{thank you|thanks}, I had {swapped|mixed up} two of the numbers.",
    "{nice|clear} answer, the {second|last} step was what I {missed|needed}.",
    "{works|checks out} when I {redo|try} it on paper.",
    "could you {also|perhaps} say why the order {matters|counts}?",
)


def _derivation(procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    problem = world.draw(procedure, rng)
    title = say(rng, "{On|A note on|Remarks on|Teaching} ") + rng.choice(TOPICS[procedure])
    abstract = paragraph(*sentences(rng, _ABSTRACTS, rng.randint(1, 2)))
    formula = say(rng, rng.choice(FORMULAS[procedure]))
    context = paragraph(
        *sentences(rng, WORDS[procedure], rng.randint(0, 1)),
        *sentences(rng, USES[procedure], rng.randint(0, 1)),
    )
    example = say(rng, "**Example.** ") + problem.question(rng) + "\n\n" + work(problem, rng)
    closing = paragraph(*sentences(rng, MISTAKES[procedure], rng.randint(0, 1)))
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


_ABSTRACTS = (
    "we {state|recall} the rule, {prove|justify} it in one line and {work|give} an example.",
    "the {material|content} is classical; only the {presentation|arrangement} is ours.",
    "{beginners|first-year students} {profit from|need} seeing each {intermediate|single} result.",
    "we {collect|list} the errors {seen|found} most often in {scripts|homework}.",
    "{no|hardly any} prerequisites {are needed|are assumed} beyond the four operations.",
)


def _code(language: str, procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    problem, other = world.draw(procedure, rng), world.draw(procedure, rng)
    slots = {**problem.slots, **{f"o_{name}": value for name, value in other.slots.items()}, **names(rng)}
    programs, snippets = (PYTHON, OTHER_PYTHON) if language == "python" else (JAVASCRIPT, OTHER_JAVASCRIPT)
    parts = [say(rng, rng.choice(programs[procedure]), slots)]
    parts += [say(rng, snippet, names(rng)) for snippet in rng.sample(snippets, rng.choice((0, 0, 1, 2)))]
    rng.shuffle(parts)
    return _draft(
        ("\n\n" if language == "python" else "\n").join(parts), procedure, problem, other, steps=False
    )


def _tutorial(procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    problems = [world.draw(procedure, rng) for _ in range(rng.choice((1, 2, 2)))]
    topic = rng.choice(TOPICS[procedure])
    title = say(rng, "{How to master|A friendly guide to|Five minutes on|No more fear of} ") + topic
    opening = paragraph(
        *sentences(rng, _WELCOMES, rng.randint(1, 3), {"topic": topic}), *sentences(rng, USES[procedure], 1)
    )
    rule = paragraph(*sentences(rng, WORDS[procedure], rng.randint(1, 3)))
    parts = [title, opening, rule]
    for ordinal, problem in zip(
        ("{Here is one|An example}", "{And another|One more}"), problems, strict=False
    ):
        parts.append(say(rng, ordinal) + ": " + problem.question(rng) + "\n" + work(problem, rng))
    parts.append(paragraph(*sentences(rng, MISTAKES[procedure], rng.randint(1, 2))))
    return _draft("\n\n".join(parts), procedure, *problems)


_WELCOMES = (
    "{many|plenty of} readers {asked|wrote} for a {page|post} on <topic>, so here it is.",
    "{grab|take} a pencil; this {goes|sinks in} better when you {write|copy} along.",
    "if <topic> gave you {trouble|headaches} at school, {start|begin} here.",
    "{parents|tutors} are {welcome|free} to print this {page|sheet}.",
    "{no|not a single} {trick|shortcut} is needed, only {care|patience}.",
)


def _explanation(procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    lead = sentence(rng.choice(TOPICS[procedure]))
    body = sentences(rng, WORDS[procedure], rng.randint(3, 5))
    uses = sentences(rng, USES[procedure], rng.randint(1, 3))
    warnings = sentences(rng, MISTAKES[procedure], rng.randint(0, 2))
    shape = rng.choice(
        (
            f"{lead}.\n\n",
            f"== {lead} ==\n\n",
            f"{lead}, {say(rng, '{explained|in plain words|in short}')}\n\n",
        )
    )
    return _draft(shape + paragraph(*body) + "\n\n" + paragraph(*uses, *warnings), procedure)


def _foreign(procedure: Procedure, rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    language = rng.choice(LANGUAGES)
    problem = world.draw(procedure, rng)
    exercise = say(rng, FOREIGN_WORKED[language][procedure], problem.slots)
    remarks = sentences(rng, FOREIGN_REMARKS[language], rng.randint(1, 3))
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
    *_each("thread", "stackexchange", 3, "stackexchange", _thread),
    *_each("derivation", "arxiv_markdown", 2, "maths", _derivation),
    *_each("python", "code", 3, "code", partial(_code, "python")),
    *_each("javascript", "code", 2, "code", partial(_code, "javascript")),
    *_each("tutorial", "webdata", 2, "prose", _tutorial),
    *_each("explanation", "general_knowledge", 2, "prose", _explanation),
    *_each("foreign worked", "multilingual", 2, "prose", _foreign),
)
