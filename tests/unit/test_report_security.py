"""No way from a text to markup or code in a report: its sources hold no sink, its template engine escapes, and what
enters the page as it is was made here.
"""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import jinja2.nodes
import numpy as np
import pytest
from markupsafe import Markup
from stores import make_document, make_query, write_scores

import influence
import influence.report.page
import influence.report.pages

PACKAGE = Path(influence.__file__).parent
REPORT = PACKAGE / "report"
HOSTILE = "<script>window.PWN=1</script><img src=x onerror=window.PWN=1></title></style>'\"{{7*7}}"

#: What makes markup or code of a string, or asks the network, each with a line that does it.
SINKS = {
    r"\b(inner|outer)HTML\b": "e.innerHTML = t",
    r"\binsertAdjacentHTML\b": "e.insertAdjacentHTML('beforeend', t)",
    r"\bdocument\s*\.\s*write": "document.writeln(t)",
    r"\b(DOMParser|createContextualFragment|srcdoc|parseFromString)\b": "f.srcdoc = t",
    r"\b(setHTML|setHTMLUnsafe|parseHTMLUnsafe)\b": "e.setHTMLUnsafe(t)",
    r"\beval\b": "eval(t)",
    r"\bFunction\s*\(": "new Function(t)",
    r"\bset(Timeout|Interval)\s*\(\s*[\"'`]": "setTimeout('go()', 1)",
    r"\bimport\s*\(": "import(t)",
    r"javascript:": "a.href = 'javascript:go()'",
    r"\blocation(\.href)?\s*=[^=]|\blocation\.(assign|replace)|\bwindow\.open": "location.href = t",
    r"setAttribute(NS)?\(\s*[\"'`]on|[\"'`]on[a-z]+[\"'`]\s*:|\.on[a-z]+\s*=[^=]": "e.onclick = t",
    r"\bfetch\s*\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|\bWorker\b": "fetch(t)",
    r"createElement(NS)?\([^)]*[\"'`](script|iframe|object|embed|base|meta|style)\b": "createElement('script')",
    r"</|<!--": "'</script>'",
}


def sinks(source: str) -> list[str]:
    return [pattern for pattern in SINKS if re.search(pattern, source)]


def files(*suffixes: str) -> dict[str, str]:
    return {
        path.relative_to(REPORT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(REPORT.rglob("*"))
        if path.suffix in suffixes
    }


def test_every_forbidden_line_would_be_found() -> None:
    for pattern, line in SINKS.items():
        assert pattern in sinks(line)


def test_no_script_has_a_sink() -> None:
    scripts = files(".js")
    assert len(scripts) > 5
    tags = set(re.findall(r"\bel\(\s*[\"'`]([\w:]+)", "".join(scripts.values())))
    assert len(tags) > 20
    for name, source in scripts.items():
        assert sinks(source) == [], name
        assert not tags & {"script", "style", "iframe", "object", "embed", "base", "meta", "link", "img"}
        calls = source.replace("function el(kind,", "")
        assert not re.search(r"\bel\((?!\s*(?:[\"'`)]|tag\b))", calls), f"{name}: a text chooses the element"


def test_no_style_sheet_loads_or_runs() -> None:
    sheets = files(".css")
    assert sorted(sheets) == ["assets/report.css", "templates/report.css"]
    for name, source in sheets.items():
        assert not re.search(r"url\(|@import|expression\(|https?:|</|\{\{|\{%", source), name


#: Template -> its style sheet or script, where it has one.
BLOCKS = {"base.html": ["{{ style }}"], "report.html": ["{{ script }}"]}


def test_no_template_trusts_a_value() -> None:
    templates = files(".html")
    assert len(templates) >= 4
    environment = jinja2.Environment(autoescape=True)
    for name, source in templates.items():
        tree = environment.parse(source)
        filters = {node.name for node in tree.find_all(jinja2.nodes.Filter)}
        assert not filters & {"safe", "forceescape", "xmlattr", "urlize", "tojson"}, name
        assert not list(tree.find_all(jinja2.nodes.EvalContextModifier)), name  # {% autoescape false %}
        assert not list(tree.find_all(jinja2.nodes.MarkSafe)), name
        assert not re.search(r"[\w-]=\{[{%]", source), name  # an attribute without quotes
        assert not re.search(r"\son\w+\s*=|javascript:|\sstyle=|srcdoc", source), name
        for start in re.findall(r"""\s(?:href|src|action)=(?!["']#|["']data:,)(.{20})""", source):
            pytest.fail(f"{name} links to {start}")
        inside = re.findall(r"<(?:script|style)[^>]*>(.*?)</(?:script|style)>", source, re.DOTALL)
        assert inside == BLOCKS.get(name.rpartition("/")[2], []), name


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name:
            yield node


def test_four_things_made_here_are_trusted_and_one_environment_renders() -> None:
    sources = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    trusted, environments = set(), []
    for name, path in sources.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        trusted |= {f"{name}: {ast.unparse(call)}" for call in calls(tree, "Markup")}
        environments += [name for call in calls(tree, "Environment")]
        if name.startswith("report/"):
            assert not [*calls(tree, "Template"), *calls(tree, "from_string")], name
        for node in ast.walk(tree):  # no name for it that would hide a use
            if isinstance(node, ast.ImportFrom) and node.module == "markupsafe":
                assert [(alias.name, alias.asname) for alias in node.names] == [("Markup", None)], name
    assert trusted == {
        "report/drawing.py: Markup(ET.tostring(root, encoding='unicode'))",
        "report/page.py: Markup(sheet)",
        "report/page.py: Markup(program)",
        "report/pages.py: Markup(script_tags(blocks))",
    }
    assert environments == ["report/page.py"]


def hostile_run(folder: Path) -> Path:
    queries = [
        make_query(n, id=f"{n}{HOSTILE}", task=HOSTILE, prompt=HOSTILE, completion=HOSTILE) for n in range(3)
    ]
    documents = [
        make_document(n, id=f"{n}{HOSTILE}", source=f"{n % 2}{HOSTILE}", text=HOSTILE) for n in range(30)
    ]
    scores = write_scores(
        folder, np.random.default_rng(0).normal(size=(3, 30)), queries=queries, documents=documents
    )
    return scores.folder


def trusted_values(value: Any, at: str) -> Iterator[tuple[str, Markup]]:
    """What a template takes as it is, with its place."""
    if isinstance(value, Markup):
        yield at, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from trusted_values(inner, f"{at}.{key}")
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from trusted_values(inner, f"{at}[]")
    elif hasattr(value, "__dataclass_fields__"):
        for key in value.__dataclass_fields__:
            yield from trusted_values(getattr(value, key), f"{at}.{key}")


def test_the_environment_escapes_and_refuses_what_is_not_defined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that renders, not one like it."""
    made: list[jinja2.Environment] = []
    rendered: list[dict[str, Any]] = []

    class Recorded(jinja2.Environment):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    render = jinja2.Template.render

    def recorded(self: jinja2.Template, *arguments: Any, **values: Any) -> str:
        rendered.append(dict(*arguments, **values))
        return render(self, *arguments, **values)

    monkeypatch.setattr(jinja2, "Environment", Recorded)
    influence.report.page._environment.cache_clear()
    monkeypatch.setattr(jinja2.Template, "render", recorded)
    out = influence.report.pages.write_report(hostile_run(tmp_path / "run"), tmp_path / "r.html")
    (environment,) = made
    assert environment.autoescape is True
    assert environment.undefined is jinja2.StrictUndefined
    assert environment.extensions == {}
    assert environment.from_string("{{ x }}").render(x="<b>'\"&") == "&lt;b&gt;&#39;&#34;&amp;"
    with pytest.raises(jinja2.UndefinedError):
        environment.from_string("{{ nothing }}").render()

    values = rendered[0]  # the report; the rest are the three lines above
    found = dict(trusted_values(values, ""))
    places = set(found)
    whole = {".style", ".script", ".blocks", ".views.correlation.figure"}
    drawn = r"(\.\w+|\[\])+(\.panels\[\]\.svg|\.thumbnail|\.picture)"
    panels = {place for place in places - whole if re.fullmatch(drawn, place)}
    assert places == whole | panels
    assert panels
    for place, value in trusted_values(values, ""):
        if place not in (".style", ".script", ".blocks"):
            check_drawing(value)
    page = out.read_text(encoding="utf-8")
    assert "<img" not in page
    assert page.count("<script>") == 1
    assert "{{7*7}}" in page


def check_drawing(svg: str) -> None:
    """A figure holds shapes and text: no program, no foreign element, no address outside the page."""
    for element in ET.fromstring(svg).iter():
        space, tag = element.tag[1:].split("}")
        assert space == "http://www.w3.org/2000/svg"
        assert tag not in ("script", "foreignObject", "style", "a", "animate", "set"), tag
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on"), name
            assert name != "style"
            if name.endswith("href"):
                assert value.startswith(("#", "data:image/png;base64,")), value
            assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", value)), value
