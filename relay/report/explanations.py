"""The heat maps that ``relay explain`` drew of this run's legs, each beside that of the untrained net."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from relay.bundle import measure
from relay.errors import UserError
from relay.numbers import number as shown
from relay.report.gather import Run
from relay.report.sections import Section
from relay.report.shapes import Maps, read_json
from relay.report.tiles import MapsOfRun, Tile, address

MAPS = "maps.json"
"""In the folder of an image, beside its maps."""
AGAIN = "Remove the folder that it is in, and run relay explain again."
CHANGED = "The maps of {} are of other weights than the run has now, and are left out: run relay explain again."
SAID = (
    "In each row: the image; the map of the model on it; that of the same net with random weights. A map shows what an "
    "answer depends on, not whether it is right. Where the two maps are alike, it shows the image more than what the "
    "model has learned."
)


def read_maps(root: Path) -> MapsOfRun:
    """The maps in a run's folder, without names of images.

    Raises:
        UserError: a file is damaged, or a map is missing.
    """
    found = MapsOfRun({}, [])
    digests: dict[str, str] = {}
    for image, path in enumerate(sorted(root.glob(f"explained/*/*/{MAPS}")), 1):
        maps = Maps.model_validate(read_json(path, Maps, AGAIN))
        weights = root / maps.source
        if maps.source not in digests:
            digests[maps.source] = measure(weights).sha256 if weights.is_file() else ""
        if digests[maps.source] != maps.sha256:
            found.changed.append(maps.model)
        else:
            found.tiles.setdefault(maps.model, []).extend(_tiles(path.parent, maps, image))
    return found


def _tiles(folder: Path, maps: Maps, image: int) -> Iterator[Tile]:
    from PIL import Image

    for method, likeness in maps.likeness.items():
        path = folder / f"{method}.png"
        try:
            with Image.open(path) as opened:
                picture = address(opened)
        except OSError as error:
            raise UserError(f"the map {path} can't be read: {error.strerror or error}", AGAIN) from error
        part = f" {maps.part}." if maps.part else ""
        said = (
            f"Image {image}, {method}. {maps.model} finds {maps.said}; explained: {maps.output}.{part} Likeness to the "
            f"untrained net's map: {shown(likeness, 2)}."
        )
        yield Tile(picture, f"{method} of image {image}: the image, the model's map, the untrained net's map", said)


def explanations(run: Run) -> Section | None:
    """The maps, if images of patients were asked for."""
    if run.maps is None or not run.maps.any:
        return None
    tiles = [tile for of_model in run.maps.tiles.values() for tile in of_model]
    alerts = [CHANGED.format(model) for model in dict.fromkeys(run.maps.changed)]
    return Section("explanations", "What the answers depend on", [SAID] if tiles else [], tiles=tiles, alerts=alerts)
