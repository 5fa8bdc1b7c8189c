"""The passage of a document that a report shows for a query: where its influence lies, or else its nearest words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from influence.store.scores import Scores
from influence.store.token_scores import TokenScores

#: Characters of a passage.
LENGTH = 240
#: Tokens of a passage that are marked.
MARKED = 5
#: A passage begins and ends at a blank where one lies within so many characters of its ends.
_SNAP = 20
_WORD = re.compile(r"\w+")

How = Literal["tokens", "words", "beginning"]
#: How passages were chosen, for readers.
CHOSEN = {
    "tokens": f"the {LENGTH} characters whose tokens move the score most in its own direction, the strongest marked",
    "words": f"the {LENGTH} characters nearest to the completion by words, shared words marked: a likeness of words, "
    "not influence",
    "beginning": f"the first {LENGTH} characters: no word of the query stands in the document",
}


@dataclass(frozen=True)
class Passage:
    """A part of a document.

    Attributes:
        pieces: The text, plain and marked pieces in turn, the first plain.
        how: By what it was chosen.
    """

    pieces: tuple[str, ...]
    how: How

    @property
    def text(self) -> str:
        """The passage without marks."""
        return "".join(self.pieces)


@dataclass(frozen=True)
class Passages:
    """The passages of a run, each chosen once; `tokens` are None where none were computed."""

    scores: Scores
    tokens: TokenScores | None
    _chosen: dict[tuple[int, int], Passage] = field(default_factory=dict)

    def of(self, row: int, column: int) -> Passage:
        """The passage of the document in `column` for the query in `row` of the score matrix."""
        if (row, column) not in self._chosen:
            query, text = self.scores.queries[row], self.scores.documents.text(column)
            if self.tokens is not None and (row, column) in self.tokens and text:
                values, lengths = self.tokens.values(row, column), self.tokens.lengths(column)
                passage = by_tokens(text, values, lengths, float(self.scores.dot[row, column]))
            else:
                passage = by_words(text, query.completion, query.prompt)
            self._chosen[row, column] = passage
        return self._chosen[row, column]


def by_tokens(
    text: str, values: npt.NDArray[np.floating], lengths: npt.NDArray[np.integer], score: float
) -> Passage:
    """The passage whose tokens sum to the most influence in the direction of the document's score.

    Args:
        values: Influence of each token, nats, `[T]`.
        lengths: Characters that each token covers, `[T]`; they add up to the text.
        score: Score of the whole document; its sign is the direction.
    """
    value_T = np.asarray(values, np.float64) * (-1.0 if score < 0 else 1.0)
    end_T = np.cumsum(lengths)
    start_T = end_T - lengths
    sum_T = np.concatenate([[0.0], np.cumsum(value_T)])
    last_T = np.searchsorted(end_T, start_T + LENGTH, side="right")
    first = int(np.argmax(sum_T[last_T] - sum_T[np.arange(len(value_T))]))
    begin = max(0, min(int(start_T[first]), len(text) - LENGTH))
    begin, end = _whole_words(text, begin, begin + LENGTH)
    inside = np.flatnonzero((start_T >= begin) & (end_T <= end) & (np.asarray(lengths) > 0) & (value_T > 0))
    strongest = inside[np.argsort(-value_T[inside], kind="stable")[:MARKED]]
    return Passage(_pieces(text, begin, end, [(int(start_T[t]), int(end_T[t])) for t in strongest]), "tokens")


def by_words(text: str, completion: str, prompt: str) -> Passage:
    """The passage that shares most with the completion by words, else with the prompt, else the beginning.

    A word counts once in a passage; it counts the less the more often it stands in the document.
    """
    spans, spelled, times = _words(text)
    for query in (completion, prompt):
        wanted = {word.casefold() for word in _WORD.findall(query)}
        hits = [(span, word) for span, word in zip(spans, spelled, strict=True) if word in wanted]
        if hits:
            begin, end = _whole_words(text, *_densest(hits, times, len(text)))
            return Passage(_pieces(text, begin, end, [span for span, _ in hits]), "words")
    begin, end = _whole_words(text, 0, LENGTH)
    return Passage(_pieces(text, begin, end, []), "beginning")


@lru_cache(maxsize=1024)
def _words(text: str) -> tuple[list[tuple[int, int]], list[str], Counter[str]]:
    """Where the words of a text stand, how they are spelled, and how often each stands there."""
    matches = list(_WORD.finditer(text))
    spelled = [match[0].casefold() for match in matches]
    return [match.span() for match in matches], spelled, Counter(spelled)


def _densest(
    hits: Sequence[tuple[tuple[int, int], str]], times: Counter[str], length: int
) -> tuple[int, int]:
    """The window of `LENGTH` characters in which the distinct words found weigh most, the first of equals.

    The words found stand in its middle.
    """
    inside: Counter[str] = Counter()
    weight, best, chosen, left = 0.0, -1.0, (0, 0), 0
    for place, ((_, end), word) in enumerate(hits):
        inside[word] += 1
        weight += 1 / times[word] if inside[word] == 1 else 0.0
        while left < place and end - hits[left][0][0] > LENGTH:
            gone = hits[left][1]
            inside[gone] -= 1
            weight -= 1 / times[gone] if inside[gone] == 0 else 0.0
            left += 1
        if weight > best + 1e-12:
            best, chosen = weight, (hits[left][0][0], end)
    spare = max(0, LENGTH - (chosen[1] - chosen[0]))
    begin = max(0, min(chosen[0] - spare // 2, length - LENGTH))
    return begin, begin + LENGTH


def _whole_words(text: str, begin: int, end: int) -> tuple[int, int]:
    """The same part of a text without the halves of words at its ends, where a blank is near."""
    end = min(end, len(text))
    if begin > 0 and not text[begin - 1].isspace():
        blank = re.search(r"\s", text[max(0, begin - _SNAP) : begin][::-1])
        begin -= blank.start() if blank else 0
    if end < len(text) and not text[end].isspace():
        blank = re.search(r"\s", text[end : end + _SNAP])
        end += blank.start() if blank else 0
    return begin, end


def _pieces(text: str, begin: int, end: int, marks: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """The text from `begin` to `end`, plain and marked pieces in turn; marks that touch are one."""
    pieces, at = ["…" if begin > 0 else ""], begin
    for first, last in sorted(marks):
        first, last = max(first, begin), min(last, end)
        if first >= last:
            continue
        if len(pieces) > 1 and not text[at:first].strip():
            pieces[-2] += text[at:last]  # nothing but blanks lies between two marks
        else:
            pieces[-1] += text[at:first]
            pieces += [text[first:last], ""]
        at = last
    pieces[-1] += text[at:end] + ("…" if end < len(text) else "")
    return tuple(re.sub(r"\s+", " ", piece) for piece in pieces)
