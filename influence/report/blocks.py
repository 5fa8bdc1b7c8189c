"""Data of a page as blocks that nothing can break out of: base64 of gzip of ASCII JSON."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def encode(value: Any) -> str:
    """JSON in ASCII (lone surrogates survive), gzip without a time stamp, base64: same value, same text."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("ascii"), 6, mtime=0)).decode("ascii")


def script_tags(blocks: Mapping[str, str]) -> str:
    """The blocks as `<script type="text/plain">` elements, which no browser runs."""
    return "".join(
        f'<script type="text/plain" id="d-{key}">{block}</script>\n' for key, block in blocks.items()
    )


def rounded(values: Iterable[float], digits: int = 9) -> list[float | None]:
    """Numbers of that many significant digits (9 give a float32 back exactly); None for what is not finite."""
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in values]
