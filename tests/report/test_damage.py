"""Results that are damaged, cut or stale: one clear error, or a sentence; never other numbers than those of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay.errors import UserError
from relay.report import write_report
from relay.report.gather import read_run
from relay.results import read_rows, write_rows
from tests.report import made
from tests.report.reading import read
from tests.report.test_page import check_schema, titles

CELL = {"checkpoint": "task_1", "leg": 1, "site": "north"}
JSONS: dict[str, list[Any]] = {
    "results/summary.json": [
        [],
        {},
        {"matrix": [1]},
        {"final": None},
        {"relay": [1]},
        {"matrix": {"x": {"a": 1}}},
        {"matrix": {"1": {"a": "x"}}},
        {"mean": 1e300},
        {"relay": {"worst": []}},
        {"study": 3},
    ],
    "results/evaluation.json": [
        {"rows": [{}]},
        {"rows": None},
        {"tolerance": "x"},
        {"unit": "mm"},
        {"calibration": [CELL | {"bins": [{}]}]},
    ],
    "checkpoints/task_1/leg.json": [{"config": 3}, [1], {"versions": []}, {"seconds": "x"}],
    "checkpoints/task_3/routing.json": [[1], {"north": 3}, {"north": {"south": -1}}, {"north": {"south": "x"}}],
    "compare.json": [{"runs": None}, {"table": [{}]}, {"tests": [3]}, {"planned": "x"}],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and a comparison in a folder beside it."""
    root = made.run(tmp_path_factory.mktemp("whole"))
    made.comparison(root / "compared")
    return root


def spoiled(whole: Path, name: str, data: bytes) -> str:
    """What is said once a file is damaged."""
    path = whole / ("compared/" if name == "compare.json" else "") / name
    kept = path.read_bytes() if path.is_file() else None
    path.write_bytes(data)
    try:
        with pytest.raises(UserError) as caught:
            write_report(path.parent if name == "compare.json" else whole)
    finally:
        path.write_bytes(kept) if kept is not None else path.unlink()
    said = str(caught.value)
    assert path.name in said
    assert caught.value.advice()
    assert len(said) < 300 + len(str(path))
    assert said.isprintable()
    return said


@pytest.mark.parametrize(("name", "change"), [(name, change) for name, all_ in JSONS.items() for change in all_])
def test_json_of_another_shape_is_named(whole: Path, name: str, change: Any) -> None:
    path = whole / ("compared/" if name == "compare.json" else "") / name
    content = json.loads(path.read_text()) | change if change and isinstance(change, dict) else change
    assert "is damaged" in spoiled(whole, name, json.dumps(content).encode())


@pytest.mark.parametrize("name", [*JSONS, "config.given.yaml", "config.resolved.yaml", "results/samples.csv"])
@pytest.mark.parametrize("data", [b"\xff\xfe\x00" * 1000, b"{" * 3_000, b'a: ["'])
def test_what_is_not_of_its_kind_is_named(whole: Path, name: str, data: bytes) -> None:
    assert "is damaged" in spoiled(whole, name, data)


def table_of(whole: Path, name: str) -> bytes:
    return (whole / "results" / name).read_bytes()


@pytest.mark.parametrize("name", ["scores.csv", "samples.csv"])
def test_a_cut_or_empty_table_is_named(whole: Path, name: str) -> None:
    data = table_of(whole, name)
    lines = data.splitlines(keepends=True)
    huge = lines[0] + b'"' + b"x" * 200_000
    cut = b"".join(lines[:6])  # in the middle of a sample
    for broken in (b"", lines[0], data[:3000], data[:-1], cut, huge, lines[0] + b"a,b\n"):
        assert "is damaged" in spoiled(whole, f"results/{name}", broken)


def test_scores_of_which_whole_samples_are_cut_are_named(whole: Path) -> None:
    lines = table_of(whole, "scores.csv").splitlines(keepends=True)
    assert "summary.json" in spoiled(whole, "results/scores.csv", b"".join(lines[: -3 * len(made.CLASSES)]))


@pytest.mark.usefixtures("page_alone")
@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (lambda row: row["leg"] < 3, "Measured before leg 3 was trained; run predict_test.py again."),
        (lambda row: row["site"] != "south", "Measured at other sites, or with other legs, than the scores here"),
    ],
)
def test_what_was_measured_of_other_cells_is_not_shown(tmp_path: Path, keep: Any, said: str) -> None:
    root = made.run(tmp_path)
    whole = read_run(root)
    path = root / "results" / "samples.csv"
    write_rows(path, [row for row in read_rows(path) if keep(row)])
    path = root / "results" / "evaluation.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"rows": [row for row in content["rows"] if keep(row)]}))
    html = write_report(root).read_text()
    check_schema(html)
    page = read(html)
    sections = {section.attrs["id"]: section.text for section in page.all("section")}
    assert said in sections["scores"]
    assert said in sections["calibration"]
    assert titles(page)[:2] == ["Dice after each leg, at each site", "Dice of single images"]
    assert "Calibration" not in titles(page)
    assert "mean over images" not in page.text
    assert read_run(root).scores == whole.scores
    made.overlays(root, leg=3)
    with pytest.raises(UserError, match="are not from these models"):
        write_report(root, cases=True)


@pytest.mark.usefixtures("page_alone")
def test_what_was_measured_of_other_models_is_not_shown(tmp_path: Path) -> None:
    root = made.run(tmp_path)
    path = root / "results" / "samples.csv"
    write_rows(path, [row | {"value": row["value"] * 0.9} for row in read_rows(path)])
    assert "Measured with other models than those of the scores here" in write_report(root).read_text()
