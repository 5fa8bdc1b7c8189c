"""What mkdocs does not do by itself: pages outside docs/ that are linked join the site, and links are led there."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
#: `](target#anchor)` outside code.
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")
HOME = "start.md"


def on_files(files: Files, config: Any) -> Files:
    """Add every file of the repository that a page links to, and what those pages link to."""
    home = files.get_file_from_path(HOME)
    assert home is not None
    home.dest_uri = home.url = "index.html"
    pages = [Path(str(file.abs_src_path)) for file in files.documentation_pages()]
    for page in pages:
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            path = _file(page.parent / target)
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and not name.startswith("docs/") and files.get_file_from_path(name) is None:
                files.append(File(name, str(ROOT), config["site_dir"], use_directory_urls=False))
                if path.suffix == ".md":
                    pages.append(path)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead links to where their files lie in the site: docs/ is its root, the other folders stand in it."""
    folder = Path(page.file.abs_src_path).parent
    here = posixpath.dirname(page.file.src_uri)

    def led(match: re.Match[str]) -> str:
        path = _file(folder / match[1])
        if not path.exists():
            return match[1]  # mkdocs says so
        name = path.relative_to(ROOT).as_posix().removeprefix("docs/")
        return posixpath.relpath(name, here or ".")

    return LINK.sub(led, markdown)


def _file(path: Path) -> Path:
    """The file that a link means: of a folder, its README."""
    path = path.resolve()
    return path / "README.md" if path.is_dir() else path
