"""The shape of the repository: folders, sizes, docstrings, what imports what, what may not be written."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "influence"
MODULES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "reports").rglob("*.py")])
MOST_LINES = 320


def name(path: Path) -> str:
    """A file as pytest shows it."""
    return str(path.relative_to(ROOT))


def test_top_level_folders() -> None:
    for folder in ("influence", "queries", "corpora", "reports", "docs", "docs/decisions", "tests"):
        assert (ROOT / folder).is_dir(), folder
    for part in (
        "data",
        "store",
        "curvature",
        "models",
        "engine",
        "train",
        "distill",
        "subjects",
        "analysis",
        "report",
        "cli",
    ):
        assert (PACKAGE / part / "__init__.py").is_file(), part


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_module(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module says what it is for"
    assert len(text.splitlines()) <= MOST_LINES
    assert module.name != "utils.py"
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls)
    without = [definition for definition in public(tree) if not ast.get_docstring(definition)]
    assert not without, [definition.name for definition in without]


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(tree: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    """Public functions, classes and their public methods; not what is nested, nor methods that a base documents."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef) and not node.bases:
                yield from public(node)


def loaded_by(imports: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after some imports."""
    code = (
        f"{imports}\nimport sys\nsys.stdout.write(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return set(done.stdout.split())


def test_import_is_light() -> None:
    loaded = loaded_by("import influence, influence.cli.main")
    assert loaded.isdisjoint(
        {"torch", "transformers", "datasets", "pandas", "pyarrow", "numpy", "tqdm", "matplotlib"}
    )


def test_reading_results_needs_no_torch() -> None:
    readers = [PACKAGE / "store" / "scores.py", PACKAGE / "store" / "documents.py"]
    for part in ("analysis", "report", "data"):
        readers += sorted((PACKAGE / part).rglob("*.py"))
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in readers
    ]
    assert loaded_by("import " + ", ".join(modules)).isdisjoint({"torch", "transformers", "kronfluence"})


def test_public_api_resolves() -> None:
    import influence

    for export in influence.__all__:
        assert getattr(influence, export) is not None


# -- what may not be written


def tracked() -> list[Path]:
    """Files under version control."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True
    )
    return [path for entry in listed.stdout.split("\0") if entry and (path := ROOT / entry).is_file()]


def test_no_path_of_a_machine() -> None:
    machine = re.compile(r"(?<![\w.~-])/(?:" + "|".join(["work", "root", "home", "Users", "opt"]) + r")/\w")
    for path in tracked():
        found = machine.search(path.read_bytes().decode("utf-8", "ignore"))
        assert not found, f"{name(path)} names {found.group()}"


def test_lines_of_a_page_are_short() -> None:
    """A diff of prose can be read. Rows of tables, and what stands in a fence, may be longer."""
    for page in (path for path in tracked() if path.suffix == ".md"):
        fenced = False
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            fenced ^= line.lstrip().startswith("```")
            long = len(line) > 120 and not fenced and not line.startswith("|")
            assert not long, f"{name(page)}, line {number}, has {len(line)} characters"


# -- the lock


def requirement(line: str) -> str:
    """The name of a requirement, as registries compare it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!\[;]", line, maxsplit=1)[0]).lower()


def pins(file: str) -> dict[str, str]:
    """Pinned versions of a lock file."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pinned = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {requirement(parts[0]): parts[1] for parts in pinned}


def test_lock_covers_what_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
    ]
    locked = pins("requirements.lock") | pins("requirements-nodeps.lock")
    assert {requirement(line) for line in declared} <= locked.keys()


def test_lock_is_of_no_machine() -> None:
    locked = pins("requirements.lock")
    assert not {"torchvision", "kronfluence", "influence-lm", "pip"} & locked.keys()
    assert not [pin for pin in locked.values() if "+" in pin or "/" in pin]
