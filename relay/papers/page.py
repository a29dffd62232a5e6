"""A page of facts for a person, as Markdown and as HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from relay.errors import UserError
from relay.files import add_files
from relay.papers.fact import Fact, Source

TEMPLATE = Path(__file__).parent / "paper.html"
FORMS = {"markdown": "md", "html": "html"}


@dataclass(frozen=True)
class Section:
    """A section of a page: a title, a few words, and facts."""

    title: str
    words: str
    facts: Sequence[Fact]


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        name: of its files.
        draft: what the page is, and what people must do with it.
        by: who must fill in a gap that names nobody.
    """

    name: str
    title: str
    draft: str
    by: str
    sections: Sequence[Section]

    @cached_property
    def facts(self) -> list[Fact]:
        """All of them."""
        return [fact for section in self.sections for fact in section.facts]

    @property
    def open(self) -> int:
        """How many questions are left to people."""
        return sum(fact.said is None for fact in self.facts)

    @cached_property
    def files(self) -> dict[Source, int]:
        """The files that it cites, each once, with their numbers from 1."""
        cited = dict.fromkeys(_file(source) for fact in self.facts for source in fact.sources)
        return {file: number for number, file in enumerate(cited, 1)}

    def text(self, fact: Fact) -> str:
        """What is said, or the gap."""
        return f"[to be filled in by {fact.by or self.by}: {fact.hint}]" if fact.said is None else fact.said

    def places(self, fact: Fact) -> list[tuple[int, str]]:
        """Where a fact comes from: each file's number, and the places in it."""
        found: dict[int, list[str]] = {}
        for source in fact.sources:
            found.setdefault(self.files[_file(source)], []).append(source.place)
        return [(number, ", ".join(filter(None, places))) for number, places in found.items()]

    def markdown(self) -> str:
        """The page as Markdown."""
        lines = [f"# {_cell(self.title)}", "", f"**{self.draft}**", ""]
        for section in self.sections:
            lines += [f"## {section.title}", "", *([section.words, ""] if section.words else [])]
            lines += ["| what | what relay knows | source |", "|---|---|---|"]
            for fact in section.facts:
                places = "; ".join(f"[{number}] {_cell(place)}".strip() for number, place in self.places(fact))
                lines.append(f"| {_cell(fact.what)} | {_cell(self.text(fact))} | {places} |")
            lines.append("")
        lines += ["## Sources", "", "| no. | file | SHA-256 |", "|---|---|---|"]
        lines += [f"| {n} | {_cell(_named(file))} | {file.sha256} |" for file, n in self.files.items()]
        return "\n".join([*lines, ""])

    def html(self) -> str:
        """The page as HTML, in the style of the report."""
        from relay.report import render  # which draws figures, too

        sections = [{"id": f"section-{n}", "title": each.title, "of": each} for n, each in enumerate(self.sections, 1)]
        sections.append({"id": "sources", "title": "Sources", "of": None})
        files = [(_named(file), file.sha256) for file in self.files]
        gaps = f"{self.open} gaps are left open, on a yellow ground." if self.open else "No gap is left open."
        return render(TEMPLATE, title=self.title, sentence=gaps, alerts=(), sections=sections, page=self, files=files)


def write_pages(made: Sequence[Page], folder: Path, more: Mapping[str, bytes] | None = None) -> list[Path]:
    """Write pages as Markdown and HTML, and more files with them: all or none. Return the files.

    Raises:
        UserError: a page exists already: a person may have completed it.
    """
    texts = {f"{page.name}.{end}": getattr(page, form)() for page in made for form, end in FORMS.items()}
    if there := [folder / name for name in texts if (folder / name).exists()]:
        raise UserError(f"{there[0]} exists already", "Somebody may have completed it: name another folder with -o.")
    written = {name: text.encode() for name, text in texts.items()} | dict(more or {})
    add_files(folder, written)
    return [folder / name for name in written]


def _file(source: Source) -> Source:
    return Source(source.file, source.sha256, root=source.root)


def _named(file: Source) -> str:
    return f"{file.file} ({file.root})" if file.root else file.file


def _cell(text: str) -> str:
    """Text that can't leave its cell, nor be a link or a picture."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(").replace("\n", " ")
