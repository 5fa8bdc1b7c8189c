"""Self-contained HTML reports of stored scores: loads without torch.

The public API has a function of this name, `influence.report(run, out)`; importing anything from this package would
put the package in its place, so the package can be called too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, run: str | Path, out: str | Path, **options: Any) -> Path:
        from influence.report.pages import report

        return report(run, out, **options)


sys.modules[__name__].__class__ = _CallablePackage
