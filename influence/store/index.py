"""An index: a sketch of every document, stored by FAISS, and the projections that make one of a query. No torch.

    manifest.json             model, tokenizer, Hessian, corpus, kind of sketch, bytes a document
    documents.arrow           the documents, tokenised, in corpus order
    projections.safetensors   per layer `left [KS, O]`, `right [KA, I]`, `query_left`, `query_right`
    codec.faiss               the trained quantiser, empty
    shards/NNNNNN.faiss       codes of the sketches of some documents
    shards/NNNNNN.safetensors `column [N]`, their places in the corpus; `norm [N]` of the sketches; `spectrum [N, R]`

FAISS stores the numbers of a sketch at norm 1. Of a low-rank one these are, layer after layer, the singular vectors
`u [R, KS]` times √KS, then `v [R, KA]` times √KA; `spectrum` holds their singular values, of norm 1 in all.

A shard's second file is written last: it says that the shard is whole. Codes are decoded a few documents at a time and
multiplied with all queries at once, so memory does not grow with the corpus, nor time with FAISS's own search, which
decodes anew for each query.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from influence.errors import StoreError
from influence.files import whole_file
from influence.store.arrays import map_arrays, write_arrays
from influence.store.artefact import open_complete
from influence.store.documents import FILE, DocumentTable
from influence.store.journal import VERIFIED_AT_OPEN, intact, verify_file

PROJECTIONS = "projections.safetensors"
CODEC = "codec.faiss"
SHARDS = "shards"
#: In a score store that an index made: what it estimated of every document.
ESTIMATES = "estimates.safetensors"

#: Numbers decoded at a time.
_DECODED = 1 << 23
_CLIP = 2.5  # standard deviations that 4 or 8 bits cover: outliers would coarsen all other values


class Sketches(NamedTuple):
    """Sketches of some documents, as they are stored: `code [N, K]`, `norm [N]`, `spectrum [N, R]` (R may be 0)."""

    code: npt.NDArray[np.float32]
    norm: npt.NDArray[np.float32]
    spectrum: npt.NDArray[np.float16]


def train_codec(code_NK: npt.NDArray[np.float32], bits: int) -> Any:
    """A FAISS index without documents, its quantiser fitted to the codes of some documents."""
    import faiss

    size = code_NK.shape[1]
    codec: Any
    if bits == 1:
        codec = faiss.IndexRaBitQ(size, faiss.METRIC_INNER_PRODUCT)
    else:
        kind = faiss.ScalarQuantizer.QT_4bit if bits == 4 else faiss.ScalarQuantizer.QT_8bit
        codec = faiss.IndexScalarQuantizer(size, kind, faiss.METRIC_INNER_PRODUCT)
        if bits == 4:
            codec.sq.rangestat, codec.sq.rangestat_arg = faiss.ScalarQuantizer.RS_meanstd, _CLIP
    codec.train(code_NK)
    return codec


def write_faiss(path: Path, index: Any) -> None:
    """Write a FAISS index so that the file appears whole or not at all."""
    import faiss

    with whole_file(path) as part:  # `faiss.write_index` says nothing of a disk that is full
        part.write_bytes(faiss.serialize_index(index).data)


def read_faiss(path: Path) -> Any:
    """Read a FAISS index; StoreError if it is missing or damaged."""
    import faiss

    try:
        return faiss.read_index(str(path))
    except (RuntimeError, MemoryError) as error:
        raise StoreError(
            f"{path} cannot be read.",
            have=str(error).partition("\n")[0],
            fix="Delete the folder of the index and build it again.",
        ) from error


def write_shard(
    folder: Path,
    number: int,
    codec: Any,
    columns: npt.NDArray[np.int64],
    sketches: Sketches,
) -> None:
    """Store the sketches of some documents."""
    codec.reset()
    codec.add(sketches.code)
    write_faiss(folder / SHARDS / f"{number:06d}.faiss", codec)
    codec.reset()
    write_arrays(
        _arrays(folder, number),
        {"column": columns, "norm": sketches.norm, "spectrum": sketches.spectrum},
    )


def whole_shard(folder: Path, number: int) -> bool:
    """Whether an unfinished index has a shard, as it was written."""
    return intact(_arrays(folder, number)) and intact(folder / SHARDS / f"{number:06d}.faiss")


def unfinished_shard(folder: Path, number: int) -> Path:
    """The file of the finished part of a shard; it goes when the shard is whole."""
    return folder / SHARDS / f"{number:06d}.state.safetensors"


def finished_shards(folder: Path) -> int:
    """Shards that are whole, from the first on."""
    number = 0
    while _arrays(folder, number).exists():
        number += 1
    return number


def _arrays(folder: Path, number: int) -> Path:
    return folder / SHARDS / f"{number:06d}.safetensors"


@dataclass(frozen=True)
class SketchIndex:
    """A finished index."""

    folder: Path
    manifest: dict[str, Any]

    @cached_property
    def documents(self) -> DocumentTable:
        """The documents, in corpus order."""
        return DocumentTable(self.folder)

    @property
    def config(self) -> dict[str, Any]:
        """What determined it: model, tokenizer, layers, Hessian, corpus, kind of sketch."""
        config = self.manifest["config"]
        assert isinstance(config, dict)
        return config

    @property
    def bytes_per_document(self) -> int:
        """Bytes that a sketch takes: its code and its spectrum."""
        return int(self.manifest["provenance"]["bytes_per_document"])

    def check(self, **now: Any) -> None:
        """Refuse to answer with another model, tokenizer, Hessian or precision than built it.

        Raises:
            StoreError: naming what differs.
        """
        changed = [
            name for name, value in now.items() if self.config.get(name) != json.loads(json.dumps(value))
        ]
        if changed:
            raise StoreError(
                f"The index in {self.folder} was built with another {changed[0]}.",
                have=f"built with {self.manifest['provenance'].get('model_name')}",
                fix="Name the model, Hessian and --dtype that it was built with, or build one for these.",
            )

    def parts(self) -> Iterator[tuple[npt.NDArray[np.int64], Sketches]]:
        """All sketches, decoded, a part of a shard at a time: `columns [N]` and what is stored of them.

        Raises:
            StoreError: a shard is missing or damaged.
        """
        seen = 0
        for number in range(finished_shards(self.folder)):
            for name in (f"{number:06d}.safetensors", f"{number:06d}.faiss"):
                verify_file(self.folder, self.manifest, f"{SHARDS}/{name}")
            arrays = map_arrays(_arrays(self.folder, number))
            columns = np.asarray(arrays["column"])
            shard = read_faiss(self.folder / SHARDS / f"{number:06d}.faiss")
            code_NB = _codes(shard, len(columns))
            rows = max(1, _DECODED // shard.d)
            for start in range(0, len(columns), rows):
                part = slice(start, start + rows)
                rest = (np.asarray(arrays[name][part]) for name in ("norm", "spectrum"))
                yield columns[part], Sketches(shard.sa_decode(code_NB[part]), *rest)
            seen += len(columns)
        if seen != len(self.documents):
            raise StoreError(
                f"The index in {self.folder} is incomplete.",
                have=f"{seen:,} of {len(self.documents):,} documents",
                fix="A shard was deleted: delete the folder and build the index again.",
            )


def _codes(shard: Any, count: int) -> npt.NDArray[np.uint8]:
    """The codes of a shard `[N, bytes]`."""
    import faiss

    codes = faiss.vector_to_array(shard.codes) if hasattr(shard, "codes") else np.zeros(0, np.uint8)
    if shard.ntotal != count or len(codes) != count * shard.sa_code_size():
        raise StoreError(
            "A shard of the index does not fit its norms.",
            have=f"{shard.ntotal:,} and {count:,} documents",
            fix="Delete the folder of the index and build it again.",
        )
    return np.ascontiguousarray(codes.reshape(count, -1))


def open_index(folder: str | Path) -> SketchIndex:
    """Open a finished index.

    Raises:
        StoreError: there is none, it is unfinished, or it holds no documents.
    """
    folder = Path(folder)
    index = SketchIndex(folder, open_complete(folder, "index", verified=0))
    for name in (PROJECTIONS, CODEC, FILE):
        verify_file(folder, index.manifest, name, VERIFIED_AT_OPEN)
    if not len(index.documents):
        raise StoreError(f"The index in {folder} holds no documents.", fix="Build it of a corpus with text.")
    return index
