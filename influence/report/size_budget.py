"""How much of a store a report shows, and in which order it is cut until the page fits its budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from influence.report.format import count


@dataclass(frozen=True)
class Extent:
    """Sizes of a report.

    Attributes:
        k: Documents of each list of a query: top and bottom, by `normed` and by `dot`.
        characters: Of a document's text; None is all of them, 0 only its snippet.
        tokens: First documents of a query and ranking whose token values are in the report.
        rows: Of the table of each query that is there without scripts.
    """

    k: int
    characters: int | None
    tokens: int
    rows: int


def extents(asked: Extent) -> Iterator[Extent]:
    """Ever smaller extents: token values first, then texts (without them no token values), then documents, then the
    tables without scripts.
    """
    extent = asked
    yield extent
    for tokens in (10, 3):
        if extent.tokens > tokens:
            extent = replace(extent, tokens=tokens)
            yield extent
    for characters in (2_000, 500, 0) if asked.characters is None else ():
        extent = replace(extent, characters=characters, tokens=extent.tokens if characters else 0)
        yield extent
    for k in (20, 10, 5, 3):
        if extent.k > k:
            extent = replace(extent, k=k, rows=min(extent.rows, k))
            yield extent
    for rows in (3, 1):
        if extent.rows > rows:
            extent = replace(extent, rows=rows)
            yield extent


def cuts(asked: Extent, extent: Extent) -> list[str]:
    """What was cut, in words, in the order of the cuts."""
    said = []
    if extent.tokens != asked.tokens:
        said.append(
            f"documents of a list with token values, from {count(asked.tokens)} to {count(extent.tokens)}"
        )
    if extent.characters != asked.characters:
        shown = (
            f"{count(extent.characters)} characters (around the strongest token, if it is known)"
            if extent.characters
            else "their first 160 characters"
        )
        said.append(f"texts of documents, to {shown}")
    if extent.k != asked.k:
        said.append(f"documents of each list, from {count(asked.k)} to {count(extent.k)}")
    if extent.rows != min(asked.rows, extent.k):
        said.append(f"rows of the tables without scripts, to {count(extent.rows)}")
    return said
