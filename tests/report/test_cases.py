"""Which images are shown, and what is left of them."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from relay.bundle import measure
from relay.errors import UserError
from relay.report import MAPS, write_report
from relay.report.cases import choose, read_cases
from relay.report.explanations import explanations
from relay.report.gather import read_run
from tests.report import made
from tests.report.test_page import check_schema


@given(st.dictionaries(st.text("abc", min_size=1), st.floats(0, 1), min_size=1))
def test_best_and_worst_are_the_ends_and_none_is_shown_twice(values: dict[str, float]) -> None:
    chosen = choose(values)
    assert values[chosen["best"]] == max(values.values())
    assert len(set(chosen.values())) == len(chosen) == min(len(values), 3)
    if "worst" in chosen:
        assert values[chosen["worst"]] == min(values.values())
    if "median" in chosen:
        assert values[chosen["worst"]] <= values[chosen["median"]] <= values[chosen["best"]]


def explained(root: Path, image: str, source: str, **changes: Any) -> Path:
    """What ``relay explain`` leaves of an image."""
    folder = root / "explained" / "task_3" / image
    folder.mkdir(parents=True)
    Image.new("RGB", (90, 30), "red").save(folder / "grad_cam.png")
    told = {"model": "task_3 (generalist)", "source": source, "sha256": measure(root / source).sha256, "said": "rim"}
    told |= {"output": "rim", "part": "", "likeness": {"grad_cam": 0.25}}
    (folder / MAPS).write_text(json.dumps(told | changes))
    return folder


@pytest.mark.usefixtures("page_alone")
def test_heat_maps_of_these_weights_are_shown_where_images_may_be(tmp_path: Path) -> None:
    root, source = made.run(tmp_path), "checkpoints/task_3/leg.json"
    made.overlays(root, leg=3)
    explained(root, "secret-a", source)
    explained(root, "secret-b", source, sha256="0" * 64)
    assert explanations(read_run(root)) is None
    html = write_report(root, cases=True).read_text()
    check_schema(html)
    assert "What the answers depend on" in html
    assert "Image 1, grad_cam. task_3 (generalist) finds rim; explained: rim. Likeness" in html
    assert "Image 2" not in html
    assert "are of other weights than the run has now" in html
    assert "secret" not in html


def test_damaged_maps_are_named(tmp_path: Path) -> None:
    root, source = made.run(tmp_path), "checkpoints/task_3/leg.json"
    made.overlays(root, leg=3)
    folder = explained(root, "a", source, likeness={"../../x": 0.1})
    with pytest.raises(UserError, match=r"maps\.json is damaged"):
        write_report(root, cases=True)
    shutil.rmtree(folder)
    (explained(root, "a", source) / "grad_cam.png").unlink()
    with pytest.raises(UserError, match=r"grad_cam\.png can't be read"):
        write_report(root, cases=True)


def test_pictures_are_small_and_carry_pixels_alone(tmp_path: Path) -> None:
    root = made.run(tmp_path)
    made.overlays(root, leg=3)
    for path in (root / "results" / "overlays").rglob("*.png"):
        note = PngInfo()
        note.add_text("PatientName", "secret")
        with Image.open(path) as image:
            image.save(path, pnginfo=note)
    cases = read_cases(read_run(root))
    assert set(cases) == set(made.SITES)
    for case in (case for chosen in cases.values() for case in chosen):
        kind, _, data = case.image.partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.size == (1152, 384)  # of 1200 x 400
            assert "PatientName" not in image.info


def test_where_models_are_apart_each_site_has_its_own(tmp_path: Path) -> None:
    root = made.run(tmp_path)
    for leg, site in enumerate(made.SITES, 1):
        made.overlays(root, leg)
        for other in set(made.SITES) - {site}:  # those of the site's own model alone are there
            shutil.rmtree(root / "results" / "overlays" / f"task_{leg}" / other)
        path = root / "checkpoints" / f"task_{leg}" / "leg.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"start": None}))
    run = read_run(root)
    cases = read_cases(run)
    assert {site: chosen[0].score for site, chosen in cases.items()} == {
        site: max(run.scores.means(leg, site).values()) for leg, site in enumerate(made.SITES, 1)
    }
