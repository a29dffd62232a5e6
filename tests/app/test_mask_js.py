"""What the editor's tools do to a mask: the script's functions, run in the browser, against scipy and by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage

import relay.app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.enable_socket
STATIC = Path(relay.app.__file__).parent / "static"
Run = Callable[..., Any]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def run(chromium: Browser) -> Iterator[Run]:
    """``run(script, name=array)``: the value of a script that sees ``m``, what the modules export, and its arguments;
    arrays are slices, or volumes if they have three axes."""
    page: Page = chromium.new_page()
    page.route("**/*", lambda route: route.fulfill(body="<title>tests</title>", content_type="text/html"))
    for name in ("mask.js", "volume.js", "legend.js"):
        text = (STATIC / name).read_text()
        page.route(f"**/{name}", lambda route, _, text=text: route.fulfill(body=text, content_type="text/javascript"))
    page.goto("http://tests.invalid/")

    def script(text: str, **arguments: Any) -> Any:
        plain = {
            name: {"shape": value.shape, "data": value.ravel().tolist()} if isinstance(value, np.ndarray) else value
            for name, value in arguments.items()
        }
        return page.evaluate(
            """async ([text, given]) => {
              const names = ["mask", "volume", "legend"];
              const m = Object.assign({}, ...(await Promise.all(names.map((name) => import(`/${name}.js`)))));
              const made = ({ shape, data }) => shape.length === 3 ? new m.Volume(Uint8Array.from(data), shape)
                : { data: Uint8Array.from(data), width: shape[1], height: shape[0] };
              const values = Object.values(given).map((value) => value && value.shape ? made(value) : value);
              const found = new Function("m", ...Object.keys(given), text)(m, ...values);
              return ArrayBuffer.isView(found) ? Array.from(found) : found;
            }""",
            [text, plain],
        )

    yield script
    page.close()


def blank(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint8)


def test_a_stroke_covers_what_is_near_its_line(run: Run) -> None:
    found = np.reshape(run("m.stroke(s, [3, 4], [14, 9], 2.5, 2); return s.data", s=blank(12, 16)), (12, 16))
    y, x = np.mgrid[:12, :16]
    along = np.clip(((x - 3) * 11 + (y - 4) * 5) / 146, 0, 1)
    near = (x - 3 - along * 11) ** 2 + (y - 4 - along * 5) ** 2 <= 2.5**2
    assert np.array_equal(found == 2, near)
    assert set(np.unique(found)) == {0, 2}


def test_a_stroke_may_begin_and_end_outside(run: Run) -> None:
    found = np.reshape(run("m.stroke(s, [-5, 2], [20, 2], 0.5, 1); return s.data", s=blank(5, 8)), (5, 8))
    assert found.sum() == 8
    assert found[2].all()


def test_a_polygon_has_the_voxels_whose_centres_are_inside(run: Run) -> None:
    from matplotlib.path import Path as Outline

    corners = [[1.3, 1.2], [12.6, 3.1], [7.2, 6.4], [13.1, 10.7], [2.2, 9.6]]  # not convex
    found = np.reshape(run("m.polygon(s, p, 3); return s.data", s=blank(12, 16), p=corners), (12, 16))
    y, x = np.mgrid[:12, :16]
    inside = Outline([*corners, corners[0]], closed=True).contains_points(np.stack([x.ravel(), y.ravel()], 1))
    assert np.array_equal(found == 3, inside.reshape(12, 16))


def test_fill_changes_one_connected_region(run: Run) -> None:
    mask = (RNG.random((20, 30)) > 0.45).astype(np.uint8)
    y, x = np.argwhere(mask == 1)[40]
    found = np.reshape(run("m.fill(s, [x, y], 2); return s.data", s=mask, x=int(x), y=int(y)), mask.shape)
    parts, _ = ndimage.label(mask == 1)
    assert np.array_equal(found, np.where(parts == parts[y, x], 2, mask))


def test_smoothing_is_a_vote_of_the_neighbourhood(run: Run) -> None:
    mask = RNG.integers(0, 2, (15, 17)).astype(np.uint8)
    found = np.reshape(run("m.smooth(s, 1); return s.data", s=mask), mask.shape)
    assert np.array_equal(found, ndimage.median_filter(mask, 3, mode="nearest"))
    alone = blank(5, 5)
    alone[:] = 2
    alone[2, 2] = 1
    assert set(run("m.smooth(s, 1); return s.data", s=alone)) == {2}  # not background


def test_distances_are_those_of_scipy(run: Run) -> None:
    mask = (RNG.random((23, 31)) > 0.95).astype(np.uint8)
    found = np.reshape(run("return m.distances(s.data, s.width, s.height)", s=mask), mask.shape)
    assert found == pytest.approx(ndimage.distance_transform_edt(mask == 0), abs=1e-9)
    assert set(run("return m.distances(s.data, 3, 2)", s=blank(2, 3))) == {1e6}


@pytest.mark.parametrize("column", [20, 27])
def test_interpolation_mixes_the_distances_to_two_edges(column: int, run: Run) -> None:
    volume = blank(7, 41, 41)
    y, x = np.mgrid[:41, :41]
    for k, radius, at in ((1, 4, 20), (5, 12, column)):
        volume[k][(x - at) ** 2 + (y - 20) ** 2 <= radius**2] = 2
    volume[3, 0, 0] = 1
    script = "const c = m.interpolate(v, 0, 1, 2); return [Array.from(v.data), c.map((one) => one.k)]"
    data, slices = run(script, v=volume)
    found = np.reshape(data, volume.shape)
    assert slices == [2, 3, 4]
    near, far = (_signed(volume[k] == 2) for k in (1, 5))
    for k in slices:
        mixed = ((5 - k) * near + (k - 1) * far) / 4
        assert np.array_equal((found[k] == 2)[abs(mixed) > 1e-9], (mixed < 0)[abs(mixed) > 1e-9])
    if column == 20:  # a disc grows evenly
        assert [(found[k] == 2).sum() for k in slices] == pytest.approx(np.pi * np.array([6, 8, 10]) ** 2, rel=0.12)
    assert found[3, 0, 0] == 1  # other classes stay
    assert np.array_equal(found[[0, 1, 5, 6]], volume[[0, 1, 5, 6]])


def _signed(inside: np.ndarray) -> Any:
    return ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)


@pytest.mark.parametrize("volume", [blank(3, 4, 4), np.ones((3, 4, 4), np.uint8)], ids=["nowhere", "everywhere"])
def test_there_may_be_nothing_to_interpolate(run: Run, volume: np.ndarray) -> None:
    assert run("return m.interpolate(v, 0, 1, 1)", v=volume) == []


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_is_put_back_where_it_was(run: Run, axis: int) -> None:
    volume = RNG.integers(0, 9, (3, 4, 5)).astype(np.uint8)
    width, height, many, slices = run(
        "return [...v.size(a), [...Array(v.size(a)[2]).keys()].map((k) => Array.from(v.slice(a, k).data))]",
        v=volume,
        a=axis,
    )
    upright = volume if axis == 0 else np.flip(volume, 0)  # the head is up
    expected = np.moveaxis(upright, axis, 0)
    assert (many, height, width) == expected.shape
    assert np.array_equal(np.reshape(slices, expected.shape), expected)
    script = "for (let k = 0; k < v.size(a)[2]; k++) w.put(a, k, v.slice(a, k)); return w.data"
    assert np.array_equal(np.reshape(run(script, v=volume, w=blank(3, 4, 5), a=axis), volume.shape), volume)


def test_undo_and_redo(run: Run) -> None:
    script = """
      const history = new m.History(v, 2);
      const draw = (value) => { const s = v.slice(0, 0); s.data[value] = value; return history.add([v.put(0, 0, s)]); };
      const seen = [draw(1), draw(2), draw(3), draw(3)].concat(Array.from(v.data));
      for (const what of ["undo", "undo", "undo", "redo"]) seen.push(Boolean(history[what]()), ...v.data);
      v.data.fill(0);
      seen.push(draw(1), Boolean(history.redo()));
      return JSON.stringify(seen);
    """
    found = json.loads(run(script, v=blank(1, 1, 4)))
    assert found[:4] == [True, True, True, False]  # what changes nothing is no step
    assert found[4:8] == [0, 1, 2, 3]
    assert found[8:23] == [True, 0, 1, 2, 0, True, 0, 1, 0, 0, False, 0, 1, 0, 0]  # two steps are kept
    assert found[23:28] == [True, 0, 1, 2, 0]
    assert found[28:] == [True, False]  # after something new, nothing is left to redo


@pytest.mark.parametrize(
    ("masks", "models", "said"),
    [
        (["truth", "task_1"], ["task_1"], "Thick lines: the truth. Thin lines and colour: the model."),
        (["truth", "task_1"], ["task_1", ""], "In the picture without a model, colour is the truth."),
        (["truth"], [""], "Lines and colour: the truth."),
        (["prediction"], ["prediction"], "Lines and colour: the model."),
    ],
)
def test_the_viewer_says_what_lines_stand_for(run: Run, masks: list[str], models: list[str], said: str) -> None:
    script = """
      document.body.innerHTML = '<p id="lines"></p><ul class="legend"></ul>';
      const colours = { truth: "#000000", others: ["#111111", "#222222"] };
      const labels = { task_1: "leg 1", prediction: "prediction" };
      const about = { masks, labels, colours, classes: ["background", "lung"], palette: [] };
      m.legend(document, about, models.map((model) => ({ model })));
      return document.body.textContent;"""
    text = run(script, masks=masks, models=models)
    assert said in text
    assert ("leg 1" in text) is ("task_1" in models)
