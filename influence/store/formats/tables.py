"""Tables of analyses as Parquet files, `analysis/NAME/TABLE.parquet` beside the scores that they are of.

The manifest of the folder lists each table with its checksum. A table itself has, under the schema key `influence`,
what made it, with the fingerprint of each score store that it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence import __version__
from influence.errors import StoreError
from influence.files import whole_file
from influence.store.artefact import add_files, forget_file, open_complete, read_manifest, seal
from influence.store.formats.manifest import fingerprint
from influence.store.journal import listed
from influence.store.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

KIND = "analysis"
_NOTE = b"influence"


def write_tables(
    tables: Mapping[str, pd.DataFrame], folder: Path, runs: Sequence[Scores], **made_by: Any
) -> list[Path]:
    """Write one Parquet file a table, each whole or absent, with what made it; tables of other names stay.

    Args:
        runs: The scores that the tables are of.
        made_by: What else made them, such as `by` and `k`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    manifest = read_manifest(folder)
    if manifest is None or manifest["kind"] != KIND:
        seal(folder, KIND, {}, leaving=("*",))
    note = json.dumps(
        {"version": __version__, "runs": _described(runs), **made_by}, ensure_ascii=False, sort_keys=True
    ).encode()
    paths = []
    for name, table in tables.items():
        path = folder / f"{name}.parquet"
        forget_file(folder, path.name)
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), _NOTE: note})
        with whole_file(path) as part:
            pq.write_table(arrow, part, compression="zstd")
        paths.append(path)
    add_files(folder, *(path.name for path in paths))
    return paths


def _described(runs: Sequence[Scores]) -> list[dict[str, Any]]:
    """What tables were made from: folder, configuration, version and fingerprint of each run."""
    return [
        {
            "folder": scores.folder.as_posix(),
            "config": scores.manifest["config"],
            "finished": scores.manifest["provenance"].get("finished"),
            "fingerprint": fingerprint(scores.manifest),
        }
        for scores in runs
    ]


def read_tables(run: Path, name: str, tables: Sequence[str]) -> dict[str, pd.DataFrame] | None:
    """Tables that `influence analyze NAME` left with a run (scores, or a series of them); None if it did not.

    Raises:
        StoreError: A table is missing, damaged, of another run, or of a version that kept no checksums.
    """
    import pandas as pd

    folder = run / "analysis" / name
    if not any((folder / f"{table}.parquet").exists() for table in tables):
        return None
    again = f"Run influence analyze {name} again."
    manifest = read_manifest(folder)
    if manifest is None:
        raise StoreError(
            f"The tables in {folder} have no manifest.",
            have="an analysis of a version that kept no checksums, or one that was interrupted",
            fix=again,
        )
    open_complete(folder, KIND)
    near = (read_manifest(place) for place in (run, *run.iterdir()) if place.is_dir())
    known = {fingerprint(other) for other in near if other is not None}
    table_of = {}
    for table in tables:
        path = folder / f"{table}.parquet"
        if listed(manifest, path.name) is None:
            raise StoreError(f"{path} is not listed in the manifest beside it.", fix=again)
        try:
            table_of[table] = pd.read_parquet(path)
            runs = [made["fingerprint"] for made in made_by(path)["runs"]]
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise StoreError(
                f"{path} cannot be read.",
                have=str(error).partition("\n")[0] or type(error).__name__,
                fix=again,
            ) from error
        if known.isdisjoint(runs):
            raise StoreError(
                f"{path} is of another run.", have="a table of scores that do not lie beside it", fix=again
            )
    return table_of


def made_by(path: Path) -> dict[str, Any]:
    """What made a table of an analysis, as the table remembers: its `k`, `by`, `runs`; empty if it does not."""
    import pyarrow.parquet as pq

    note = json.loads((pq.read_schema(path).metadata or {}).get(_NOTE, b"{}"))
    return note if isinstance(note, dict) else {}
