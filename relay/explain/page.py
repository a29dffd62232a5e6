"""What was explained, as files: overlays, maps of volumes, and a page that shows them side by side."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from relay.bundle import measure
from relay.explain.explaining import Explained, Heat
from relay.explain.picture import sheet
from relay.explain.sanity import ALIKE
from relay.files import write_bytes, write_text
from relay.numbers import MISSING
from relay.predict import save_volume
from relay.report import MAPS, Maps, Section, Table, Tile, address, render

LONGEST = 50
"""How many characters of an image's name its folder's name keeps."""
COLOURS_MEAN = (
    "where the image shows unchanged, the answer hardly depends on it; yellow: it depends on it most. Each map has its "
    "own scale, so that one map's yellow is not another's. Of masks, the blue outline is what the model finds; a green "
    "frame is the window that was explained"
)
WORDS = (
    ("Colours", COLOURS_MEAN),
    ("Model, untrained", "the map of the model, and that of the same net with random weights"),
    ("Likeness", "rank correlation of the two maps: near 0, the map depends on what was learned"),
    ("grad_cam, grad_cam++", "where a deep layer is active for the answer; coarse, as that layer is"),
    ("guided_backpropagation", "fine structures that the net reacts to; often much alike for every class"),
    ("guided_grad_cam", "the product of the two"),
    (
        "integrated_gradients",
        "each voxel's share of the difference to a dark image; of coloured images, of all channels",
    ),
    ("occlusion", "by how much the score falls when a patch takes the image's mean"),
)


def write_page(found: Sequence[Explained], model: str, folder: Path, source: Path | None = None) -> Iterator[Path]:
    """Write overlays, maps of volumes and the page into a folder; yields the path of each file, the page's last.

    Args:
        model: what was explained, in words.
        source: the file of its weights, if they are in the run that the folder is part of: the run's report then shows
            the maps.
    """
    sheets = [Section("how-to-read", "How to read the maps", words=WORDS)]
    for number, one in enumerate(found):
        told = sha256(str(one.path.resolve()).encode(errors="surrogateescape")).hexdigest()[:8]
        place = folder / f"{one.path.name[:LONGEST]}-{told}"
        tiles = []
        for heat in one.heats:
            yield from _save(one, heat, place)
            tiles.append(_tile(one, heat))
        if source is not None:
            write_text(place / MAPS, _told(one, model, folder.parents[1], source).model_dump_json(indent=1))
        sheets.append(_sheet(number, one, tiles))
    many = "1 image" if len(found) == 1 else f"{len(found)} images"
    page = render(
        Path(__file__).with_name("explained.html"),
        title="Explanations",
        sentence=f"{many}, explained for {model}.",
        sections=[*sheets[1:], sheets[0]],
        cases=True,
        alerts=[doubt for one in found for doubt in doubts(one)],
    )
    path = folder / "explanations.html"
    write_text(path, page)
    yield path


def doubts(one: Explained) -> list[str]:
    """Which of an image's maps say little about the model."""
    said = []
    for heat in one.heats:
        if heat.likeness is None:
            flat = "the model's map is empty" if not heat.map.any() else "the untrained net's map is empty"
            said.append(f"{one.path.name}, {heat.method}: {flat}, so there is nothing to compare.")
        elif heat.likeness > ALIKE:
            said.append(
                f"{one.path.name}, {heat.method}: the map of an untrained net is much alike ({heat.likeness:.2f}): it "
                "shows the image more than what the model has learned."
            )
    return said


def _sheet(number: int, one: Explained, tiles: Sequence[Tile]) -> Section:
    part = f" Explained: {one.part}." if one.part else ""
    rows = [[heat.method, MISSING if heat.likeness is None else f"{heat.likeness:.2f}"] for heat in one.heats]
    return Section(
        f"image-{number + 1}",
        one.path.name,
        [f"The model finds {one.said}. The maps are of {one.output}.{part}"],
        tables=[Table("Likeness to the map of an untrained net", ["method", "likeness"], rows)],
        tiles=tiles,
    )


def _told(one: Explained, model: str, root: Path, source: Path) -> Maps:
    """What the run's report needs to show the maps."""
    likeness = {heat.method: heat.likeness for heat in one.heats}
    where, sha256 = source.relative_to(root).as_posix(), measure(source).sha256
    return Maps(
        model=model, source=where, sha256=sha256, said=one.said, output=one.output, part=one.part, likeness=likeness
    )


def _save(one: Explained, heat: Heat, place: Path) -> Iterator[Path]:
    """The panels as PNG and, of a volume, the map as NIfTI."""
    path = place / f"{heat.method}.png"
    data = io.BytesIO()
    sheet(one, heat).save(data, "PNG")
    write_bytes(path, data.getvalue())
    yield path
    if heat.map.ndim == 3:
        volume = place / f"{heat.method}.nii.gz"
        save_volume(heat.map, one.path, volume)
        yield volume


def _tile(one: Explained, heat: Heat) -> Tile:
    where = "" if one.shown is None else f" Slice {one.shown} is shown, the same for all methods."
    said = f"{heat.method}. From left to right: the image; the model's map on it; the untrained net's.{where}"
    return Tile(address(sheet(one, heat)), f"{heat.method} of {one.path.name}", said)
