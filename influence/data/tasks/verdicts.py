"""Which of two responses a judge prefers: `A`, `B`, or `C` for a tie."""

from __future__ import annotations

import re

from influence.data.tasks.declared import Declarations

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
    marks = [(match, _named(match["verdict"])) for match in _BRACKETS.finditer(text)]
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
            found.add(_named(next(filter(None, match.groups()))))
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


def _named(verdict: str) -> str | None:
    match = _VERDICT.fullmatch(verdict)
    if match is None:
        return None
    if match["letter"]:
        return match["letter"].upper()
    if match["tie"] or match["order"] in "=≈~" or match["left"].upper() == match["right"].upper():
        return "C"
    return (match["left"] if match["order"][0] in ">≫" else match["right"]).upper()
