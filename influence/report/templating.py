"""The template engine of every page: it escapes everything and knows no undefined name."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from influence import __version__
from influence.report import program
from influence.report.text import breaks, clip, count, pieces, plain

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """A page from its template, with the style sheet that all pages share."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(breaks=breaks, clip=clip, pieces=pieces, plain=plain)
    environment.filters["count"] = count
    style = program.style()
    shared = {"style": Markup(style), "style_hash": sha256(style), "version": __version__}
    return environment.get_template(template).render(**shared, **values)


def sha256(text: str) -> str:
    """The hash by which a content security policy allows a script or a style sheet."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
