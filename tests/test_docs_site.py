"""The docs site: it lists every page, builds without a warning or a network, and needs no other host."""

from __future__ import annotations

import html
import re
import runpy
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from relay.trust import Policy, Signed
from tests.rooms import MODULES, ROOMS
from tests.test_rooms import FLOOR

ROOT = Path(__file__).resolve().parents[1]
API = ROOT / "docs/reference/api"
OUTSIDE = (*ROOT.glob("*.md"), ROOT / "benchmarks/README.md", ROOT / "exps/README.md")
NAVIGATION = runpy.run_path(str(ROOT / "docs/_site/navigation.py"))


def listed() -> Counter[Path]:
    """What the index pages list, below docs/index.md."""
    found: Counter[Path] = Counter()
    new = [ROOT / "docs/index.md"]
    while new:
        index = new.pop()
        parts = NAVIGATION["parts"](index.read_text()) if NAVIGATION["is_index"](docname(index)) else ()
        pages = [(index.parent / f"{page}.md").resolve() for _, entries in parts for _, page in entries]
        new += [page for page in pages if page not in found and page.is_file()]
        found.update(pages)
    return found


def docname(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix("").as_posix()


def test_navigation_lists_every_page_once() -> None:
    pages = {*(ROOT / "docs").rglob("*.md"), *OUTSIDE} - {ROOT / "docs/index.md"}
    found = listed()
    assert sorted(map(docname, pages - set(found))) == [], "add a line to docs/index.md, or to the folder's README.md"
    assert sorted(map(docname, set(found) - pages)) == [], "listed, but absent"
    assert [docname(page) for page, times in found.items() if times > 1] == []


def test_every_face_has_an_api_page_and_no_page_is_of_nothing() -> None:
    pages = {page.stem for page in API.glob("*.md")} - {"README"}
    faces = {room for room in ROOMS if (ROOT / f"relay/{room}/__init__.pyi").is_file()}
    assert sorted(faces - pages) == [], "write docs/reference/api/<room>.md: a title and a sentence"
    modules = {name.removeprefix("relay.") for name in MODULES} | {
        f"strategies.{path.stem}" for path in (ROOT / "strategies").glob("*.py")
    }
    assert sorted(pages - modules) == [], "no such room or module"


def test_rooms_are_listed_from_the_ground_up() -> None:
    rooms = dict(NAVIGATION["parts"]((API / "README.md").read_text()))["Rooms"]
    floors = [FLOOR[page] for _, page in rooms]
    assert floors == sorted(floors)


def test_navigation_is_what_the_lists_say() -> None:
    text = "# T\n\n- [A a](a.md): one.\n- [X](https://x.org/x.md)\n\n## More\n\n- [B](../b/B.md)\n- [C](c.md#part)\n"
    assert list(NAVIGATION["parts"](text)) == [("", [("A a", "a")]), ("More", [("B", "../b/B")])]
    assert NAVIGATION["toctrees"](text) == (
        "\n```{toctree}\n:hidden:\nA a <a>\n```\n\n```{toctree}\n:hidden:\n:caption: More\nB <../b/B>\n```\n"
    )


def test_links_to_folders_lead_to_their_page_or_are_text(tmp_path: Path) -> None:
    (tmp_path / "with").mkdir()
    (tmp_path / "with/README.md").touch()
    (tmp_path / "without").mkdir()
    text = "[a](with) [b](with/) [c](without) [d](page.md) [e](https://example.org)"
    told = NAVIGATION["without_folders"](text, tmp_path)
    assert told == "[a](with/README.md) [b](with/README.md) c [d](page.md) [e](https://example.org)"


class Page(HTMLParser):
    """What a page loads, where its links lead, and the ids that links may lead to."""

    LOADS = ("script", "img", "source", "iframe", "embed", "object", "audio", "video", "input")

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        had = {name: value or "" for name, value in attrs}
        self.ids |= {had[name] for name in ("id", "name") if name in had}
        self.loads += re.findall(r"url\(['\"]?([^'\")]+)", had.get("style", ""))
        if tag in self.LOADS:
            self.loads += [had[name] for name in ("src", "data", "poster") if name in had]
            self.loads += [source.split()[0] for source in had.get("srcset", "").split(",") if source.strip()]
        elif tag == "link":
            self.loads.append(had["href"])
        elif tag == "a" and "href" in had:
            self.links.append(had["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` builds it, with sockets blocked."""
    pytest.importorskip("sphinx", reason="needs the extra docs: make docs installs it")
    folder = tmp_path_factory.mktemp("site")
    code = "import sys, pytest_socket as s; s.disable_socket(); from sphinx.cmd.build import main; sys.exit(main())"
    options = ["-q", "-W", "--keep-going", "-c", "docs", "-d", str(folder / "doctrees"), ".", str(folder / "html")]
    done = subprocess.run([sys.executable, "-c", code, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.mark.slow
def test_site_needs_no_other_host_and_its_links_lead_somewhere(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert {site / f"{docname(page)}.html" for page in listed()} <= set(pages)
    wrong = []
    for path, page in pages.items():
        wrong += [f"{path.name} loads {url}" for url in page.loads if urlsplit(url).netloc]
        for url in [*page.loads, *page.links]:
            parts = urlsplit(url)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if parts.scheme or parts.netloc:
                continue
            if not target.is_file():
                wrong.append(f"{path.name}: {url} is absent")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                wrong.append(f"{path.name}: {url} leads to no place on the page")
    for style in site.rglob("*.css"):
        urls = re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)", style.read_text())
        wrong += [f"{style.name} loads {url}" for url in urls]
    assert not wrong


@pytest.mark.slow
def test_site_says_what_the_docstrings_say(site: Path) -> None:
    trust = (site / "docs/reference/api/trust.html").read_text()
    words = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", trust)))
    assert str(Policy.__doc__).splitlines()[0] in words
    assert "sealed (bool) –" in words
    assert "created (str) –" in words, "an entry for two attributes is one for each"
    assert str(Signed.unverified.__doc__) in words, "a colon in what a property says is no type"
    of_usual = re.search(r'^USUAL = .*\n"""(.+)"""', (ROOT / "relay/trust/policy.py").read_text(), re.MULTILINE)
    assert of_usual is not None
    assert of_usual[1] in words
    assert 'id="relay.trust.Policy"' in trust
    assert "relay.trust.policy.Policy" not in words, "a name inside the room is none of its public ones"
