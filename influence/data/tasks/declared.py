"""Where a reply declares its answer: `the answer is …`, `#### …`, `\\boxed{…}`, `Answer: …`, a heading `Answer`."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Characters of a reply that are read, half of them from its start and half from its end: an answer stands there.
MOST_CHARACTERS = 20_000

_THOUGHT = "think|thinking|thought|thoughts|reasoning|reflection"
_THOUGHT_START = re.compile(rf"<(?:{_THOUGHT})>", re.IGNORECASE)
_THOUGHT_END = re.compile(rf"</(?:{_THOUGHT})>", re.IGNORECASE)
#: A model that was shown examples may go on with the next one.
_NEXT_QUESTION = re.compile(
    r"^[ \t*]{0,8}(?:Question|Q|Problem|Instruction|Human|User|Input)\*{0,2} ?\d{0,3}\*{0,2} ?:",
    re.MULTILINE | re.IGNORECASE,
)
#: A reply of so few characters before the next question is an answer.
_BARE = 30
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|operatorname) ?\{([^{}]{0,200})\}")
_MARK = re.compile(
    r"^[ \t]{0,8}#{2,8}[ \t]{0,8}(?P<content>[^\n]+)|(?<!#)####[ \t]{0,8}(?P<inline>[^\n]+)",
    re.MULTILINE,
)
_NOUN = r"(?:answer|result|solution|choice|(?:correct|right|best|chosen)[ ](?:option|response|letter|one))"
_IS = r"(?:\b(?:is|isn['’]t|equals|(?:would|must|should|will)[ ]be)\b|:|=)"
#: Characters of a declaration that are read; a longer box is none.
_MOST_DECLARED, _MOST_BOXED = 600, 500
_DECLARED = re.compile(
    rf"""\\f?boxed[ ]?(?=\{{)
    | ^[ \t>*_\#]{{0,12}}(?:the[ ])?(?:final[ ]|correct[ ])?(?:answer|result)[*_ \t]{{0,6}}:?[*_ \t]{{0,6}}\n\s{{0,20}}
    | \b{_NOUN}\b(?P<between>[^.,;\n:=]{{0,60}}?)(?P<is>{_IS}),?[*_]{{0,3}}[ \t]{{0,8}}
    | ^[ \t]{{0,8}}\*{{0,2}}A\*{{0,2}}[ ]?:[*_]{{0,3}}[ \t]{{0,8}}""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
#: Right before a declaration these say that it is none, or that of somebody else.
_NOT_MEANT = re.compile(
    r"\b(?:if|whether|suppose|assume|assuming|unless)\s+(?:the|that the|my|your)?\s*(?:correct|final)?\s*$"
    r"|\byou\w{0,3}\b[^.,;\n]{0,30}$|\b(?:wrong|incorrect|first|initial|naive|tempting|previous|other|intermediate)\s+$"
    r"|(?:n't|n’t|\bnot|\bnever)\s+(?:think|believe|say|agree|mean)[^.\n]{0,20}$",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"[\s*_]{0,4}(?:(?:definitely|certainly|clearly|probably|simply)\s+)?(?:not|never|neither)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])[*_\"”')]{0,3}\s+(?=[\"“(*]{0,3}[A-Z])")


@dataclass(frozen=True, slots=True)
class Declarations:
    """What a reply declares.

    Attributes:
        marks: What stands after each `####`, up to the end of its line.
        lines: What stands after each other declaration, up to the end of its line or of its box.
        rest: What follows the line or the box of the last of them.
        denied: Whether a declaration says what the answer is not, or repeats what somebody else thinks.
    """

    marks: list[str]
    lines: list[str]
    rest: str
    denied: bool

    @property
    def last(self) -> str | None:
        """The last declaration, up to the end of its sentence."""
        return first_sentence(self.lines[-1]) if self.lines else None


def without_thoughts(text: str) -> str:
    """What a reply says once its thinking has ended; nothing if it never ended."""
    after = _THOUGHT_END.split(text)[-1]
    if unfinished := _THOUGHT_START.search(after):
        after = after[: unfinished.start()]
    return after.strip()


def final_text(text: str) -> str:
    """What a reply says without its thoughts and questions of its own, shortened where it is very long."""
    after = without_thoughts(text)
    if len(after) > MOST_CHARACTERS:
        half = MOST_CHARACTERS // 2
        after = f"{after[:half]}\n{after[-half:]}"
    following = _NEXT_QUESTION.search(after)
    return after[: following.start()].strip() if following and 0 < following.start() < _BARE else after


def declarations(text: str) -> Declarations:
    """All declarations of a `final_text`, up to where a next question begins after the first of them."""
    marks = list(_MARK.finditer(text))
    matches = list(_DECLARED.finditer(text))
    first = min((match.end() for match in [*marks, *matches]), default=len(text))
    following = _NEXT_QUESTION.search(text, first)
    end = following.start() if following else len(text)
    lines, rest, denied = [], "", False
    for match in matches:
        if match.start() >= end:
            break
        content = _content(text, match.end(), end)
        before = text[max(0, match.start() - 60) : match.start()]
        line_before = before.rsplit("\n", 1)[-1]
        sentence = first_sentence(content)
        if (
            _NOT_MEANT.search(line_before)
            or re.search(r"\bnot\b|n['’]t", f"{match['between']} {match['is']}")
            or _DENIED.match(content)
            or sentence.endswith("?")
        ):
            denied = True
        elif content.strip(" \t*_.:`"):
            lines.append(content)
            rest = text[match.end() : end].partition("\n")[2]
    values = [match["content"] or match["inline"] for match in marks if match.start() < end]
    return Declarations([value.strip() for value in values], lines, rest, denied)


def first_sentence(text: str) -> str:
    """A text up to the end of its first sentence."""
    return _SENTENCE_END.split(text, maxsplit=1)[0].strip()


def _content(text: str, start: int, end: int) -> str:
    """The text from `start` to the end of its line, or inside of the braces that open there."""
    if not text.startswith("{", start):
        return text[start : min(end, start + _MOST_DECLARED)].partition("\n")[0].strip()
    depth = 0
    for brace in re.compile(r"[{}]").finditer(text, start, min(end, start + _MOST_BOXED)):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return _LATEX_TEXT.sub(r"\1", text[start + 1 : brace.start()]).strip()
    return ""
