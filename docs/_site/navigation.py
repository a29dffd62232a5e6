"""The site's navigation is what the index pages list: ``docs/index.md``, and the ``README.md`` of a folder below it.

Each list under a heading becomes a part of the sidebar. To add a page, add its line to the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADING = re.compile(r"^## +(.+)$", re.MULTILINE)
ENTRY = re.compile(r"^- \[([^\]]+)\]\(([^)#:]+)\.md\)", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\(([^)#:]+)\)")


def is_index(page: str) -> bool:
    """Whether a page, named as Sphinx does (``docs/decisions/README``), lists others."""
    return page == "docs/index" or (page.startswith("docs/") and page.endswith("/README"))


def parts(text: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The lists of an index page: the heading of each (empty before the first one), and its titles and pages."""
    heads = ["", *HEADING.findall(text)]
    bodies = HEADING.split(text)[::2]
    yield from ((head, pages) for head, body in zip(heads, bodies, strict=True) if (pages := ENTRY.findall(body)))


def toctrees(text: str) -> str:
    """The lists of an index page in Sphinx's form, which its readers need not see."""
    return "".join(_toctree(head, pages) for head, pages in parts(text))


def _toctree(caption: str, pages: list[tuple[str, str]]) -> str:
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["", "```{toctree}", *options, *(f"{title} <{page}>" for title, page in pages), "```", ""])


def without_folders(text: str, folder: Path) -> str:
    """Links to folders, which a code host lists and a site can't: to the folder's page, or plain text."""

    def lead(link: re.Match[str]) -> str:
        words, target = link.groups()
        if not (folder / target).is_dir():
            return link[0]
        page = f"{target.rstrip('/')}/README.md"
        return f"[{words}]({page})" if (folder / page).is_file() else words

    return LINK.sub(lead, text)


def _read(app: Any, page: str, source: list[str]) -> None:
    source[0] = without_folders(source[0], Path(app.env.doc2path(page)).parent)
    if is_index(page):
        source[0] += toctrees(source[0])


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True}
