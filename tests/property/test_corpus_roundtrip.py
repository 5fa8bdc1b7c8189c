"""The same documents read back equal from every format."""

from __future__ import annotations

import gzip
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from influence.data.corpus import read_corpus
from influence.types import Document

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
DOCUMENTS = st.lists(
    st.builds(
        Document,
        id=TEXT.filter(bool),
        text=TEXT,
        source=TEXT,
        metadata=st.fixed_dictionaries(
            {"n": st.integers(-(2**62), 2**62), "tags": st.lists(TEXT, min_size=1)}
        ),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda document: document.id,
)


@settings(max_examples=40, deadline=None)
@given(DOCUMENTS)
def test_all_formats_agree(documents: list[Document]) -> None:
    rows = []
    for document in documents:
        row = asdict(document)
        rows.append({**row.pop("metadata"), **row})
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.jsonl").write_bytes(lines)
        (folder / "b.jsonl.gz").write_bytes(gzip.compress(lines))
        (folder / "c.jsonl.zst").write_bytes(zstandard.compress(lines))
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "d.parquet")
        datasets.Dataset.from_list(rows).save_to_disk(str(folder / "e"))
        for file in ("a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "d.parquet", "e"):
            assert list(read_corpus(folder / file)) == documents
