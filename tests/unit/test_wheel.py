"""What an installed package holds, and what it does not."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_holds_the_package_and_no_study(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--quiet", "--wheel-dir", str(tmp_path)], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("influence_lm-*.whl")
    names = [Path(name) for name in zipfile.ZipFile(wheel).namelist()]
    assert {name.parts[0].partition("-")[0] for name in names} == {"influence", "influence_lm"}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "influence").rglob("*.py")}
    assert {str(name) for name in names if name.suffix == ".py"} == modules
