"""What the documentation says is true of the program: commands parse, snippets run, links lead somewhere."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import itertools
import json
import re
import runpy
import shlex
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import pytest
from stores import write_scores
from tiny import tiny_model

from influence.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
STUDIES: dict[str, click.Command] = {
    study: importlib.import_module(f"reports.{study}.__main__").command
    for study in ("miniworld", "internalization", "system2", "stages", "truth", "finetuning")
}
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "corpora").rglob("*.md"),
        *(ROOT / "queries").rglob("*.md"),
        *(ROOT / "reports").rglob("README.md"),
    ]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    """A page as pytest shows it."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language; "" is a block without one."""
    return [body for kind, body in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def without_blocks(page: Path) -> str:
    """The running text of a page."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


# -- commands


def command_lines(page: Path) -> list[list[str]]:
    """Complete command lines: those in fenced blocks, also where torchrun starts them."""
    text = "\n".join(blocks(page, "") + blocks(page, "bash")).replace("\\\n", " ")
    starts = ("influence ", "torchrun ", "srun torchrun ")
    lines = [shlex.split(line, comments=True) for line in text.splitlines() if line.startswith(starts)]
    return [line[line.index("influence") + 1 :] for line in lines]


def mentions(page: Path) -> list[list[str]]:
    """Commands in the running text, which need not be complete."""
    spans = re.findall(r"`influence\s+([a-z][^`]*)`", without_blocks(page))
    return [shlex.split(span) for span in spans]


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that some words name, and the words left for it."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {words[0]!r}"
        command, words = found, words[1:]
    return command, words


MANUAL = [page for page in PAGES if page.name != "cli.md"]
COMMANDS = [(page, line) for page in MANUAL for line in command_lines(page)]
MENTIONS = [(page, words) for page in MANUAL for words in mentions(page)]


def test_cli_reference_is_in_step() -> None:
    reference = load(ROOT / "docs" / "make_cli_reference.py")
    assert reference.FILE.read_text(encoding="utf-8") == reference.render(), (
        "run python docs/make_cli_reference.py"
    )


def load(path: Path) -> ModuleType:
    """A module that belongs to no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("page", "line"), COMMANDS, ids=lambda value: name(value) if isinstance(value, Path) else ""
)
def test_command_lines_parse(page: Path, line: list[str]) -> None:
    command, words = resolve(line)
    command.make_context("influence", list(words))


def test_study_commands_parse() -> None:
    lines = re.findall(r"python -m reports\.(\w+) (--[^`\n]+)", "\n".join(p.read_text() for p in MANUAL))
    assert {study for study, _ in lines} == STUDIES.keys()
    for study, options in lines:
        words = shlex.split(options)
        STUDIES[study].make_context(study, words if "--out" in words else [*words, "--out", "x"])


@pytest.mark.parametrize(
    ("page", "words"), MENTIONS, ids=lambda value: name(value) if isinstance(value, Path) else ""
)
def test_mentioned_options_exist(page: Path, words: list[str]) -> None:
    command, rest = resolve(words)
    known = {name for option in command.params for name in option.opts + option.secondary_opts} | {"--help"}
    assert {word for word in rest if word.startswith("--")} <= known


def test_options_named_alone_exist() -> None:
    programs = [cli, *STUDIES.values()]
    names = (option_names(program, click.Context(program)) for program in programs)
    every = {name for options in itertools.chain.from_iterable(names) for name in options}
    for page in MANUAL:
        named = set(re.findall(r"`(--[a-z-]+)", without_blocks(page)))
        assert named <= every | {"--no-deps", "--help"}, name(page)


def option_names(command: click.Command, context: click.Context) -> list[list[str]]:
    """Options of a command and all below it."""
    names = [option.opts + option.secondary_opts for option in command.params]
    if isinstance(command, click.Group):
        for member in command.list_commands(context):
            found = command.get_command(context, member)
            assert found is not None
            names += option_names(found, context)
    return names


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in [*MANUAL, ROOT / ".ci" / "run"]:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"^make ([a-z]+)", text, re.MULTILINE)) | set(
            re.findall(r"`make ([a-z]+)`", text)
        )
        assert named <= targets, name(page)


# -- snippets


@pytest.fixture
def like_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like the repository, with a tiny random model for the shipped one and few documents."""
    model = tiny_model()
    model.model.save_pretrained(tmp_path / "models" / "miniworld" / "base")
    model.tokenizer.save_pretrained(tmp_path / "models" / "miniworld" / "base")
    shutil.copytree(ROOT / "queries", tmp_path / "queries")
    (tmp_path / "corpora" / "miniworld").mkdir(parents=True)
    with (ROOT / "corpora" / "miniworld" / "documents.jsonl").open(encoding="utf-8") as documents:
        few = "".join(itertools.islice(documents, 6))
    (tmp_path / "corpora" / "miniworld" / "documents.jsonl").write_text(few, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_snippet_runs(like_here: Path) -> None:
    (snippet,) = blocks(ROOT / "README.md", "python")
    names: dict[str, Any] = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert names["scores"].normed.shape == (20, 6)
    assert (like_here / "reports" / "slopes.html").stat().st_size > 0


def test_snippets_of_analyses_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the page, and the example of the docstring."""
    from influence.analysis import run

    write_scores(tmp_path / "runs" / "demo" / "scores", np.random.default_rng(0).normal(size=(3, 60)))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for snippet in blocks(ROOT / "docs" / "analyses.md", "python"):
        exec(compile(snippet, "analyses.md", "exec"), names)
    promised = re.search(r'tables\["curves"\]  # (.*)', (ROOT / "docs" / "analyses.md").read_text())
    assert promised is not None
    assert list(names["curves"]) == promised[1].split(", ")
    assert len(names["top"]) == 1
    assert doctest.testmod(run) == (0, 3)


def test_snippets_of_formats_run(like_here: Path) -> None:
    """Also the one that opens our factors in kronfluence."""
    from kronfluence.analyzer import prepare_model

    import influence as inf
    from influence.engine.kronfluence_fit import LanguageModelTask

    model, corpus = inf.load_model("models/miniworld/base"), inf.read_corpus("corpora/miniworld")
    factors = inf.fit_hessian(model, corpus, out="runs/demo/hessian")
    inf.score(model, factors, inf.read_queries("slopes")[:2], corpus, out="runs/demo/scores")
    task = LanguageModelTask(list(factors.layers))
    names: dict[str, Any] = {"model": prepare_model(model.model, task), "task": task}
    for snippet in blocks(ROOT / "docs" / "formats.md", "python"):
        exec(compile(snippet, "formats.md", "exec"), names)
    ours = inf.open_factors("runs/demo/hessian").layer(factors.layers[0])
    theirs = names["factors"]
    total, count = (
        theirs["lambda_matrix"][factors.layers[0]],
        theirs["num_lambda_processed"][factors.layers[0]],
    )
    assert (total.double() / count).equal(ours.lam)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_snippets_compile(page: Path) -> None:
    for snippet in blocks(page, "python"):
        compile(snippet, name(page), "exec")


def test_json_of_the_manual_is_what_the_program_reads(tmp_path: Path) -> None:
    from influence.data.corpus import read_corpus
    from influence.data.queries import read_queries

    seen = {"queries": 0, "documents": 0}
    for page in (ROOT / "docs" / "formats.md", ROOT / "docs" / "tutorial.md"):
        for number, block in enumerate(blocks(page, "json")):
            file = tmp_path / f"{page.stem}-{number}.jsonl"
            file.write_text(block, encoding="utf-8")
            if '"prompt"' in block:
                seen["queries"] += len(read_queries(file))
            else:
                seen["documents"] += len(list(read_corpus(file)))
    assert seen == {"queries": 3, "documents": 3}


def test_example_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(ROOT / "docs" / "example_notebook.py"))
    assert names["scores"].dot.shape == (2, 4)
    assert (tmp_path / "runs" / "example" / "report.html").stat().st_size > 0


NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("page", NOTEBOOKS, ids=name)
def test_notebooks_run(page: Path, like_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell, on a tiny model and few documents in the place of the ready ones."""
    monkeypatch.setattr("influence.ready._folder", lambda kind: like_here / kind)
    names: dict[str, Any] = {}
    for number, cell in enumerate(json.loads(page.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "kept without outputs, which would be those of one machine"
            exec(compile("".join(cell["source"]), f"{page.name}, cell {number}", "exec"), names)
    assert names["scores"].normed.shape[1] >= 6


# -- links


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, by the rule of the usual Markdown renderers."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_site_leads_to_every_page() -> None:
    named = set(
        re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert named == {page.name for page in (ROOT / "docs").glob("*.md")} - {"log.md"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)} links to {target}"
        assert not anchor or anchor in anchors(file), f"{name(page)} links to {target}"
