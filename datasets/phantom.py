"""Synthesise the back of an eye: an optic disc with its cup, vessels, and the camera that images them.

Lengths are fractions of half the image's side: the image is the square from (-1, -1) to (1, 1).
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from relay.config import Field, options
from relay.data import Pixels

Real: TypeAlias = NDArray[np.float64]
Level = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Level, Level, Level]
Positive = Annotated[float, Field(gt=0)]
MemoryState = Annotated[float, Field(gt=0, le=1)]
FINE = 4  # vessels are drawn larger by this factor and averaged, which smooths their edges
STEPS = 20  # points of a vessel
TRUNKS = ((1.7, 0.048), (1.1, 0.036), (-1.5, 0.038), (-0.7, 0.026))  # curvature and width of each


@options
class Camera:
    """How a device images an eye.

    Attributes:
        retina: Colour (red, green, blue) of the background.
        rim: Colour of the disc outside the cup.
        cup: Colour of the cup.
        vessel: Colour of the vessels.
        contrast: Factor around mid-grey.
        brightness: Added grey levels.
        blur: Standard deviation of the optics, in pixels.
        noise: Standard deviation of the sensor's noise, in grey levels.
        resolution: True sensor resolution, as a share of the pixels along a side.
        vignette: How much darker the corners are.
        disc: Mean radius of the disc.
        cup_to_disc: Mean ratio of the cup's radius to the disc's.
    """

    retina: Colour = (196, 84, 34)
    rim: Colour = (238, 168, 88)
    cup: Colour = (252, 226, 164)
    vessel: Colour = (120, 28, 18)
    contrast: Positive = 1.0
    brightness: Annotated[float, Field(ge=-128, le=128)] = 0.0
    blur: Annotated[float, Field(ge=0, le=8)] = 0.4
    noise: Annotated[float, Field(ge=0, le=64)] = 4.0
    resolution: MemoryState = 1.0
    vignette: Annotated[float, Field(ge=0, le=1)] = 0.25
    disc: Annotated[float, Field(gt=0.1, lt=0.8)] = 0.42
    cup_to_disc: Annotated[float, Field(gt=0.1, lt=0.9)] = 0.5


CAMERAS = {
    # a modern fundus camera
    "clinic_a": Camera(),
    # an old one: greenish, dim and flat
    "clinic_b": Camera(
        retina=(92, 104, 44), rim=(128, 140, 74), cup=(164, 176, 112), vessel=(54, 52, 26),
        contrast=0.8, brightness=-30, blur=0.8, noise=7.0, vignette=0.5, disc=0.34, cup_to_disc=0.42,
    ),
    # a hand-held one: overexposed, blurred, low resolution
    "clinic_c": Camera(
        retina=(222, 150, 142), rim=(240, 196, 190), cup=(252, 236, 232), vessel=(186, 92, 96),
        brightness=12, blur=0.6, noise=9.0, resolution=0.6, vignette=0.1, disc=0.5, cup_to_disc=0.58,
    ),
    # a scanning laser: its two colours give blue and violet, hard contrast
    "clinic_d": Camera(
        retina=(62, 58, 120), rim=(112, 118, 176), cup=(150, 178, 214), vessel=(24, 18, 70),
        contrast=1.25, blur=0.3, noise=5.0, vignette=0.35, disc=0.4, cup_to_disc=0.5,
    ),
}  # fmt: skip


def photograph(camera: Camera, size: int, patient: Generator, eye: Generator, left: bool) -> tuple[Pixels, Pixels]:
    """An eye imaged by a camera.

    Args:
        camera: The camera.
        size: Pixels along a side.
        patient: Random numbers for what both eyes share: the sizes of disc and cup.
        eye: Random numbers for the rest.
        left: Mirror the anatomy of a right eye.

    Returns:
        uint8 image ``(size, size, 3)`` and mask ``(size, size)``: 0 background, 1 disc rim, 2 cup.
    """
    radius = camera.disc * np.exp(patient.normal(0, 0.1))
    ratio = float(np.clip(camera.cup_to_disc + patient.normal(0, 0.08), 0.2, 0.85))
    y, x = (np.mgrid[:size, :size] + 0.5) * (2 / size) - 1
    middle = eye.normal(0, 0.1, 2)
    disc = _inside(x - middle[0], y - middle[1], radius, 1.08, eye)
    shift = eye.normal(0, 0.06, 2) * radius
    centre = middle + shift
    cup = np.minimum(_inside(x - centre[0], y - centre[1], radius * ratio, 1.0, eye), disc)
    mask = (disc > 0).astype(np.uint8) + (cup > 0).astype(np.uint8)
    scene = _scene(camera, size, disc, cup, _vessels(size, middle, eye), eye)
    image = _expose(camera, scene, np.hypot(x, y), eye)
    return (image[:, ::-1], mask[:, ::-1]) if left else (image, mask)


def _inside(dx: Real, dy: Real, radius: float, tall: float, rng: Generator) -> Real:
    """How far each pixel lies within a slightly uneven ellipse: positive inside, 0 on its edge."""
    angle = np.arctan2(dy, dx)
    uneven = sum(rng.normal(0, 0.03 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4))
    inside: Real = radius * (1 + uneven) - np.hypot(dx, dy / tall)
    return inside


def _scene(camera: Camera, size: int, disc: Real, cup: Real, vessels: Real, rng: Generator) -> Real:
    """The colours that reach the camera, ``(size, size, 3)``."""
    mottled = 1 + 0.10 * _clouds(size, 5, rng) + 0.05 * _clouds(size, 14, rng)
    colours = np.asarray(camera.retina, float) * mottled[..., None]
    layers = (
        (camera.rim, _soft(disc, 0.035) * (1 + 0.06 * _clouds(size, 7, rng))),
        (camera.cup, 0.9 * _soft(cup, 0.05)),
        (camera.vessel, vessels * (1 - 0.45 * _soft(cup, 0.05))),
    )
    for colour, amount in layers:
        colours += (np.asarray(colour, float) - colours) * np.clip(amount, 0, 1)[..., None]
    return colours


def _soft(inside: Real, width: float) -> Real:
    soft: Real = 1 / (1 + np.exp(np.clip(-inside / (width / 2), -40, 40)))
    return soft


def _clouds(size: int, grains: int, rng: Generator) -> Real:
    """Smooth noise of unit variance with about ``grains`` spots along a side."""
    coarse = Image.fromarray(rng.normal(size=(grains, grains)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), float)


def _vessels(size: int, middle: Real, rng: Generator) -> Real:
    """The share of each pixel that is vessel, 0 to 1: trunks up and down from the disc, with branches."""
    up = np.repeat([-1.0, 1.0], len(TRUNKS))
    bend, width = np.tile(TRUNKS, (2, 1)).T
    many = len(up)
    heading = up * np.pi / 2 + rng.normal(0, 0.25, many)
    trunks = _paths(
        middle + rng.normal(0, 0.035, (many, 2)), heading, -up * bend * rng.uniform(0.5, 1.1, many), 2.2, rng
    )
    parent = np.repeat(np.arange(many), 3)
    aside = rng.choice((-1.0, 1.0), len(parent)) * rng.uniform(0.5, 1.1, len(parent))
    forks = trunks[parent, rng.integers(6, STEPS - 4, len(parent))]
    branches = _paths(forks, heading[parent] + aside, rng.normal(0, 0.5, len(parent)), 1.0, rng)
    canvas = Image.new("L", (size * FINE, size * FINE))
    pen = ImageDraw.Draw(canvas)
    for paths, widths in ((branches, width[parent] / 2), (trunks, width)):
        for path, wide in zip((paths + 1) * (size * FINE / 2), widths * (size * FINE / 2), strict=True):
            _stroke(pen, path.tolist(), wide)
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX), float) * (0.8 / 255)


def _paths(starts: Real, headings: Real, bends: Real, length: float, rng: Generator) -> Real:
    """Points ``(N, STEPS, 2)`` of lines that turn by ``bends`` radians in total, with random deviations."""
    wander = np.cumsum(rng.normal(0, 0.09, (len(starts), STEPS)), axis=1)
    turns = headings[:, None] + bends[:, None] * np.linspace(0, 1, STEPS) + wander
    moves = np.stack([np.cos(turns), np.sin(turns)], axis=-1) * (length / STEPS)
    paths: Real = starts[:, None] + np.cumsum(moves, axis=1)
    return paths


def _stroke(pen: ImageDraw.ImageDraw, path: list[list[float]], width: float) -> None:
    """Draw a line that thins towards its end, in three pieces."""
    for piece, part in enumerate((1.0, 0.8, 0.6)):
        points = path[piece * STEPS // 3 : (piece + 1) * STEPS // 3 + 1]
        pen.line([(x, y) for x, y in points], fill=255, width=max(1, round(width * part)), joint="curve")


def _expose(camera: Camera, scene: Real, distance: Real, rng: Generator) -> Pixels:
    """Light, optics and sensor."""
    size = len(scene)
    tilt = 1 + 0.08 * _clouds(size, 2, rng)
    lit = scene * (tilt * (1 - camera.vignette * np.clip(distance, 0, 1.4) ** 2 / 2))[..., None]
    lit = (lit - 128) * camera.contrast + 128 + camera.brightness
    picture = Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
    picture = picture.filter(ImageFilter.GaussianBlur(camera.blur))
    if camera.resolution < 1:
        sensor = max(4, round(size * camera.resolution))
        picture = picture.resize((sensor, sensor)).resize((size, size), Image.Resampling.BILINEAR)
    noisy = np.asarray(picture, float) + rng.normal(0, 1, (size, size, 1)) * camera.noise
    image: Pixels = np.clip(noisy, 0, 255).astype(np.uint8)
    return image
