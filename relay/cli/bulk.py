"""Predict many images without a truth: ``relay predict --images``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.cli import ask
from relay.cli.top import hold, log_to, resumes, warn
from relay.errors import RelayError, UserError
from relay.files import expanded
from relay.home import home_of

if TYPE_CHECKING:
    from relay.bulk import Predictor, Summary
    from relay.config import Devices
    from relay.plan import Study
    from relay.predict import Model


@dataclass(frozen=True)
class Bulk:
    """The options of bulk prediction, as given."""

    images: Path | None
    output: Path | None
    export: Path | None
    columns: str | None
    uncertainty: bool
    dicom: bool
    codes: Path | None
    jobs: int

    def check(self) -> None:
        """Check that the options go together.

        Raises:
            UserError: they don't.
        """
        if self.images is None:
            given = {
                "--output": self.output,
                "--export": self.export,
                "--columns": self.columns,
                "--uncertainty": self.uncertainty,
                "--dicom": self.dicom,
                "--codes": self.codes,
                "--jobs": self.jobs != 1,
            }
            if alone := [name for name, value in given.items() if value]:
                raise UserError(f"{alone[0]} is for --images", "Name the images: --images FOLDER -o FOLDER.")
        elif self.output is None:
            raise UserError("--images needs a folder to write to", "Name it: -o FOLDER. It is made if it is not there.")
        if self.codes is not None and not self.dicom:
            raise UserError("--codes is for --dicom", "Add --dicom, or leave --codes out.")


def exported(bulk: Bulk, home: Path | None) -> Predictor:
    """The model of ``--export``, whose files are compared with its statement; says who signed it."""
    from relay.bulk import Exported
    from relay.trust import keys

    assert bulk.export is not None
    place = home_of(home)
    found = Exported(expanded(bulk.export), keys.identity(place) if (place / keys.PUBLIC).is_file() else None)
    if (signer := found.about["signer"]) is None:
        warn("the export is not signed: anyone can have made it")
    else:
        ask.say(f"Export signed by {signer['name']}: {signer['fingerprint']}")
    return found


def own(
    model: Model, study: Study, devices: Devices, legs: Sequence[Mapping[str, Any]], source: Path | None
) -> Predictor:
    """A model of a run, of what was received, or of a bundle.

    Args:
        legs: of the handover that it is in.
        source: a file that was named.
    """
    from relay.bulk import Own
    from relay.export import lineage_of

    about = {**lineage_of(model, study), "source": source.name if source is not None else None}
    about["legs"] = [{key: leg.get(key) for key in ("leg", "site", "strategy")} for leg in legs]
    return Own(model, devices, about)


def predict_in_bulk(bulk: Bulk, predictor: Predictor, study: Study | None, verbose: bool) -> None:
    """Predict all images, and say how it went.

    Raises:
        UserError: there are no images, or none that the model takes; or the folder is used for something else.
        RelayError: some could not be predicted; all others were.
    """
    from rich.console import Console

    from relay.bulk import LOCK, LOG, Outputs, Own, Settings, check_axes, chosen, listed, run, usual_spacing
    from relay.leg import Progress
    from relay.locks import locked

    resumes()
    assert bulk.images is not None
    assert bulk.output is not None
    images, folder = expanded(bulk.images), expanded(bulk.output)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"-o {folder} is a file", "Name a folder: a new one, or one to resume.")
    columns = [name.strip() for name in bulk.columns.split(",")] if bulk.columns else []
    data = predictor.model.leg.data if isinstance(predictor, Own) else None
    wanted = listed(images, predictor, folder, columns, data, warn)
    check_axes(wanted, predictor.axes)
    writer = _writer(bulk, predictor, wanted)
    about = {
        "format": 1,
        "model": {"digest": predictor.digest, **predictor.about},
        "images": str(images.resolve()),
        "task": predictor.task.name,
        "classes": list(predictor.task.names),
        "settings": {"uncertainty": bulk.uncertainty, "dicom": bulk.dicom, "codes": _codes(writer)},
    }
    outputs = Outputs(folder, about)
    if writer is not None:
        what = {key: about[key] for key in ("model", "task", "classes", "settings")}
        writer = replace(writer, key=sha256(json.dumps(what, sort_keys=True).encode()).hexdigest())
    folder.mkdir(parents=True, exist_ok=True)
    hold(locked(folder / LOCK, str(folder)))
    outputs.begin()
    log_to(folder / LOG, verbose)
    with Progress(len(wanted), Console()) as progress:
        threshold = None
        if bulk.uncertainty:
            predictor.start()
            threshold = chosen(predictor, study, folder, progress, warn)
        usual = usual_spacing(study) if study is not None else None
        settings = Settings(bulk.uncertainty, usual, writer, min(bulk.jobs, os.cpu_count() or 1))
        summary = run(predictor, wanted, outputs, settings, progress, threshold)
    _tell(summary, bulk.uncertainty, threshold is not None)


def _writer(bulk: Bulk, predictor: Predictor, wanted: Any) -> Any:
    if not bulk.dicom:
        return None
    from relay.bulk import Codes, Writer, check_package, is_source

    check_package()
    if not any(is_source(one.files[0]) for one in wanted):
        raise UserError("--dicom: none of the images is DICOM, so there is no series to refer to", "Leave --dicom out.")
    task, known = predictor.task, predictor.about.get("export") or predictor.about
    codes = Codes.of(expanded(bulk.codes), task.names) if bulk.codes else Codes()
    return Writer(task, codes, f"relay {known['study']}, leg {known['leg']}"[:64], predictor.digest[:16])


def _codes(writer: Any) -> Any:
    return None if writer is None else {"types": writer.codes.types, "categories": writer.codes.categories}


def _tell(summary: Summary, doubts: bool, threshold: bool) -> None:
    lost = len(summary.problems)
    kept = f", {summary.kept} of them by an earlier run" if summary.kept else ""
    if summary.noted:
        warn(f"suspicious images: {summary.noted} of {summary.images}; see the column notes")
    if summary.strange:
        warn(f"images unlike those of every site: {summary.strange} of {summary.images}; see the column unlike")
    if doubts and not threshold:
        warn("no validation images are here to choose a threshold on: the column rank says what to look at first")
    elif doubts:
        ask.say(f"To be reviewed by a person: {summary.doubtful} (column review)")
    ask.say(f"Predicted: {summary.images - lost} of {summary.images} images{kept}", f"Written: {summary.table}")
    if lost:
        raise RelayError(
            f"{lost} of {summary.images} images could not be predicted, the first because: "
            + summary.problems[0].rstrip("."),
            "The column error of the table says why. Correct or remove them, and run the same command again: what is "
            "finished is kept.",
        )
    if summary.lacking:
        raise RelayError(
            f"{len(summary.lacking)} of {summary.images} images have no DICOM objects, the first because: "
            + summary.lacking[0].rstrip("."),
            "They are predicted. The column notes of the table says why nothing in DICOM can refer to them.",
        )
