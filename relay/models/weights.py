"""The weights of a model, read only once everything about it is verified or checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from relay import tensorfile
from relay.bundle import check_whole, manifest
from relay.errors import HandoverError, UserError
from relay.exchange import look_into, reopen
from relay.models import made
from relay.models.entry import Entry
from relay.models.place import Place
from relay.tensorfile import BadTensors
from relay.trust import DigestMismatch

if TYPE_CHECKING:
    from torch import Tensor


def weights_of(entry: Entry, place: Place) -> Mapping[str, Tensor]:
    """The tensors of a model, by name. Those of a bundle are verified first, as an observer would.

    Raises:
        Refused: it fails verification; the message says why.
        UserError: it can't be opened, its study isn't known here, or a file is missing or damaged.
    """
    about = entry.told
    if entry.kind == "bundle":
        keys = place.keys if entry.sealed else None
        done, inside = look_into(place.store(about.study), keys, entry.path, until=about.leg)
        if done.statements[-1].digest != about.statement:
            raise DigestMismatch(f"{entry.path} changed while it was being read", "Copy it to this computer first.")
        return inside.model
    if entry.kind == "unpacked":
        return _kept(entry.path, place)
    if entry.kind == "run":
        check_whole(entry.path)
        return _own(entry.path / manifest.MODEL)
    if entry.kind == "adopted":
        return _adopted(entry.path)
    return made.tensors_of(entry.path)


def _kept(folder: Path, place: Place) -> Mapping[str, Tensor]:
    own = place.own(folder)
    if own is None:
        raise UserError(
            f"{folder} is outside {place.home}, and only its own site's ledger vouches for it",
            "Use the bundle itself, or give the site's own folder with --home.",
        )
    if not (folder / manifest.MODEL).is_file():
        raise UserError(
            f"the weights in {folder} were removed, as they are once this site has signed its own leg",
            "Use the bundle, or the model of a later leg.",
        )
    return reopen(*own)[0].model


def _adopted(folder: Path) -> Mapping[str, Tensor]:
    from relay.adopt import AdoptPaths, read, tuned_weights

    paths = AdoptPaths(folder)
    record = read(paths)
    if record is None:
        raise UserError(f"{paths.record} is missing", paths.again)
    return tuned_weights(paths, record)


def _own(path: Path) -> Mapping[str, Tensor]:
    try:
        return tensorfile.load(path)
    except (OSError, BadTensors) as error:
        raise HandoverError(f"{path} can't be read: {error}", "Restore the file, or train this leg again.") from error
