"""A page of facts for a person, as Markdown and as HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

DRAFT = (
    "Draft for the data protection officer. relay filled in what its files say; a person must check and complete it."
)
OPEN = "to be filled in: ______"
STYLE = """
body { font: 11pt/1.4 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #111; background: #fff; }
table { border-collapse: collapse; width: 100%; margin: .5em 0 1.5em; }
th, td { border: 1px solid #999; padding: .3em .5em; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { width: 28%; font-weight: 600; } td.source { width: 30%; font-size: 85%; color: #444; }
.draft { border: 2px solid #a40000; padding: .5em; } .open { background: #fff3c4; }
"""


@dataclass(frozen=True)
class Fact:
    """A statement.

    Attributes:
        what: what it is about.
        said: what is so; None if relay can't know it, so that a person must fill it in.
        source: where that comes from: a file, and the first 16 digits of its SHA-256.
    """

    what: str
    said: str | None
    source: str = ""


@dataclass(frozen=True)
class Part:
    """A part of a page: a title, a few words, and facts."""

    title: str
    words: str
    facts: Sequence[Fact]


@dataclass(frozen=True)
class Page:
    """A page: the name of its files, its title, and its parts."""

    name: str
    title: str
    parts: Sequence[Part]

    @property
    def open(self) -> int:
        """How many questions are left to people."""
        return sum(fact.said is None for part in self.parts for fact in part.facts)

    def markdown(self) -> str:
        """The page as Markdown."""
        lines = [f"# {_cell(self.title)}", "", f"**{DRAFT}**", ""]
        for part in self.parts:
            lines += [f"## {part.title}", "", *([part.words, ""] if part.words else [])]
            lines += ["| what | what relay knows | source |", "|---|---|---|"]
            lines += [f"| {' | '.join(map(_cell, (f.what, f.said or OPEN, f.source)))} |" for f in part.facts]
            lines.append("")
        return "\n".join(lines)

    def html(self) -> str:
        """The page as HTML; every text in it is escaped."""
        lines = [
            f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(self.title)}</title>',
            f"<style>{STYLE}</style></head>\n<body><main>",
            f'<h1>{escape(self.title)}</h1>\n<p class="draft"><strong>{DRAFT}</strong></p>',
        ]
        for part in self.parts:
            lines += [f"<h2>{escape(part.title)}</h2>", f"<p>{escape(part.words)}</p>" if part.words else ""]
            lines += ["<table>", *map(_row, part.facts), "</table>"]
        return "\n".join([*lines, "</main></body>\n</html>", ""])


def _row(fact: Fact) -> str:
    said = '<td class="open">' + OPEN if fact.said is None else "<td>" + escape(fact.said)
    return f'<tr><th scope="row">{escape(fact.what)}</th>{said}</td><td class="source">{escape(fact.source)}</td></tr>'


def _cell(text: str) -> str:
    """Text that can't leave its cell."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
