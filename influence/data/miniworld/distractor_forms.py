"""Documents that look like the others but state no fact and explain no procedure."""

from __future__ import annotations

from collections.abc import Sequence
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
    texts,
)
from influence.data.miniworld.world import LANGUAGES, Draft, Fact, Form, World

_TEXTS = texts("distractors")


def _mention(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    """The words of a fact without the fact."""
    thing = world.any_fact(rng)
    about = thing.about(rng, rng.randint(2, 5))
    gap = say(rng, rng.choice(_TEXTS["gaps"]), thing.slots)
    about.insert(rng.randint(1, len(about)), sentence(gap))
    title = rng.choice((sentence(thing.name), say(rng, "{About|Notes on|More about} ") + thing.name))
    split = rng.randint(2, len(about))
    return Draft(
        "\n\n".join([title, paragraph(*about[:split]), paragraph(*about[split:], world.aside(rng, 1, 3))])
    )


def _unanswered(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    """The question of a fact, in the usual thread, without the answer."""
    thing = world.any_fact(rng)
    replies = sentences(rng, _TEXTS["non_answers"], rng.randint(2, 4), thing.slots)
    marks = rng.sample(("Comment", "Reply", "A", "Moderator", "Edit"), len(replies))
    parts = [f"Q: {thing.ask(rng)}", paragraph(*thing.about(rng, rng.randint(1, 2)), world.aside(rng, 0, 2))]
    return Draft(
        "\n\n".join([*parts, *(f"{mark}: {reply}" for mark, reply in zip(marks, replies, strict=True))])
    )


def _given(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    """The words of a procedure with the result given: nothing is computed."""
    entries = [
        say(rng, template, {"n": rng.randint(2, 60)})
        for template in rng.sample(_TEXTS["given"], rng.randint(2, 4))
    ]
    title = say(
        rng,
        "{Reading check|Warm-up|Copying exercise|Careful reading}: {no computing needed|all answers stand in the text}",
    )
    return Draft("\n\n".join([title, world.aside(rng, 1, 3), *entries]))


def _howto(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    """Numbered steps, or a thread with steps, about anything but mathematics."""
    task = rng.choice(_TEXTS["task"])
    places = sorted(rng.sample(range(len(task["steps"])), rng.randint(3, 5)))
    chosen = [opened(rng, say(rng, task["steps"][place])) for place in places]
    marks = rng.choice((["{}. "], ["Step {}: "], ["- "]))[0]
    listed = "\n".join(marks.format(number) + step for number, step in enumerate(chosen, 1))
    opening = paragraph(*sentences(rng, _TEXTS["howto_openings"], rng.randint(1, 2), {"task": task["title"]}))
    heading = rng.choice((f"How to {task['title']}", f"How do I {task['title']}?"))
    tips = paragraph(*sentences(rng, task["tips"], rng.randint(1, 2)), world.aside(rng, 1, 3))
    return Draft("\n\n".join([heading, opening, listed, tips]))


def _essay(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    """The words slope, gradient, equation, solution, in another sense."""
    slots = {"theme": rng.choice(_TEXTS["themes"])}
    title = say(
        rng, "# {On|Towards|Notes on|Rethinking} {the future of|the study of|a theory of|} <theme>", slots
    )
    said, split = sentences(rng, _TEXTS["essay"], rng.randint(4, 7), slots), rng.randint(2, 3)
    abstract = "**Abstract.** " + paragraph(*said[:split])
    body = paragraph(*said[split:], world.aside(rng, 0, 2))
    end = paragraph(*sentences(rng, _TEXTS["essay_ends"], rng.randint(1, 3), slots))
    return Draft(
        "\n\n".join(
            [title, abstract, say(rng, "## 1 {Introduction|Setting|Motivation}"), body, "## 2 Outlook", end]
        )
    )


def _other_code(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    language, joint = rng.choice((("python", "\n\n"), ("javascript", "\n")))
    chosen = rng.sample(PROGRAMS[language]["other"], rng.choice((1, 2, 2, 3)))
    parts = [f"{comment(language, rng)}\n{say(rng, snippet, names(rng))}" for snippet in chosen]
    return Draft(joint.join(parts))


def _everyday(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    topic = rng.choice(_TEXTS["everyday"])
    lead = say(rng, "{Why|A word on why|In brief: why} ") + topic["title"]
    mark = rng.choice((".", ", in plain words", ", as far as is known"))
    body = [opened(rng, say(rng, one)) for one in rng.sample(topic["sentences"], rng.randint(2, 4))]
    return Draft(f"{lead}{mark}\n\n" + paragraph(*body, world.aside(rng, 1, 3)))


def _foreign_everyday(rng: Random, facts: Sequence[Fact], world: World) -> Draft:
    return Draft(paragraph(*sentences(rng, _TEXTS["foreign"][rng.choice(LANGUAGES)], rng.randint(4, 6))))


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
