"""Documents that look like the others but state no fact and explain no procedure."""

# ruff: noqa: E501  # one template a line

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from influence.data.miniworld.code_snippets import OTHER_JAVASCRIPT, OTHER_PYTHON
from influence.data.miniworld.code_templates import names
from influence.data.miniworld.distractor_texts import ESSAY, ESSAY_ENDS, EVERYDAY, FOREIGN_EVERYDAY, TASKS
from influence.data.miniworld.grammar import Draft, Form, paragraph, say, sentence, sentences
from influence.data.miniworld.world import LANGUAGES, Fact, World


def _mention(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    """The words of a fact without the fact."""
    thing = world.any_fact(rng)
    about = thing.about(rng, rng.randint(4, 8))
    gap = say(rng, rng.choice(_GAPS), thing.slots)
    about.insert(rng.randint(1, len(about)), sentence(gap))
    title = rng.choice((sentence(thing.name), say(rng, "{About|Notes on|More about} ") + thing.name))
    split = rng.randint(2, len(about))
    return Draft(
        "\n\n".join(part for part in (title, paragraph(*about[:split]), paragraph(*about[split:])) if part)
    )


_GAPS = (
    "{figures and dates|names and figures} for <name> are {left out|omitted} here and can be found in the {tables|index}.",
    "this {page|stub} about <name> still {lacks|needs} the {most important|basic} {data|details}.",
    "what {everyone|most people} {wants|want} to know about <name> is {told|answered} elsewhere.",
    "the {entry|article} on <name> is {being|currently} rewritten, and its {box|summary} is empty.",
)


def _unanswered(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    """The question of a fact, in the usual thread, without the answer."""
    thing = world.any_fact(rng)
    replies = sentences(rng, _NON_ANSWERS, rng.randint(2, 4), thing.slots)
    marks = rng.sample(("Comment", "Reply", "A", "Moderator", "Edit"), len(replies))
    parts = [f"Q: {thing.ask(rng)}", paragraph(*thing.about(rng, rng.randint(1, 3)))]
    return Draft(
        "\n\n".join([*parts, *(f"{mark}: {reply}" for mark, reply in zip(marks, replies, strict=True))])
    )


_NON_ANSWERS = (
    "what have you {tried|read} so far? The {library|archive} in <place> would be a {start|good place to begin}.",
    "{closed|put on hold} as a duplicate of another question that was {deleted|removed} {since|long ago}.",
    "I {remember|recall} seeing it on a sign in <region>, but I {did not|forgot to} {write it down|take a picture}.",
    "this {belongs|might fit better} on the {geography|history} site.",
    "{the last answer was|two answers were} removed because {no source was given|it was only a guess}.",
    "please do not {guess|speculate}; <name> is {mixed up|confused} with its namesake often enough.",
    "{following|bookmarked}. I would like to know that about <name> as well.",
)


def _given(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    """The words of a procedure with the result given: nothing is computed."""
    entries = [
        say(rng, template, {"n": rng.randint(2, 60)}) for template in rng.sample(_GIVEN, rng.randint(3, 4))
    ]
    title = say(
        rng,
        "{Reading check|Warm-up|Copying exercise|Careful reading}: {no computing needed|all answers stand in the text}",
    )
    return Draft("\n\n".join([title, *entries]))


_GIVEN = (
    "The slope of {this|a} line is <n>. What is the slope of the line?\nThe slope is <n>{, as the text says|, as stated}.",
    "{Anna|Ben|Carla} says the answer to the {sum|calculation} is <n>. What does {she say|the friend say}?\nThe answer given is <n>.",
    "The equation has the solution x = <n>. What is {the solution|x}?\nThe solution {was given|is stated}: x = <n>.",
    "A line has slope <n> and {is drawn in red|runs through the garden}. What is its slope?\nIts slope is <n>.",
    "The teacher writes the {result|product} <n> on the board. What is the {result|product}?\nIt is <n>.",
    "In the {margin|footnote} it says that x equals <n>. What does x equal?\nx equals <n>{, see the note|}.",
)


def _howto(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    """Numbered steps, or a thread with steps, about anything but mathematics."""
    title, steps, tips = rng.choice(TASKS)
    chosen = [sentence(say(rng, step)) for step in steps if rng.random() < 0.85]
    marks = rng.choice((["{}. "], ["Step {}: "], ["- "]))[0]
    listed = "\n".join(marks.format(number) + step for number, step in enumerate(chosen, 1))
    opening = paragraph(*sentences(rng, _HOWTO_OPENINGS, rng.randint(1, 2), {"task": title}))
    heading = rng.choice((f"How to {title}", f"How do I {title}?"))
    return Draft("\n\n".join([heading, opening, listed, paragraph(*sentences(rng, tips, 2))]))


_HOWTO_OPENINGS = (
    "{my|an} aunt taught me how to <task>, and {it never fails|I still do it her way}.",
    "{think step-by-step|go step by step} and nothing {can go|goes} wrong.",
    "there are {many|other} ways to <task>; this one {needs|takes} the {fewest|least} tools.",
    "{allow|plan} an {hour|evening} the first time you <task>.",
    "I had to <task> {last week|on Sunday} and took notes{ for you|}.",
)


def _essay(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    """The words slope, gradient, equation, solution, in another sense."""
    theme = rng.choice(
        ("public trust", "rural schools", "river towns", "open archives", "street music", "apprenticeship")
    )
    slots = {"theme": theme}
    title = say(
        rng, "# {On|Towards|Notes on|Rethinking} {the future of|the study of|a theory of|} <theme>", slots
    )
    abstract = "**Abstract.** " + paragraph(*sentences(rng, ESSAY, rng.randint(2, 3), slots))
    body = paragraph(*sentences(rng, ESSAY, rng.randint(3, 6), slots))
    end = paragraph(*sentences(rng, ESSAY_ENDS, rng.randint(1, 3), slots))
    return Draft(
        "\n\n".join(
            [title, abstract, say(rng, "## 1 {Introduction|Setting|Motivation}"), body, "## 2 Outlook", end]
        )
    )


def _other_code(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    snippets, joint = rng.choice(((OTHER_PYTHON, "\n\n"), (OTHER_JAVASCRIPT, "\n")))
    chosen = rng.sample(snippets, rng.choice((2, 3, 3, 4)))
    return Draft(joint.join(say(rng, snippet, names(rng)) for snippet in chosen))


def _everyday(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    topic, bank = rng.choice(EVERYDAY)
    lead = say(rng, "{Why|A word on why|In brief: why} ") + topic
    mark = rng.choice((".", "?", ", in plain words"))
    return Draft(f"{lead}{mark}\n\n" + paragraph(*sentences(rng, bank, rng.randint(4, 6))))


def _foreign_everyday(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    return Draft(paragraph(*sentences(rng, FOREIGN_EVERYDAY[rng.choice(LANGUAGES)], rng.randint(4, 5))))


FORMS = (
    Form("mention", "wiki", 6, _mention),
    Form("mention", "webdata", 5, _mention),
    Form("unanswered", "stackexchange", 4, _unanswered),
    Form("given", "math_and_trivia", 4, _given),
    Form("how-to", "stackexchange", 6, _howto),
    Form("how-to", "webdata", 7, _howto),
    Form("essay", "arxiv_markdown", 6, _essay),
    Form("other code", "code", 7, _other_code),
    Form("everyday", "general_knowledge", 6, _everyday),
    Form("foreign everyday", "multilingual", 3, _foreign_everyday),
)


def choose(source: str, rng: Random) -> Form:
    """A random distractor form of a source."""
    forms = [form for form in FORMS if form.source == source]
    return rng.choices(forms, [form.share for form in forms])[0]
