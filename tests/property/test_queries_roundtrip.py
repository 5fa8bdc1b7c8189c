"""Whatever can be written as queries is read back unchanged."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from influence.data.queries import read_queries, write_queries
from influence.types import Query, Step

# every character UTF-8 can hold, line separators and control characters included
words = st.text(min_size=1).filter(lambda text: bool(text.strip()))
steps = st.builds(Step, words, st.lists(words, max_size=3).map(tuple))
queries = st.builds(
    Query,
    id=words,
    task=words,
    group=st.sampled_from(["reasoning", "factual", "control"]),
    prompt=words,
    completion=words,
    answer=st.text(),
    steps=st.lists(steps, max_size=3).map(tuple),
    keywords=st.lists(words, max_size=3).map(tuple),
    correct=st.sampled_from([True, False, None]),
    gold=st.lists(words, max_size=3).map(tuple),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(queries, min_size=1, max_size=4, unique_by=lambda query: query.id))
def test_write_then_read(tmp_path: Path, made: list[Query]) -> None:
    path = tmp_path / "queries.jsonl"
    write_queries(made, path)
    assert read_queries(path) == made
