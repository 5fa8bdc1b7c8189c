"""Corpora that are damaged, absurd or mean harm: each ends in time, in an error of three lines or in documents.

`python -m pytest tests/attack/test_corpora.py -s` prints how many there are.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from hostile_corpora import READ, REFUSED
from three_lines import assert_three_lines

from influence.data.corpus import read_corpus
from influence.errors import InfluenceError

#: Seconds that reading may take on a busy machine.
LIMIT = 20.0


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_corpus_is_refused(name: str, tmp_path: Path) -> None:
    path = REFUSED[name](tmp_path)
    start = time.monotonic()
    with pytest.raises(InfluenceError) as caught:
        for _ in read_corpus(path):
            pass
    assert time.monotonic() - start < LIMIT
    assert_three_lines(caught.value)


@pytest.mark.parametrize("name", READ)
def test_what_can_be_read_is_read_as_it_is(name: str, tmp_path: Path) -> None:
    make, count = READ[name]
    assert len(list(read_corpus(make(tmp_path)))) == count


def test_the_number_of_hostile_corpora(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{len(REFUSED) + len(READ)} hostile corpora")
    assert len(REFUSED) + len(READ) >= 60
