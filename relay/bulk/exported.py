"""An export for bulk prediction: its own script does what the hospital that made it does to an image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from relay.bulk.predictor import Member, Predictor, Prepared
from relay.bulk.views import View
from relay.data import Case, Pixels, check_image, read_images
from relay.errors import DataError, UserError, VerificationError, first_line
from relay.export import standalone, verify
from relay.leg import digest
from relay.tasks import TASKS
from relay.trust import Identity

AGAIN = "Get the export again from its site, or export the model again."
NO_EXPORT = "Give the folder that relay export has written. For a bundle: --bundle FILE -c CONFIG."
PROGRAM = (
    "A .pt2 is in part a program, so relay runs only those that this site's own keys have signed. Ask for the ONNX "
    "form (relay export --to onnx); or sign your own exports: make keys, and give --home."
)


class Exported(Predictor):
    """A model in a folder that ``relay export`` has written.

    Args:
        folder: of the export; every file is compared with its statement.
        own: this site's identity; None if it has no keys.

    Raises:
        VerificationError: a file is not the one that was exported.
        UserError: it is no export; is a ``.pt2`` that this site has not signed; or needs a package or a plug-in that
            is not here.
    """

    def __init__(self, folder: Path, own: Identity | None) -> None:
        inner = folder / "models"  # of a MONAI bundle
        self.folder = folder if (folder / "model.json").is_file() else inner
        if not (self.folder / "model.json").is_file():
            raise UserError(f"{folder} is not an export: there is no model.json in it", NO_EXPORT)
        lineage, signer = verify(folder)
        try:
            said = json.loads((self.folder / "model.json").read_text(encoding="utf-8"))
            self._takes(said)
            _check(self.said)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise VerificationError(f"{self.folder / 'model.json'} is not the recipe of an export", AGAIN) from error
        mine = signer is not None and own is not None and signer.signing == own.signing
        if not self.said["model"]["file"].endswith(".onnx") and not mine:
            raise UserError(f"{folder} has a .pt2 that is not signed by this site", PROGRAM)
        self.about = {
            "export": {
                key: lineage.get(key)
                for key in ("study", "leg", "site", "model", "strategy", "weights", "relay", "config")
            }
            | {"recipe": digest(self.folder / "model.json")},
            "signer": None if signer is None else {"name": signer.name, "fingerprint": signer.fingerprint},
        }

    def _takes(self, said: dict[str, Any]) -> None:
        self.said = said
        self.task = TASKS[said["task"]](len(said["classes"]), said["classes"])
        self.digest = str(said["lineage"]["weights"])
        self.channels, self.one_file = int(said["input"]["channels"]), bool(said["read"]["one_file"])
        self.axes = (2, 3) if said["slices"] is not None else (int(said["input"]["axes"]),)
        self.mirror = bool(said["mirror"])
        if Path(said["model"]["file"]).name != said["model"]["file"]:
            raise ValueError("its model is in another folder")

    def start(self) -> None:
        """Load the net."""
        try:
            _, self._net = standalone.load(self.folder)
        except ValueError as error:
            raise VerificationError(str(error), AGAIN) from error

    def __getstate__(self) -> dict[str, Any]:
        """Without the net, which each process loads."""
        return {key: value for key, value in self.__dict__.items() if key != "_net"}

    def prepare(self, files: Sequence[Path]) -> Prepared:
        """See :meth:`Predictor.prepare`."""
        return self.ready(read_images(files, eight_bits=self.said["steps"] is None), files[0])

    def ready(self, case: Case, path: Path) -> Prepared:
        """See :meth:`Predictor.ready`."""
        check_image(path, case.image.shape, self.axes, self.channels)
        try:
            items = standalone.prepare(standalone.Picture.of(case.image, case.spacing), self.said)
        except (ValueError, KeyError, TypeError, IndexError) as error:  # the recipe may be of another site
            raise DataError(f"{path}: the export's steps can't be done: {error}", "Leave this image out.") from error
        across = self.said["slices"] if case.image.ndim == 4 else None
        return Prepared(case, items, across, case.notes)

    def answer(self, item: standalone.Picture, path: Path) -> NDArray[Any]:
        """See :meth:`Predictor.answer`."""
        return self._said(item, path, self.said)

    def members(self, item: standalone.Picture, path: Path) -> Iterator[Member]:
        """The one net."""
        yield 1.0, self._said(item, path, {**self.said, "mirror": False})

    def _said(self, item: standalone.Picture, path: Path, said: dict[str, Any]) -> NDArray[Any]:
        try:
            return standalone.probabilities(self._net, item, said)
        except Exception as error:  # onnxruntime and torch refuse sizes with errors of any kind
            raise DataError(f"{path}: the net can't process it: {first_line(error)}") from error

    def seen(self, item: standalone.Picture, view: View) -> standalone.Picture:
        """See :meth:`Predictor.seen`."""
        return replace(item, values=view.of(item.values))

    def restored(self, answer: NDArray[Any], item: standalone.Picture, size: Sequence[int]) -> Iterator[NDArray[Any]]:
        """In one part: see :meth:`Predictor.restored`."""
        yield standalone.restore(answer, item)

    def cleaned(self, mask: Pixels) -> Pixels:
        """See :meth:`Predictor.cleaned`."""
        return standalone.clean(mask, self.said)


def _check(said: dict[str, Any]) -> None:
    """Check, before any work, that the script knows all that the model needs.

    Raises:
        UserError: a package is missing, or a step is a plug-in of the hospital's own.
    """
    from importlib.util import find_spec

    if said["model"]["file"].endswith(".onnx") and find_spec("onnxruntime") is None:
        raise UserError(
            "an ONNX model needs the package onnxruntime, which is not installed",
            "Install it as relay was installed: pip install 'relay-learning[export]'.",
        )
    named: list[tuple[str, Any]] = [(step["name"], standalone.STEPS) for step in said["steps"] or []]
    named += [(step["name"], standalone.AFTER) for step in said["postprocess"]]
    if unknown := [name for name, known in named if name not in known]:
        raise UserError(
            f"the export needs a plug-in of the hospital that made it: {', '.join(unknown)}",
            "Ask that hospital for the model's bundle and the plug-in, or for a model without it.",
        )
