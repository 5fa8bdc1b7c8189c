"""Print the size and shape of the code as one row: `python tests/tools/house.py`.

Modules, code lines, mean lines of a module, modules on the longest chain of imports, functions of a cyclomatic
complexity above 10 (share, and the highest), share of import lines, and options on the first screens of all commands.
"""

from __future__ import annotations

import ast
import graphlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import grimp

ROOT = Path(__file__).resolve().parents[2]
COMPLEX = 10


def longest_chain(package: str) -> list[str]:
    """Modules from the top to the bottom of the longest chain of imports."""
    graph = grimp.build_graph(package, exclude_type_checking_imports=True)
    below = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    chains: dict[str, list[str]] = {}
    for module in graphlib.TopologicalSorter(below).static_order():
        longest = max((chains[imported] for imported in below[module]), key=len, default=[])
        chains[module] = [module, *longest]
    return max(chains.values(), key=len)


Function = ast.FunctionDef | ast.AsyncFunctionDef


def complexity(function: Function) -> int:
    """Cyclomatic complexity: 1 and each branch, loop, handler, case, condition of a comprehension, `and` and `or`."""
    branches = 1
    for node in ast.walk(function):
        if isinstance(
            node, ast.If | ast.IfExp | ast.For | ast.AsyncFor | ast.While | ast.Assert | ast.ExceptHandler
        ):
            branches += 1
        elif isinstance(node, ast.comprehension):
            branches += 1 + len(node.ifs)
        elif isinstance(node, ast.BoolOp):
            branches += len(node.values) - 1
        elif isinstance(node, ast.match_case):
            branches += 1
    return branches


def complexities(text: str) -> list[tuple[int, str]]:
    """Complexity and name of each function and method; what is nested in one counts as part of it."""
    bodies: list[list[ast.stmt]] = [ast.parse(text).body]
    found: list[tuple[int, str]] = []
    while bodies:
        for node in bodies.pop():
            if isinstance(node, Function):
                found.append((complexity(node), node.name))
            elif isinstance(node, ast.ClassDef):
                bodies.append(node.body)
    return found


def code_lines(text: str) -> int:
    """Lines that are neither blank, nor comment, nor docstring."""
    tree = ast.parse(text)
    documented: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            documented |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(bool(line.strip()) and line.strip()[0] != "#" and n not in documented for n, line in lines)


def import_lines(text: str) -> int:
    """Lines of import statements."""
    imports = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom))
    return sum((node.end_lineno or node.lineno) - node.lineno + 1 for node in imports)


def commands(
    group: click.Command, name: str, context: click.Context | None = None
) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, with its full name."""
    context = click.Context(group, parent=context, info_name=name)
    if isinstance(group, click.Group):
        for part in group.list_commands(context):
            command = group.get_command(context, part)
            assert command is not None
            yield from commands(command, f"{name} {part}", context)
    if not isinstance(group, click.Group) or group.invoke_without_command:
        yield name, group


def visible_options() -> dict[str, int]:
    """How many options the first screen of `--help` shows, by command."""
    cli = importlib.import_module("influence.cli.main").cli
    return {
        name: len(getattr(command, "shown_names", list)()) for name, command in commands(cli, "influence")
    }


def measures() -> dict[str, Any]:
    """The row as a mapping."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "influence").rglob("*.py"))]
    code = sum(map(code_lines, texts))
    functions = [function for text in texts for function in complexities(text)]
    lines = sum(len(text.splitlines()) for text in texts)
    return {
        "modules": len(texts),
        "code lines": code,
        "mean module": round(lines / len(texts)),
        "longest chain": len(longest_chain("influence")),
        "complex functions, %": round(100 * sum(n > COMPLEX for n, _ in functions) / len(functions), 1),
        "highest complexity": " of ".join(map(str, max(functions))),
        "import lines, %": round(100 * sum(map(import_lines, texts)) / lines, 1),
        "visible options": sum(visible_options().values()),
    }


if __name__ == "__main__":
    for name, value in measures().items():
        sys.stdout.write(f"{name:22} {value}\n")
    sys.stdout.write("longest chain: " + " > ".join(longest_chain("influence")) + "\n")
