"""One of several options, and one of two responses, in what a model wrote."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from influence.data.tasks.declared import Declarations, first_sentence

_DECORATION = " \t\r\n\"“”'‘’`*_.,!:;"
_AROUND = r"[\s\"“”'‘’`*_.,!:;()\[\]{}$\\]{0,12}"
_LETTER_ALONE = re.compile(
    rf"{_AROUND}(?:(?:option|choice|answer|letter)\s+)?{_AROUND}([A-Za-z]){_AROUND}", re.IGNORECASE
)
_LEADING_LETTER = re.compile(
    r"[\s*_\"“]{0,6}(?:\(([A-Z])\)|(?:[Oo]ption|[Cc]hoice)\s+\(?([A-Z])\b\)?|([A-Z])\s?[).:](?=[\s*_]|$))"
)
_LETTER_WITH_REASON = re.compile(r"([A-Z])(?:,|\s+(?:because|since|as)\b)")
_NAMED_LETTER = re.compile(
    r"\b(?:[Oo]ption|[Cc]hoice|OPTION)\s{1,3}[*_]{0,2}\(?([A-Z])\b(?!['’])|\(([A-Z])\)"
)
_CORRECT_LETTER = re.compile(
    r"\b(?:[Oo]ption\s|[Cc]hoice\s|[Aa]nswer\s)?[*_]{0,2}\(?([A-Z])\)?[*_]{0,2}\s+(?:is|must be|would be)\s+"
    r"(?:the\s+)?(?:only\s+)?(?:one\s+)?(?:correct|right|best|true)\b"
)
_DENIAL = re.compile(
    r"\b(?:not|never|neither|nor|wrong|incorrect|false|cannot|rather than|instead of)\b|n['’]t\b",
    re.IGNORECASE,
)


def read_option(text: str, said: Declarations, options: Sequence[str]) -> str | None:
    """The option that a text chooses by its letter (A, B, … in their order) or by its words.

    A declaration counts first. Without one the text must name one option alone and deny none.
    """
    for content in said.marks[:1]:
        if (chosen := _chosen(content, options)) is not None:
            return chosen
    if said.lines:
        return _chosen(said.lines[-1], options)
    if said.denied:
        return None
    if (whole := _whole(text, options)) is not None:
        return whole
    if _LETTER_ALONE.fullmatch(text):
        return _of_letters([text], options)
    correct = {match[1] for match in _CORRECT_LETTER.finditer(text)}
    if correct:
        return _of_letters(correct, options)
    return _named(text, options)


def _chosen(content: str, options: Sequence[str]) -> str | None:
    """The option in the text behind a declaration."""
    for part in (content, first_sentence(content)):
        if (whole := _whole(part, options)) is not None:
            return whole
    opening = _opening(content, options)
    sentence = (
        content
        if opening is not None and len(opening) > len(first_sentence(content))
        else first_sentence(content)
    )
    if _LETTER_ALONE.fullmatch(sentence):
        return _of_letters([sentence], options)
    if (reasoned := _LETTER_WITH_REASON.match(sentence)) and not _mentions(sentence, options)[1]:
        last = chr(ord("A") + len(options) - 1)
        return _of_letters(set(re.findall(rf"\b[A-{last}]\b", sentence)) | {reasoned[1]}, options)
    return _named(sentence, options)


def _whole(text: str, options: Sequence[str]) -> str | None:
    """The option that is the whole text, but for quotes and the like; None where its letter is another's."""
    spelled = _spelled(text)
    if not spelled:
        return None
    same = [option for option in options if _spelled(option) == spelled]
    if not same:
        bare = spelled.strip(_DECORATION + "()[]$\\")
        same = [
            option for option in options if bare and _spelled(option).strip(_DECORATION + "()[]$\\") == bare
        ]
        if len(same) > 1:  # C++ and C, bare of their signs
            return None
    if len(same) != 1:
        return None
    by_letter = _of_letters([text], options) if _LETTER_ALONE.fullmatch(text) else None
    return same[0] if by_letter in (None, same[0]) else None


def _named(text: str, options: Sequence[str]) -> str | None:
    """The one option that a text names, by letter or by words; None where it names several or denies one."""
    bare, words = _mentions(text, options)
    found = [_LEADING_LETTER.match(text), *_NAMED_LETTER.finditer(text)]
    letters = {next(filter(None, match.groups())) for match in found if match}
    by_letter = _of_letters(letters, options)
    if letters and by_letter is None:
        return None
    chosen = {*words, *([by_letter] if by_letter is not None else [])}
    return chosen.pop() if len(chosen) == 1 and not _DENIAL.search(bare) else None


def _mentions(text: str, options: Sequence[str]) -> tuple[str, set[str]]:
    """The text without the options it names, and these; an option within a longer one yields to it."""
    spelled, named = _spelled(text), set()
    for option in sorted(options, key=len, reverse=True):
        words = _spelled(option)
        if not words:
            continue
        start = r"(?<![\w+−-])(?<!\d[.,/])" if re.match(r"\w", words) else ""
        end = r"(?![\w+#])(?![.,/]\d)" if re.search(r"\w$", words) else ""
        spelled, count = re.subn(start + re.escape(words) + end, " ", spelled)
        if count:
            named.add(option)
    return spelled, named


def _opening(content: str, options: Sequence[str]) -> str | None:
    """The longest option that the content begins with."""
    spelled = _spelled(content)
    there = [
        _spelled(option) for option in options if _spelled(option) and spelled.startswith(_spelled(option))
    ]
    return max(there, key=len, default=None)


def _of_letters(letters: Iterable[str], options: Sequence[str]) -> str | None:
    """The option of the one letter; None for several, or where there is no such option."""
    found = {match[1].upper() for text in letters if (match := _LETTER_ALONE.fullmatch(text))}
    place = ord(found.pop()) - ord("A") if len(found) == 1 else -1
    return options[place] if 0 <= place < len(options) else None


def _spelled(text: str) -> str:
    """One spelling of blanks, case, dashes and quotes; full stops and emphasis at the ends are left out."""
    text = unicodedata.normalize("NFKC", text).replace("−", "-").replace("’", "'").casefold()
    return " ".join(text.split()).strip(" \"“”'‘`*_").rstrip(".!,;:").strip(" \"“”'‘`*_")


_BRACKETS = re.compile(r"\[\[ {0,3}(?P<verdict>[^\[\]\n]{1,30}?) {0,3}\]\]")
_VERDICT = re.compile(
    r"(?:(?:response|assistant|answer|output|model|option)\s+)?\(?(?P<letter>[ABC])\)?(?:\s+(?:is|wins|better).{0,12})?"
    r"|(?P<left>[AB])\s?(?P<order>>{1,3}|<{1,3}|≫|≪|[=≈~])\s?(?P<right>[AB])|(?P<tie>tie|equal|draw)",
    re.IGNORECASE,
)
_REVISED = re.compile(
    r"\b(?:final|finally|revis\w*|correct\w*|actually|instead|reconsider\w*|change\w*|in the end)\b",
    re.IGNORECASE,
)
_THING = r"(?:response|answer|assistant|output|option|model|candidate)"
_BETTER = r"(?:better|best|preferred|preferable|superior|stronger|winner|more helpful|more accurate)"
_SAID = re.compile(
    rf"""\b(?i:{_THING})[ ]{{1,3}}[*_"]{{0,3}}(?:\(?(?P<subject>[AB])\b\)?|\((?P<small_subject>[ab])\))
      [*_"]{{0,3}}\s{{1,3}}(?:wins\b|(?:is|provides|gives)\s{{1,3}}
        (?i:(?:clearly|slightly|much|far|overall|somewhat|marginally|the|significantly)\s{{1,3}}){{0,3}}(?i:{_BETTER}\b))
    | \b(?i:verdict|winner|better\s{{1,3}}{_THING}|prefer\w{{0,4}}|choose|pick)\b\W{{0,6}}
      (?:(?i:is|goes[ ]to|would[ ]be)\W{{1,6}})?
      (?i:(?:the\s{{1,3}})?{_THING}\W{{1,4}})?(?:\(?(?P<object>[AB]|[Tt]ie|C)|\((?P<small_object>[ab])(?=\)))
      (?=\)?\W{{0,6}}(?:$|[.,;:!\n])|\)?\s{{1,3}}(?i:because|since|over|as)\b)""",
    re.VERBOSE,
)
_TIE = re.compile(
    r"\b(?:it(?:'s|’s| is)|this is|that is|i call it|verdict:?(?: is)?)\s+(?:clearly\s+)?(?:a\s+)?(?:tie|draw)\b"
    rf"|\b(?:both(?:\s+{_THING}s)?|they|the\s+(?:two\s+)?{_THING}s)\s+are\s+(?:about\s+|roughly\s+)?(?:equally\s+\w+|tied|equal\b)",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"(?:n['’]t|\bnot|\bnever|\bneither|\bif|\bwhether|\bunless|\bwhy)\b[^.\n]{0,30}$", re.IGNORECASE
)
_ALONE = re.compile(rf"\W{{0,6}}(?:{_THING}\s+)?\W{{0,4}}(?P<letter>[ABC])\W{{0,6}}", re.IGNORECASE)
_SCORE = (
    r"^[\W_]{{0,6}}(?:(?:final\s+)?(?:score|rating)\W{{1,4}})?(?:(?:of|for)\s+)?(?:(?:response|assistant|answer|output)\s+)?"
    r"\(?{letter}\)?(?:['’]s\s+(?:score|rating))?[*_]{{0,3}}\s{{0,3}}(?:[:=–—-]|is|gets|scores)[\s*_\[]{{0,6}}"
    r"(?P<score>\d{{1,3}}(?:\.\d{{1,3}})?)(?![\d.]*\d)"
)
_ANYWHERE = (
    r"\b(?:score|rating)\W{{1,6}}(?:of\W{{1,4}}|for\W{{1,4}})?(?:(?:response|assistant|answer|output)\W{{1,4}})?{letter}\b"
    r"\W{{0,6}}?(?:is\W{{1,6}})?(?P<score>\d{{1,3}}(?:\.\d{{1,3}})?)"
)


def read_verdict(text: str, said: Declarations) -> str | None:
    """The verdict of a judge; a first one counts no more where a later one is said to be final or revised."""
    marks = [(match, _verdict(match["verdict"])) for match in _BRACKETS.finditer(text)]
    verdicts = [verdict for _, verdict in marks if verdict is not None]
    if verdicts:
        last = marks[-1][0]
        sentence = text[max(0, last.start() - 80) : last.start()].rsplit("\n", 1)[-1]
        if len(set(verdicts)) == 1 or (_REVISED.search(sentence) and marks[-1][1] is not None):
            return verdicts[-1]
        return None
    if alone := _ALONE.fullmatch(text):
        return alone["letter"].upper()
    if said.lines and (alone := _ALONE.fullmatch(said.last or "")):
        return alone["letter"].upper()

    def denied(match: re.Match[str]) -> bool:
        return _DENIED.search(text[max(0, match.start() - 40) : match.start()]) is not None

    found = set()
    for match in _SAID.finditer(text):
        if not denied(match):
            found.add(_verdict(next(filter(None, match.groups()))))
    found |= {
        "C"
        for match in _TIE.finditer(text)
        if not _DENIED.search(text[max(0, match.start() - 40) : match.start()])
    }
    if found:
        return found.pop() if len(found) == 1 else None
    scores = read_scores(text)
    if scores is None:
        return None
    return "A" if scores[0] > scores[1] else "B" if scores[1] > scores[0] else "C"


def read_scores(text: str) -> tuple[float, float] | None:
    """The last score of response A and of response B; None where one of them is missing."""
    scores = []
    for letter in "AB":
        for pattern in (_SCORE, _ANYWHERE):
            found = [
                match["score"]
                for match in re.finditer(pattern.format(letter=letter), text, re.IGNORECASE | re.MULTILINE)
            ]
            if found:
                scores.append(float(found[-1]))
                break
    return (scores[0], scores[1]) if len(scores) == 2 else None


def _verdict(verdict: str) -> str | None:
    match = _VERDICT.fullmatch(verdict)
    if match is None:
        return None
    if match["letter"]:
        return match["letter"].upper()
    if match["tie"] or match["order"] in "=≈~" or match["left"].upper() == match["right"].upper():
        return "C"
    return (match["left"] if match["order"][0] in ">≫" else match["right"]).upper()
