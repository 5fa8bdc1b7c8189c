"""What the error of an attack must look like."""

from __future__ import annotations

from influence.errors import InfluenceError


def assert_three_lines(error: InfluenceError) -> None:
    """A terminal may show it: what is wrong, what was found, what to do, each cut where it is too long."""
    lines = str(error).splitlines()
    assert len(lines) <= 3
    assert lines[-1].startswith("  next:  ")
    assert all(character.isprintable() for line in lines for character in line)
    assert sum(map(len, lines)) < 5_000
