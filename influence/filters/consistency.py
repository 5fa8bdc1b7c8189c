"""Universal self-consistency (arXiv 2311.17311): a model picks the most consistent of its own free-text responses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import Literal

from influence.errors import InputError

#: Needs `$question`, `$responses` and `$count`.
PROMPT = Template(
    """\
A question was answered $count times. Find the response that agrees best with the others.

Question:
$question

$responses

Compare what the responses say, not how they say it. Choose the one whose content most of the others share.
Reply with its number alone, as in: Response 1
"""
)

#: Why a response was chosen or none.
Reason = Literal["picked", "unanimous", "no answer", "bad pick"]

_NAMED = re.compile(r"\bresponse\s*(?:number|no\.?|#)?\s*[:\[(*#]*\s*(\d+)", re.IGNORECASE)
_ALONE = re.compile(r"\W*(\d+)\W*")


@dataclass(frozen=True, slots=True)
class Pick:
    """Which response was chosen: its place among all responses, from 0; None where there is none."""

    place: int | None
    reason: Reason


def stated(responses: Sequence[str]) -> list[int]:
    """Places of the responses that say something; only these are shown to the model."""
    return [place for place, response in enumerate(responses) if response.strip()]


def needs_pick(responses: Sequence[str]) -> bool:
    """Whether a model must choose: two responses at least that differ."""
    return len({responses[place].strip() for place in stated(responses)}) > 1


def consistency_prompt(question: str, responses: Sequence[str], template: Template = PROMPT) -> str:
    """The prompt that lists the responses, numbered from 1, and asks for the most consistent.

    Raises:
        InputError: the template lacks one of its names or has another, or there are no two responses to choose from.
    """
    if not template.is_valid() or not {"question", "responses"} <= set(template.get_identifiers()):
        raise InputError(
            "The prompt that asks for the most consistent response is not usable.",
            fix="It must hold $question and $responses, and may hold $count; write $$ for a dollar sign.",
        )
    shown = [responses[place].strip() for place in stated(responses)]
    if len(shown) < 2:
        raise InputError(
            "There are no two responses to choose from.", have=f"{len(shown)} that are not empty"
        )
    listing = "\n\n".join(f"Response {number}:\n{text}" for number, text in enumerate(shown, 1))
    try:
        return template.substitute(question=question, responses=listing, count=str(len(shown)))
    except KeyError as error:
        raise InputError(
            f"The prompt has an unknown name ${error.args[0]}.",
            fix="Known are $question, $responses, $count.",
        ) from error


def read_pick(reply: str | None, responses: Sequence[str]) -> Pick:
    """What a model chose.

    Args:
        reply: To `consistency_prompt`; None where the model was not asked because there was nothing to choose.
        responses: All of them, as given to `consistency_prompt`.

    Returns:
        `bad pick` where the reply names no response, one that was not shown, or two that differ.
    """
    places = stated(responses)
    if not places:
        return Pick(None, "no answer")
    if not needs_pick(responses):
        return Pick(places[0], "unanimous")
    numbers = {int(number) for number in _NAMED.findall(reply or "")}
    if not numbers and (alone := _ALONE.fullmatch((reply or "").strip())):
        numbers = {int(alone[1])}
    if len(numbers) != 1 or not 1 <= (number := numbers.pop()) <= len(places):
        return Pick(None, "bad pick")
    return Pick(places[number - 1], "picked")
