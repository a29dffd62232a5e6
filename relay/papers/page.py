"""A page of facts for a person, as Markdown and as HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from relay.errors import UserError
from relay.files import write_text
from relay.papers.fact import Fact, Source

STYLE = """
body { font: 11pt/1.4 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #111; background: #fff; }
table { border-collapse: collapse; width: 100%; margin: .5em 0 1.5em; }
th, td { border: 1px solid #999; padding: .3em .5em; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { width: 28%; font-weight: 600; } td.source { width: 30%; font-size: 85%; color: #444; }
.draft { border: 2px solid #a40000; padding: .5em; } .open { background: #fff3c4; }
.files td { font-family: monospace; font-size: 85%; } .files th { width: 3em; }
@media print { tr { break-inside: avoid; } h2 { break-after: avoid; } }
"""
FORMS = {"markdown": "md", "html": "html"}


@dataclass(frozen=True)
class Part:
    """A part of a page: a title, a few words, and facts."""

    title: str
    words: str
    facts: Sequence[Fact]


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        name: of its files.
        draft: whose draft it is, and what they must do with it.
    """

    name: str
    title: str
    draft: str
    parts: Sequence[Part]

    @property
    def open(self) -> int:
        """How many questions are left to people."""
        return sum(fact.said is None for part in self.parts for fact in part.facts)

    @property
    def files(self) -> list[Source]:
        """The files that it cites, each once, in the order of their numbers."""
        sources = (source for part in self.parts for fact in part.facts for source in fact.sources)
        return list(dict.fromkeys(_file(source) for source in sources))

    def markdown(self) -> str:
        """The page as Markdown."""
        places = self._places(lambda number: f"[{number}]", _cell)
        lines = [f"# {_cell(self.title)}", "", f"**{self.draft}**", ""]
        for part in self.parts:
            lines += [f"## {part.title}", "", *([part.words, ""] if part.words else [])]
            lines += ["| what | what relay knows | source |", "|---|---|---|"]
            lines += [f"| {_cell(fact.what)} | {_cell(fact.text)} | {places(fact)} |" for fact in part.facts]
            lines.append("")
        lines += ["## Sources", "", "| no. | file | SHA-256 |", "|---|---|---|"]
        lines += [f"| {n} | {_cell(_named(file))} | {file.sha256} |" for n, file in enumerate(self.files, 1)]
        return "\n".join([*lines, ""])

    def html(self) -> str:
        """The page as HTML; every text in it is escaped."""
        places = self._places(lambda number: f'<a href="#source-{number}">[{number}]</a>', escape)
        lines = [
            f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(self.title)}</title>',
            f"<style>{STYLE}</style></head>\n<body><main>",
            f'<h1>{escape(self.title)}</h1>\n<p class="draft"><strong>{escape(self.draft)}</strong></p>',
        ]
        for part in self.parts:
            lines += [f"<h2>{escape(part.title)}</h2>", f"<p>{escape(part.words)}</p>" if part.words else ""]
            lines += ["<table>", *(_row(fact, places(fact)) for fact in part.facts), "</table>"]
        lines += ["<h2>Sources</h2>", '<table class="files">']
        for number, file in enumerate(self.files, 1):
            head = f'<tr id="source-{number}"><th scope="row">{number}</th>'
            lines.append(f"{head}<td>{escape(_named(file))}</td><td>{file.sha256}</td></tr>")
        return "\n".join([*lines, "</table>", "</main></body>\n</html>", ""])

    def _places(self, link: Callable[[int], str], plain: Callable[[str], str]) -> Callable[[Fact], str]:
        """What the last column says of a fact: each file's number, followed by the places in it."""
        numbers = {file: number for number, file in enumerate(self.files, 1)}

        def places(fact: Fact) -> str:
            found: dict[int, list[str]] = {}
            for source in fact.sources:
                found.setdefault(numbers[_file(source)], []).append(plain(source.place))
            return "; ".join(
                f"{link(number)} {', '.join(filter(None, said))}".strip() for number, said in found.items()
            )

        return places


def write_pages(made: Sequence[Page], folder: Path) -> list[Path]:
    """Write pages as Markdown and HTML; return the files.

    Raises:
        UserError: one exists already: a person may have completed it.
    """
    texts = {folder / f"{page.name}.{end}": getattr(page, form)() for page in made for form, end in FORMS.items()}
    if there := [path for path in texts if path.exists()]:
        raise UserError(f"{there[0]} exists already", "Somebody may have completed it: name another folder with -o.")
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


def _file(source: Source) -> Source:
    return Source(source.file, source.sha256, root=source.root)


def _named(file: Source) -> str:
    return f"{file.file} ({file.root})" if file.root else file.file


def _row(fact: Fact, places: str) -> str:
    said = f"<td{' class=open' if fact.said is None else ''}>{escape(fact.text)}</td>"
    return f'<tr><th scope="row">{escape(fact.what)}</th>{said}<td class="source">{places}</td></tr>'


def _cell(text: str) -> str:
    """Text that can't leave its cell, nor be a link or a picture."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(").replace("\n", " ")
