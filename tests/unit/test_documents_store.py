"""The memory-mapped documents of a run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from influence.errors import StoreError
from influence.store import documents as store
from influence.store.documents import FILE, DocumentTable, write_documents
from influence.types import Document

ROWS = [
    (
        Document(f"d{i}", f"text {i} ä\n\tб", ("wiki", "code")[i % 2], {"n": i, "tags": ["ü"]}),
        list(range(i % 4)),
    )
    for i in range(10)
]


@pytest.fixture(params=[4, 5, 4096])
def table(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DocumentTable:
    """Ten documents in three record batches, two full ones, and one."""
    monkeypatch.setattr(store, "ROWS_PER_BATCH", request.param)
    write_documents(tmp_path, iter(ROWS))
    return DocumentTable(tmp_path)


def test_documents_round_trip_in_order(table: DocumentTable) -> None:
    assert len(table) == len(ROWS)
    assert table.ids.tolist() == [document.id for document, _ in ROWS]
    assert table.sources.tolist() == [document.source for document, _ in ROWS]
    assert table.lengths.tolist() == [len(tokens) for _, tokens in ROWS]
    assert table.lengths.dtype == np.int64
    for column, (document, tokens) in enumerate(ROWS):
        assert table.text(column) == document.text
        assert table.metadata(column) == document.metadata
        assert table.tokens(column).tolist() == tokens
        assert table.tokens(column).dtype == np.int32


def test_numpy_columns_address_rows(table: DocumentTable) -> None:
    columns = np.array([9, 0, 5])
    assert [table.text(column) for column in columns] == [ROWS[i][0].text for i in (9, 0, 5)]
    assert table.ids[columns].tolist() == ["d9", "d0", "d5"]
    assert table.take("id", columns).tolist() == ["d9", "d0", "d5"]
    assert table.column("id").to_pylist() == table.ids.tolist()


def test_snippets_are_one_short_line(tmp_path: Path) -> None:
    texts = ["a\n\n b\tc", "x" * 160, "y" * 161, " ".join(["word"] * 200)]
    write_documents(tmp_path, ((Document(f"d{i}", text), [1]) for i, text in enumerate(texts)))
    table = DocumentTable(tmp_path)
    assert table.snippet(0) == "a b c"
    assert table.snippet(1) == "x" * 160
    assert table.snippet(2) == "y" * 159 + "…"
    assert len(table.snippet(3)) == 160


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    write_documents(tmp_path, ROWS[:2])

    def rows() -> Iterator[tuple[Document, list[int]]]:
        yield ROWS[5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_documents(tmp_path, rows())
    assert DocumentTable(tmp_path).ids.tolist() == ["d0", "d1"]


def test_a_missing_or_damaged_file_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"documents\.arrow is missing"):
        DocumentTable(tmp_path)
    write_documents(tmp_path, ROWS)
    whole = (tmp_path / FILE).read_bytes()
    for damaged in (b"", whole[:100], whole[:-10], b"x" * len(whole)):
        (tmp_path / FILE).write_bytes(damaged)
        with pytest.raises(StoreError, match=r"documents\.arrow is damaged"):
            len(DocumentTable(tmp_path))


def test_no_documents_are_an_empty_table(tmp_path: Path) -> None:
    write_documents(tmp_path, [])
    table = DocumentTable(tmp_path)
    assert len(table) == 0
    assert table.ids.shape == table.lengths.shape == (0,)


def test_documents_do_not_take_pandas_with_them(tmp_path: Path) -> None:
    """40 MB and half a second of every fit and score."""
    code = f"""
import sys
from pathlib import Path
from influence.store.documents import DocumentTable, write_documents
from influence.types import Document
write_documents(Path({str(tmp_path)!r}), iter([(Document("a", "b"), [1, 2])]))
table = DocumentTable(Path({str(tmp_path)!r}))
assert table.tokens(0).tolist() == [1, 2] and table.lengths.tolist() == [2] and table.text(0) == "b"
print("pandas" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
