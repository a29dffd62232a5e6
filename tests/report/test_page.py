"""The page: all of its parts, nothing from outside, readable by everybody, the same for the same results."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from relay.errors import UserError
from relay.files import write_text
from relay.report import write_report
from relay.results import read_rows, write_rows
from tests.report import made
from tests.report.reading import Node, read

SECTIONS = ["run", "matrix", "relay", "scores", "curves", "calibration", "custody"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything but curves, overlays too, and its report."""
    root = made.run(tmp_path_factory.mktemp("run"))
    made.overlays(root, leg=3)
    write_report(root)
    return root


@pytest.fixture(scope="module")
def html(root: Path) -> str:
    return (root / "results" / "report.html").read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Node:
    return read(html)


def titles(page: Node) -> list[str]:
    """Of all figures."""
    return [figure.all("strong")[0].text.removesuffix(".") for figure in page.all("figure")]


def check_schema(html: str) -> None:
    """What holds of every page: it needs nothing from outside, and can be read with keyboard and screen reader."""
    page = read(html)
    assert not re.findall(r"https?:|//[a-z]|@import|<script|<iframe|<object", html)
    for node in page.all(*{n.tag for n in _every(page)}):
        for key in ("src", "href", "xlink:href", "action", "poster", "srcset"):
            if (link := node.attrs.get(key)) is not None:
                assert link.startswith(("data:", "#")), link
    assert set(re.findall(r"url\((.)", html)) <= {"#"}
    ids = [node.attrs["id"] for node in _every(page) if "id" in node.attrs]
    assert len(ids) == len(set(ids))
    pointed = re.findall(r'(?:href="|url\()#([^")]+)', html)
    pointed += [node.attrs["aria-labelledby"] or "" for node in _every(page) if "aria-labelledby" in node.attrs]
    assert set(pointed) <= set(ids)
    assert page.all("html")[0].attrs["lang"] == "en"
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("nav")) == 1
    (policy,) = [m for m in page.all("meta") if m.attrs.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in (policy.attrs["content"] or "")
    for table in page.all("table"):
        assert table.all("caption")[0].text
        assert all(cell.attrs["scope"] in ("col", "row") for cell in table.all("th"))
        widths = {len(row.all("th", "td")) for row in table.all("tr")}
        assert len(widths) == 1
    for figure in page.all("figure"):
        assert figure.all("figcaption")[0].text
        assert all(n.attrs.get("aria-label") or n.attrs.get("alt") for n in figure.all("img"))
        assert all(n.attrs["aria-label"] for n in figure.all("div") if n.attrs.get("role") == "img")
    for region in [n for n in page.all("div") if n.attrs.get("class") == "scroll"]:
        assert (region.attrs["tabindex"], region.attrs["role"]) == ("0", "region")
        assert region.attrs.get("aria-label") or region.attrs.get("aria-labelledby")


def _every(node: Node) -> list[Node]:
    return [node, *(below for child in node.children for below in _every(child))]


def table(page: Node, caption: str) -> dict[str, dict[str, str]]:
    """Row → column → text, of the table of this caption."""
    (found,) = [t for t in page.all("table") if t.all("caption")[0].text == caption]
    head, *rows = [[cell.text for cell in row.all("th", "td")] for row in found.all("tr")]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def test_the_experts_of_the_test_images_and_the_choice_of_each_site_are_shown(page: Node) -> None:
    routed = table(page, "Test images of each site, by the expert whose site they look most like")
    assert routed["south"] == {"north": "0", "south": "12", "harbour": "0", "unlike": "0"}
    chosen = table(page, "The model that each site adopted for its own patients, and the mean Dice of all candidates")
    assert chosen == {
        "north": {"adopted": "expert", "expert": "0.900", "generalist": "0.800", "vote": "– not measured"}
    }


def test_all_sections_and_figures_are_there(page: Node) -> None:
    assert [section.attrs["id"] for section in page.all("section")] == SECTIONS
    assert titles(page) == [
        "Dice after each leg, at each site",
        "Dice of single images",
        "Calibration",
        "Chain of custody",
    ]
    assert all(figure.all("svg") and figure.all("path") for figure in page.all("figure"))


def test_its_form(html: str) -> None:
    check_schema(html)


def test_figures_lie_beside_it(root: Path) -> None:
    names = {"matrix", "distributions", "calibration", "custody"}
    assert {path.stem for path in (root / "results" / "figures").glob("*.png")} == names
    for name in names:
        with Image.open(root / "results" / "figures" / f"{name}.png") as image:
            assert len(set(image.convert("RGB").resize((200, 200)).get_flattened_data())) > 10
    assert (root / "results" / "figures.pdf").read_bytes().count(b"/Type /Page ") == len(names)


def test_numbers_are_those_of_the_results(root: Path, page: Node) -> None:
    summary = json.loads((root / "results" / "summary.json").read_text())
    cells = table(page, "Mean Dice of the model after each leg, at each site")
    for leg, site in enumerate(made.SITES, 1):
        for column, value in summary["matrix"][str(leg)].items():
            assert cells[f"{leg} · {site}"][column] == f"{value:.3f}"
    assert f"mean Dice of {summary['mean']:.3f} over 3 sites" in page.all("header")[0].text


def test_what_was_not_measured_is_missing_and_never_zero(page: Node) -> None:
    leg, site = made.MISSING
    cell = table(page, "Mean Dice of the model after each leg, at each site")[f"{leg} · {made.SITES[leg - 1]}"][site]
    assert cell == "– not measured"
    assert table(page, "Expected calibration error (0 is best)")["1 · north"][site] == "– not measured"
    assert table(page, "Summary of all legs")["Forward transfer"]["value"] == "– not measured"
    matrix = page.all("figure")[0]
    assert len(matrix.all("pattern")) == 1  # a hatched cell
    assert "8 of 9 cells" in str([n.attrs.get("aria-label") for n in matrix.all("div")])
    assert "0.000" not in [text.text for text in matrix.all("text")]


def test_metrics_have_intervals_and_count_what_is_missing(page: Node) -> None:
    (found,) = [t for t in page.all("table") if "leg 3 · harbour: mean over images" in t.all("caption")[0].text]
    head, *rows = [[cell.text for cell in row.all("th", "td")] for row in found.all("tr")]
    assert head[:3] == ["site", "class", "images"]
    assert "HD95 [mm]" in head
    assert len(rows) == len(made.SITES) * len(made.CLASSES)
    by_class = {row[1]: row for row in rows if row[0] == "north"}
    assert re.fullmatch(r"0\.\d{3} \(0\.\d{3}–0\.\d{3}\)", by_class["cup"][3])
    assert by_class["rim"][3].endswith("missing in 1")
    assert "A class absent from both truth and prediction is missing." in page.text


def test_nobody_is_named_and_no_image_is_shown(html: str, page: Node) -> None:
    assert "secret" not in html
    assert not page.all("img", "image")


def test_the_same_results_give_the_same_bytes(tmp_path: Path, root: Path) -> None:
    first = {p.name: p.read_bytes() for p in (root / "results").rglob("*") if p.suffix in (".html", ".png", ".pdf")}
    other = shutil.copytree(root, tmp_path / "other")
    shutil.rmtree(other / "results" / "figures")
    write_report(other)
    again = {p.name: p.read_bytes() for p in (other / "results").rglob("*") if p.suffix in (".html", ".png", ".pdf")}
    assert first == again
    assert len(first) > 5


@pytest.mark.usefixtures("page_alone")
def test_names_are_shown_as_text(tmp_path: Path) -> None:
    bad = '<script>alert(1)</script>"$x_1$\x1b'
    root = made.run(tmp_path, sites=("_north", bad), classes=("background", "<b>&cup", "_rim"))
    html = write_report(root).read_text()
    check_schema(html)
    page = read(html)
    assert not page.all("script", "b")
    shown = bad.replace("\x1b", "\\x1b")
    assert shown in table(page, "Mean Dice of the model after each leg, at each site")["1 · _north"]
    assert any("$x_1$" in text.text for text in page.all("text"))  # not read as mathematics
    assert "\x1b" not in html


@pytest.mark.usefixtures("page_alone")
def test_a_run_without_tests_of_its_models_says_so(tmp_path: Path) -> None:
    html = write_report(made.run(tmp_path, sites=("north", "south"), evaluated=False)).read_text()
    check_schema(html)
    page = read(html)
    assert "Only Dice was measured so far" in page.text
    assert titles(page)[1] == "Dice of single images"


@pytest.mark.usefixtures("page_alone")
def test_sites_that_were_not_trained_at_are_named_apart(tmp_path: Path) -> None:
    root = made.run(tmp_path)
    path = root / "results" / "summary.json"
    content = json.loads(path.read_text())
    content["final"]["abroad"] = content["matrix"]["3"]["abroad"] = 0.1
    content["relay"]["external"] = {"abroad": 0.1}
    (root / "results" / "scores.csv").unlink()
    for name in ("samples.csv", "evaluation.json"):
        (root / "results" / name).unlink()
    path.write_text(json.dumps(content))
    page = read(write_report(root).read_text())
    said = page.all("header")[0].text
    mean = sum(value for site, value in content["final"].items() if site != "abroad") / 3
    rows = table(page, "Mean Dice of the model after each leg, at each site")
    assert next(row["mean"] for leg, row in rows.items() if leg.startswith("3")) == f"{mean:.3f}"
    assert f"a mean Dice of {mean:.3f} over 3 sites" in said
    assert "At external sites: abroad 0.100." in said
    assert "The lowest is abroad" not in said


@pytest.mark.usefixtures("page_alone")
def test_an_unfinished_run_shows_the_legs_that_were_tested(tmp_path: Path) -> None:
    root = made.run(tmp_path)
    for name in ("summary.json", "scores.csv"):
        (root / "results" / name).unlink()
    write_text(root / "config.resolved.yaml", "".join(f"task_{leg}: {{}}\n" for leg in range(1, 5)))
    html = write_report(root).read_text()
    check_schema(html)
    page = read(html)
    assert "not finished" in page.text
    assert "leg 1 · north, 2 · south, 3 · harbour of 4 legs" in page.text
    again = read(write_report(made.run(tmp_path / "whole")).read_text())
    caption = "Mean Dice of the model after each leg, at each site"
    assert table(page, caption) == table(again, caption)
    assert page.all("h1")[0].text == "made/up"


@pytest.mark.usefixtures("page_alone")
def test_models_apart_are_shown_each_at_its_own_site(tmp_path: Path) -> None:
    root = made.run(tmp_path)
    for leg in range(1, 4):
        path = root / "checkpoints" / f"task_{leg}" / "leg.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"start": None}))
    page = read(write_report(root).read_text())
    (found,) = [t for t in page.all("table") if t.all("caption")[0].text == "Each site's own model: mean over images"]
    rows = [[cell.text for cell in row.all("th", "td")] for row in found.all("tr")][1:]
    content = json.loads((root / "results" / "evaluation.json").read_text())["rows"]
    own = {
        r["site"]: r["mean"] for r in content if (r["trained"], r["class"], r["metric"]) == (r["site"], "cup", "dice")
    }
    assert {row[0]: row[3].split()[0] for row in rows if row[1] == "cup"} == {s: f"{v:.3f}" for s, v in own.items()}


@pytest.mark.usefixtures("page_alone")
def test_percent_stays_with_its_number(html: str) -> None:
    assert "80\u00a0% right" in html
    assert "80 %" not in html


@pytest.mark.usefixtures("page_alone")
def test_a_summary_alone_is_enough(tmp_path: Path) -> None:
    summary = {"study": "s", "strategy": "local", "matrix": {"1": {"a": None}}, "final": {"a": None}, "mean": None}
    write_text(tmp_path / "results" / "summary.json", json.dumps(summary | {"forgetting": None}))
    html = write_report(tmp_path).read_text()
    check_schema(html)
    assert "Nothing could be measured." in html


@pytest.mark.usefixtures("page_alone")
def test_class_without_any_measurement_has_no_box(tmp_path: Path) -> None:
    root = made.run(tmp_path, sites=("north",), evaluated=False)
    path = root / "results" / "scores.csv"
    rows = read_rows(path)
    write_rows(path, [row | {"value": float("nan")} for row in rows])
    summary = root / "results" / "summary.json"
    content = json.loads(summary.read_text())
    summary.write_text(json.dumps(content | {"matrix": {"1": {"north": None}}, "final": {"north": None}}))
    check_schema(write_report(root).read_text())


@pytest.mark.parametrize("name", ["summary.json", "samples.csv", "evaluation.json"])
def test_damaged_results_are_named(tmp_path: Path, name: str) -> None:
    root = made.run(tmp_path)
    (root / "results" / name).write_text("study,leg,metric,sample,site\n1,x,dice,y,z\n")
    with pytest.raises(UserError, match=name):
        write_report(root)


def test_no_results_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"summary\.json.*compare\.json") as caught:
        write_report(tmp_path)
    assert "train.py" in caught.value.advice()


def test_cases_without_overlays_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="overlay") as caught:
        write_report(made.run(tmp_path), cases=True)
    assert "predict_test.py -s" in caught.value.advice()


@pytest.mark.usefixtures("page_alone")
def test_cases_come_with_a_warning(tmp_path: Path) -> None:
    root = made.run(tmp_path)
    made.overlays(root, leg=3)
    html = write_report(root, cases=True).read_text()
    check_schema(html)
    page = read(html)
    assert "must not leave the site" in page.all("header")[0].text
    assert len(page.all("img")) == 3 * len(made.SITES)
    assert "secret" not in html


def test_comparison(tmp_path: Path) -> None:
    path = write_report(made.comparison(tmp_path / "exps" / "demo" / "run"))
    assert path == tmp_path / "exps" / "demo" / "run" / "report.html"
    html = path.read_text()
    check_schema(html)
    page = read(html)
    assert page.all("h1")[0].text == "demo/run"
    assert page.all("section")[-1].text.endswith("Permutation tests on the same patients.")
    rows = table(page, "Strategies side by side")
    assert rows["relay"]["at home (interval)"] == "0.810 (0.790 to 0.830)"
    assert rows["relay"]["to local (worst site)"] == "+0.020 (+0.010 south)"
    assert rows["relay, generalist"]["everywhere"] == "0.810"
    cost = table(page, "Spread, forgetting and cost")
    assert cost["joint"]["gap closed"] == "– not measured"
    assert table(page, "Elsewhere, site by site")["abroad"]["best single"] == "0.600"
    assert table(page, "Paired tests")["relay − sequential"]["p (Holm)"] == "< 0.001"
    site = table(page, "Paired tests, site by site")["relay − sequential"]
    assert (site["site"], site["patients"], site["difference (interval)"]) == ("clinic_a", "9", "-0.020")
    assert table(page, "Every run, at home")["relay 1"]["harbour"] == "– not measured"
    assert {p.stem for p in (path.parent / "figures").glob("*.png")} == {"strategies", "sites"}
    (tests,) = [section for section in page.all("section") if section.attrs["id"] == "tests"]
    assert "The reference is sequential" in tests.text
    assert "not say that other trainings" in tests.text
    assert "it was not tested whether joint differs" in page.all("header")[0].text  # joint is best, and in no test
    assert "seeds alone for local and joint" in page.text
    assert "failed" not in page.all("header")[0].text
    assert "backward transfer" not in cost["relay"]


@pytest.mark.usefixtures("page_alone")
def test_comparison_says_what_is_missing_and_shows_all_it_is_told(tmp_path: Path) -> None:
    path = made.comparison(tmp_path) / "compare.json"
    content = json.loads(path.read_text())
    content |= {"planned": 12, "failed": [{"folder": "a", "message": "b"}], "reference": "joint"}
    content["table"] = [row | {"backward": -0.125, "forward": None, "method": "bca"} for row in content["table"]]
    content["table"][0]["method"] = "percentile"
    content["tests"] = [test | {"b": "joint"} for test in content["tests"]]
    path.write_text(json.dumps(content))
    html = write_report(tmp_path).read_text()
    check_schema(html)
    page = read(html)
    (alert,) = [p for p in page.all("p") if p.attrs.get("role") == "alert"]
    assert alert.text.startswith("3 of 12 runs failed or are not finished")
    rows = table(page, "Spread, forgetting and cost")
    assert rows["relay"]["backward transfer"] == "-0.125"
    assert rows["relay"]["forward transfer"] == "– not measured"
    assert "Intervals: percentile for sequential; bca for relay, joint." in page.text
    assert "The reference is joint" in page.text
    assert "joint differs from relay by more than chance" in page.all("header")[0].text


def test_a_comparison_has_no_cases(tmp_path: Path) -> None:
    made.comparison(tmp_path)
    with pytest.raises(UserError, match="a comparison has no cases; give a run's folder"):
        write_report(tmp_path, cases=True)
    assert [path.name for path in tmp_path.iterdir()] == ["compare.json"]
