"""Is a completion right? By its answer alone, however it is worded."""

from __future__ import annotations

import re
import unicodedata

from influence.types import Query

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])")


def is_right(query: Query, completion: str) -> bool | None:
    """Whether a completion gives the query's answer; None where the query has none to compare with.

    A number is right when it is the last number of the completion. Any other answer is right when it, or one of the
    query's keywords, stands in the completion as whole words, whatever the case.
    """
    if not query.answer.strip() and not query.keywords:
        return None
    text, answer = _plain(completion), _plain(query.answer)
    if query.group != "factual" and _NUMBER.fullmatch(answer):
        numbers = _NUMBER.findall(text)
        return bool(numbers) and float(numbers[-1]) == float(answer)
    marks = [_plain(mark) for mark in query.keywords] or [answer]
    return any(re.search(rf"(?<!\w){re.escape(mark)}(?!\w)", text) for mark in marks)


def _plain(text: str) -> str:
    """One spelling of dashes, blanks, case and numbers: 3,400 is 3400."""
    text = unicodedata.normalize("NFKC", text).replace("−", "-").casefold()
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    return " ".join(text.split())
