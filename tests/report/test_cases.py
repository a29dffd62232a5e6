"""Which images are shown, and what is left of them."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path

from hypothesis import given, strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from relay.report.cases import choose, read_cases
from relay.report.gather import read_run
from tests.report import made


@given(st.dictionaries(st.text("abc", min_size=1), st.floats(0, 1), min_size=1))
def test_best_and_worst_are_the_ends_and_none_is_shown_twice(values: dict[str, float]) -> None:
    chosen = choose(values)
    assert values[chosen["best"]] == max(values.values())
    assert len(set(chosen.values())) == len(chosen) == min(len(values), 3)
    if "worst" in chosen:
        assert values[chosen["worst"]] == min(values.values())
    if "median" in chosen:
        assert values[chosen["worst"]] <= values[chosen["median"]] <= values[chosen["best"]]


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
