"""Join pieces of a run (`influence score --shard i/n`) into the score store of one run. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from influence.data.document_tokens import TokenReport
from influence.errors import InputError, StoreError
from influence.files import whole_file
from influence.provenance import provenance
from influence.store.arrays import flush_arrays
from influence.store.artefact import claim, differences, finish, write_json
from influence.store.documents import REPORT, join_documents
from influence.store.pieces import Piece, open_piece
from influence.store.scores import ARRAYS, SELF, Scores, allocate_scores, open_scores, write_query_records


def merge(pieces: Sequence[str | Path], out: str | Path) -> Scores:
    """Join pieces, given in any order, into an ordinary score store.

    Memory is that of one query's scores, whatever the number of documents.

    Args:
        pieces: Folders of finished pieces that cover every document of the corpus once.
        out: Folder of the score store.

    Raises:
        InputError: no pieces.
        StoreError: a gap, an overlap, an unfinished or foreign piece, or `out` belongs to another run.
    """
    if not pieces:
        raise InputError("There are no pieces to merge.")
    folder = Path(out)
    ordered = _ordered([open_piece(piece, verified=None) for piece in pieces])
    config = ordered[0].scores.manifest["config"]
    manifest = claim(folder, "scores", {key: value for key, value in config.items() if key != "piece"})
    if manifest["status"] == "complete":
        return open_scores(folder)
    write_query_records(folder, ordered[0].scores.queries)
    join_documents(folder, [piece.scores.documents for piece in ordered])
    report = _sum([piece.provenance["tokens"] for piece in ordered])
    write_json(folder / REPORT, asdict(report))
    _join_arrays(folder, [piece.scores for piece in ordered])
    finish(folder, manifest, _provenance(ordered, report, config["max_length"]))
    return open_scores(folder)


def _ordered(pieces: list[Piece]) -> list[Piece]:
    """The pieces in corpus order; StoreError where they are not all the pieces of one run."""
    first, documents = pieces[0], pieces[0].run["piece"]
    for piece in pieces:
        changed = differences(first.run, piece.run)
        if changed:
            raise StoreError(
                f"{piece.folder} is a piece of another run than {first.folder}.",
                have="; ".join(changed).replace(" there, ", f" in {first.folder.name}, ").replace(" now", ""),
                fix="Merge pieces of one corpus, scored with the same model, Hessian, queries and settings.",
            )
    ordered = sorted(pieces, key=lambda piece: (piece.rows.start, piece.rows.stop))
    end = 0
    for before, piece in zip([None, *ordered], ordered, strict=False):
        if piece.rows.start > end:
            raise _gap(end, piece.rows.start, documents)
        if before is not None and piece.rows.start < end:
            raise StoreError(
                f"{before.folder} and {piece.folder} hold the same documents.",
                have=f"{piece.rows.start + 1:,} to {min(end, piece.rows.stop):,} of {documents:,}, twice",
                fix="Leave one of them out.",
            )
        end = piece.rows.stop
    if end < documents:
        raise _gap(end, documents, documents)
    return ordered


def _gap(start: int, end: int, documents: int) -> StoreError:
    return StoreError(
        f"Documents {start + 1:,} to {end:,} of {documents:,} are in none of the pieces.",
        fix="Score the pieces that are missing, or name those that you left out.",
    )


def _sum(reports: Sequence[dict[str, int]]) -> TokenReport:
    return TokenReport(
        **{f.name: sum(report.get(f.name, 0) for report in reports) for f in fields(TokenReport)}
    )


def _join_arrays(folder: Path, pieces: Sequence[Scores]) -> None:
    first = pieces[0]
    documents = sum(len(piece.documents) for piece in pieces)
    with whole_file(folder / ARRAYS) as part:
        joined = allocate_scores(
            part, len(first.queries), documents, first.dot.dtype, first.has_self_influence
        )
        joined["query_nll"][:] = first.query_nll
        start = 0
        for piece in pieces:
            columns = slice(start, start + len(piece.documents))
            if piece.dot.shape != (len(first.queries), columns.stop - start):
                raise StoreError(
                    f"The scores in {piece.folder} do not fit its documents.",
                    have=f"{list(piece.dot.shape)} and {columns.stop - start:,} documents",
                    fix="Delete the folder and score that piece again.",
                )
            for row, values in enumerate(piece.dot):
                joined["dot"][row, columns] = values
            joined["gradient_norm"][columns] = piece.gradient_norm
            if piece.has_self_influence:
                joined[SELF][columns] = piece.self_influence
            start = columns.stop
        flush_arrays(joined)


def _provenance(pieces: Sequence[Piece], report: TokenReport, max_length: int) -> dict[str, Any]:
    """What one run would have recorded, and what made each piece."""
    made = [piece.provenance for piece in pieces]
    names = ("model_name", "query_model_name", "completions_by", "corpus_name", "hessian_folder")
    shared = {key: made[0].get(key) for key in names}
    parts = (
        *("command", "commit", "version", "machine", "device", "finished", "seconds"),
        *("compression", "reused", "reused_from"),
    )
    return provenance(
        sum(record["seconds"] for record in made),
        **shared,
        summary=report.sentence(max_length, made[0].get("positions")),
        tokens=asdict(report),
        batch_tokens=min(record["batch_tokens"] for record in made),
        device=", ".join(sorted({record["device"] for record in made})),
        positions=made[0].get("positions"),
        probe=made[0].get("probe", {}),
        pieces=[
            {
                "first": piece.rows.start,
                "end": piece.rows.stop,
                **{key: record[key] for key in parts if key in record},
            }
            for piece, record in zip(pieces, made, strict=True)
        ],
    )
