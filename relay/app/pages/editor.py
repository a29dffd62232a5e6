"""The editor of one image's mask. The browser gets the image and a mask as plain bytes, and sends a mask back."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from relay.app.guard import csrf_of
from relay.app.place import Place
from relay.app.web import REFUSED, desk_of, form_of, render, text_of
from relay.correct import Target, add, predicted, ranking_in, start_of
from relay.data import Pixels, Record, is_dicom, is_series, read_corrected, read_images
from relay.errors import RelayError, UserError, shown, typed
from relay.palette import PALETTE, css

SOURCES = ("newest", "stored", "prediction")
VERSION, PREDICTION = "version ", "prediction "


def edit(request: Request) -> Response:
    """The editor of one image's mask."""
    given = request.query_params
    place = Place.of(desk_of(request), given)
    sample = place.target.image(str(given.get("image") or ""))
    newest = place.target.store.history(sample.id)
    sources = ["stored"]
    if any(row.image == sample.id for row in (ranking_in(place.root, place.target) or ([],))[0]):
        sources.insert(0, "prediction")
    if newest:
        sources.insert(0, "newest")
    names = place.target.leg.data.names
    colours = [css(PALETTE[(k - 1) % 7 + 1] if k else PALETTE[0]) for k in range(len(names))]
    about = {
        **place.query,
        "image": sample.id,
        "classes": [{"name": name, "colour": colour} for name, colour in zip(names, colours, strict=True)],
        "sources": sources,
    }
    command = typed("relay", "correct", "add", *place.words, sample.id, "MASK", "--by", "NAME")
    values = {"place": place, "sample": sample, "history": newest[::-1], "about": json.dumps(about)}
    values["dicom"] = any(is_series(path) or is_dicom(path) for path in sample.images)
    return render(request, "correct_image.html", split=place.target.splits.get(sample.id), command=command, **values)


def image(request: Request) -> Response:
    """An image's values, of one channel or of three colours, as bytes; its shape and type are in headers."""
    given = request.query_params
    place = Place.of(desk_of(request), given)
    values, spacing = _values(place.target, place.target.image(str(given.get("image") or "")))
    channels = 3 if values.dtype == np.uint8 and values.shape[-1] == 3 else 1
    files = 1 if channels > 1 else values.shape[-1]
    if channels == 1:
        wanted = given.get("channel", "0")
        values = values[..., min(int(wanted), files - 1) if wanted.isdecimal() and len(wanted) < 5 else 0]
    headers = {
        "x-shape": ",".join(map(str, values.shape[: values.ndim - (channels > 1)])),
        "x-spacing": ",".join(map(str, spacing or ())),
        "x-type": values.dtype.name,
        "x-channels": str(channels),
        "x-files": str(files),
    }
    return Response(values.tobytes(), media_type="application/octet-stream", headers=headers)


def _values(target: Target, sample: Record) -> tuple[NDArray[Any], tuple[float, ...] | None]:
    """An image as it was measured, so that it can be windowed: ``(*S, C)`` of a type that browsers know."""
    case = target.stored.original(sample)
    if target.stored.folders():
        whole = read_images(sample.images, eight_bits=False)
        case = whole if whole.image.shape[:-1] == case.image.shape[:-1] else case
    image = case.image
    if image.dtype not in (np.uint8, np.int16, np.uint16, np.float32):
        fits = image.dtype.kind in "iu" and image.size and image.min() >= -(2**15) and image.max() < 2**15
        image = image.astype(np.int16 if fits else np.float32)
    return np.ascontiguousarray(image.astype(image.dtype.newbyteorder("<"))), case.spacing


def mask(request: Request) -> Response:
    """A mask to start from, as bytes of class indices; where it is from is in a header."""
    given = request.query_params
    place = Place.of(desk_of(request), given)
    sample = place.target.image(str(given.get("image") or ""))
    found, source = _start(place, sample, str(given.get("source") or "newest"))
    return Response(found.tobytes(), media_type="application/octet-stream", headers={"x-source": source})


def _start(place: Place, sample: Record, source: str) -> tuple[Pixels, str]:
    """A mask to start from, and what it is called in a correction.

    Args:
        source: one of :data:`SOURCES`; or what one of them was called when the editor got it, for it may be another
            one now: somebody else has saved a version, or the images were predicted anew.

    Raises:
        UserError: there is no such source, or not any more.
        DataError: it is damaged, or missing.
    """
    if source.startswith(VERSION):
        old = next((c for c in place.target.store.history(sample.id) if f"{VERSION}{c.version}" == source), None)
        if old is not None:
            return place.target.store.mask(old, place.target.leg.data.outputs), source
    if source.startswith(PREDICTION):
        found, called = _start(place, sample, "prediction")
        if called != source:
            raise UserError(
                f"{sample.id} was predicted by another model since you opened it",
                "Open the image again in another tab, and look at what it predicts now.",
            )
        return found, called
    if source == "prediction":
        file, model = predicted(place.root, place.target, sample)
        return read_corrected(file, place.target.leg.data.outputs), f"{PREDICTION}{model}"
    if source == "stored":
        return np.ascontiguousarray(place.target.stored.original(sample).target), "stored"
    if source == "newest":
        return start_of(place.target, sample)
    raise UserError(f"there is no mask '{shown(source)}'", f"Choose one of {', '.join(SOURCES)}.")


def save(request: Request) -> Response:
    """Keep a corrected mask as a new version: what relay correct add does."""
    try:
        form = form_of(request)
        place = Place.of(desk_of(request), form)
        sample = place.target.image(text_of(form, "image"))
        before, called = _start(place, sample, text_of(form, "source"))
        drawn = _drawn(form, before.shape)
        made = add(place.target, sample, drawn, text_of(form, "by"), called, before)
    except RelayError as error:
        return JSONResponse({"error": shown(str(error)), "advice": shown(error.advice())}, REFUSED)
    return JSONResponse({"version": made.version, "changed": made.changed, "path": str(place.target.store.path(made))})


def _drawn(form: FormData, shape: tuple[int, ...]) -> Pixels:
    """The mask that was sent: class indices, compressed with gzip.

    Raises:
        UserError: it is not of the image's size.
    """
    sent, size = form.get("mask"), int(np.prod(shape))
    data = sent.file.read(2 * size + 1000) if isinstance(sent, UploadFile) else b""
    try:
        values = zlib.decompressobj(31).decompress(data, size + 1)  # 31: gzip; never more than an image has
    except zlib.error:
        values = b""
    if len(values) != size:
        raise UserError("the mask did not arrive whole", "Save it again. If that does not help, reload the page.")
    return np.frombuffer(values, np.uint8).reshape(shape)


def token(request: Request) -> Response:
    """The token of this session's forms: an editor that was open while the page was locked needs a new one."""
    return JSONResponse({"token": csrf_of(request.scope["relay_session"])})


ROUTES = [
    Route("/correct/image", edit),
    Route("/correct/pixels", image),
    Route("/correct/mask", mask),
    Route("/correct/save", save, methods=["POST"]),
    Route("/correct/token", token),
]
