"""Pages of facts, as Markdown and HTML."""

from __future__ import annotations

import pytest

from relay.papers import Fact, Page, Section, Source, page


def cites(many: int) -> Page:
    """A page of so many facts, of three places each."""
    facts = [Fact(f"{n}", "so", [Source(f"{n // 2}.json", place=f"/{k}") for k in range(3)]) for n in range(many)]
    return Page("name", "Title", "Draft.", "the site", [Section("One", "", facts)])


def test_a_file_has_one_number_however_often_it_is_cited() -> None:
    made = cites(4)
    assert [made.places(fact) for fact in made.facts] == [[(n, "/0, /1, /2")] for n in (1, 1, 2, 2)]
    assert "| 2 | 1.json |  |" in made.markdown()
    assert made.html().count('<tr id="source-') == 2


def test_the_sources_of_a_long_page_are_numbered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay of many sites has papers of thousands of facts: to number them again for each takes minutes."""
    seen: list[Source] = []
    file = page._file
    monkeypatch.setattr(page, "_file", lambda source: seen.append(source) or file(source))
    cites(100).markdown()
    assert len(seen) == 2 * 3 * 100
