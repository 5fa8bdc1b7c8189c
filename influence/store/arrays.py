"""Arrays in safetensors files: written whole, mapped into memory, or allocated to be filled."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from influence.errors import StoreError
from influence.files import whole_file

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write numpy arrays as safetensors, atomically."""
    from safetensors.numpy import save_file

    with whole_file(path) as part:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, part)


def map_arrays(path: Path, mode: str = "r") -> dict[str, npt.NDArray[Any]]:
    """Memory-map every array of a safetensors file."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > path.stat().st_size:
                raise ValueError("header longer than the file")
            header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        if any(
            entry["data_offsets"][0] < 0 or min(entry["shape"], default=0) < 0 for entry in header.values()
        ):
            raise ValueError("a tensor that no file holds")
        return {
            name: np.memmap(
                path,
                dtype=_DTYPES[entry["dtype"]],
                mode=mode,  # type: ignore[call-overload]
                offset=8 + size + entry["data_offsets"][0],
                shape=tuple(entry["shape"]),
            )
            if 0 not in entry["shape"]
            else np.zeros(entry["shape"], _DTYPES[entry["dtype"]])
            for name, entry in header.items()
        }
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        struct.error,
    ) as error:
        raise StoreError(
            f"{path} cannot be read.",
            have=str(error) or type(error).__name__,
            fix="The file is missing or damaged: delete its folder and run the command that made it again.",
        ) from error


def allocate_arrays(path: Path, shapes: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
    """Create a safetensors file of zeros (`name -> (shape, "F32" | "F64")`), to be filled."""
    header: dict[str, Any] = {}
    end = 0
    for name, (shape, dtype) in shapes.items():
        size = int(np.prod(shape)) * np.dtype(_DTYPES[dtype]).itemsize
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.flush()
        if sys.platform == "linux":  # a hole would kill the process, by SIGBUS, on a disk that is full
            os.posix_fallocate(file.fileno(), 0, 8 + len(text) + end)
        else:
            file.truncate(8 + len(text) + end)


def flush_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write filled arrays through to the disk."""
    for name in {str(a.filename) for a in arrays.values() if isinstance(a, np.memmap)}:
        with Path(name).open("rb") as file:  # `flush` would hold up every thread of the process meanwhile
            os.fsync(file.fileno())
