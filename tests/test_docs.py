"""Pages that are made from the code are up to date, and links between pages lead somewhere."""

from __future__ import annotations

import itertools
import re
import runpy
from pathlib import Path

import pytest
import typer

from relay.cli.app import app
from relay.trust import refusals

ROOT = Path(__file__).resolve().parents[1]
COMMAND = typer.main.get_command(app)
PAGES = sorted([*ROOT.glob("*.md"), ROOT / "exps/README.md", *(ROOT / "docs").rglob("*.md")])


def test_config_reference_is_what_the_code_checks() -> None:
    made = runpy.run_path(str(ROOT / "docs/reference/make_config.py"))["page"]()
    assert made == (ROOT / "docs/reference/config.md").read_text(), "run: python docs/reference/make_config.py"


def test_figure_is_what_its_script_draws(tmp_path: Path) -> None:
    draw = runpy.run_path(str(ROOT / "docs/figures/way_of_a_leg.py"))["draw"]
    draw().savefig(tmp_path / "now.svg")
    assert (tmp_path / "now.svg").stat().st_size > 10_000
    assert (ROOT / "docs/figures/way_of_a_leg.svg").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not broken


STALE = re.compile(
    r"goes? over (?:the|every|common|what)|goes on where|drawn (?:hospitals|sites)|[Ww]hoever (?:can|has|is|rules)"
    r"|\blies? in\b|where at most|was wanted|\| wanted \||dice\.csv|\bin earnest\b|says? where|what stands"
    r"|hold\w* against|the look of|carry_|solver\b"
)
"""Phrases and names that the pages have given up for plainer ones."""
INNER = [page for page in PAGES if page.parent != ROOT]


def _cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", line))) if line.startswith("|") else 0


@pytest.mark.parametrize("page", INNER, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_are_in_plain_words(page: Path) -> None:
    assert not STALE.findall(re.sub(r"`[^`]*`", "", page.read_text()))


@pytest.mark.parametrize("page", INNER, ids=lambda p: str(p.relative_to(ROOT)))
def test_rows_of_a_table_have_as_many_cells_as_its_head(page: Path) -> None:
    lines = re.sub(r"```.*?```", "", page.read_text(), flags=re.S).splitlines()
    counts = [(_cells(line), _cells(following), following) for line, following in itertools.pairwise(lines)]
    assert not [row for before, cells, row in counts if before and cells and before != cells]


def test_results_are_never_committed_but_the_page_about_them_is() -> None:
    rules = (ROOT / ".gitignore").read_text().splitlines()
    assert rules.index("exps/*") < rules.index("!exps/README.md")


def test_links_to_headings_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for link, heading in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
            target = page.parent / link if link else page
            titles = re.findall(r"^#+ +(.+)$", target.read_text(), re.MULTILINE)
            if heading not in {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}:
                broken.append(f"{page.name}: {link}#{heading}")
    assert not broken


def test_every_refusal_is_explained_and_no_other() -> None:
    rules = {c.__name__ for c in vars(refusals).values() if isinstance(c, type) and issubclass(c, refusals.Refused)}
    page = (ROOT / "docs/how-to/when-refused.md").read_text()
    titles = re.findall(r"^### (.+)$", page, re.MULTILINE)
    assert sorted(titles) == sorted(rules - {"Refused"})


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_on_pages_have_the_options_that_exist(page: Path) -> None:
    wrong = []
    for line in re.findall(
        r"^\s*(relay .+)$", "\n".join(re.findall(r"```bash\n(.*?)```", page.read_text(), re.S)), re.M
    ):
        command, words = COMMAND, line.split(" #")[0].split()[1:]
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
        known = {option for parameter in command.params for option in parameter.opts}
        wrong += [f"{line}: {word}" for word in words if re.match("--?[a-z]", word) and word not in known]
        wrong += [f"{line}: no such command"] if hasattr(command, "commands") else []
    assert not wrong
