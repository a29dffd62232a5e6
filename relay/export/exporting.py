"""Export a model: make its graph, write it, compare it with relay's own prediction, sign it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from relay.config import Devices
from relay.errors import UserError
from relay.export import attest, comparing, formats, graph, recipe
from relay.export.comparing import Compared
from relay.export.formats import Form
from relay.leg import Mirrored, Vote
from relay.plan import Study
from relay.predict import SINGLE, Model
from relay.results import VOTE
from relay.trust import Keys

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What to export, and how.

    Attributes:
        tolerance: the largest difference of probabilities, or of values relative to those above 1, that is accepted.
        images: to compare with; none for some of the config's.
        many: how many of the config's.
    """

    form: Form
    tolerance: float = 1e-3
    images: tuple[Path, ...] = ()
    many: int = 4


def export_model(model: Model, study: Study, folder: Path, wanted: Wanted, keys: Keys | None, warn: Say) -> Compared:
    """Export a model into a new folder. If anything is wrong, there is no folder.

    Args:
        keys: of the site, to sign with; None to leave the export unsigned.
        warn: called with everything suspicious.

    Raises:
        UserError: the folder is there already, a package is missing, the model is a vote, or there are no images.
        RelayError: the model can't be exported in this form, or the export differs from relay's own prediction.
    """
    check_ready(folder, wanted.form)
    check_kind(model)
    applied = model.net(Devices())
    inner = applied.model if isinstance(applied, Mirrored) else applied
    if isinstance(inner, Vote):
        raise no_vote(model)
    if own := recipe.plugins(model.leg.data, model.leg.conf.predict.postprocess):
        warn(f"{', '.join(own)}: code of this site's own, which whoever uses the export must add to its script")
    samples = comparing.samples_of(study, model, wanted.images, wanted.many)
    if not all(sample.readable for sample in samples):
        warn(
            "the export's script can't read this data set's files (DICOM, or a reader of your own): save them as NIfTI"
        )
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        found = _export(model, study, applied, inner, samples, beside, wanted)
        lineage = {**recipe.lineage_of(model, study), "form": wanted.form, "tolerance": wanted.tolerance}
        attest.write(beside, {**lineage, "compared": asdict(found)}, keys)
        beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return found


def _export(
    model: Model,
    study: Study,
    applied: nn.Module,
    net: nn.Module,
    samples: Sequence[comparing.Sample],
    folder: Path,
    wanted: Wanted,
) -> Compared:
    """Write the files, and compare what they say."""
    size = model.leg.data.patch_size or comparing.prepared(model, samples[0]).image.shape[:-1]
    made = graph.export(net, model.leg.data, size)
    files = len(dict.fromkeys(samples[0].files))
    data, how = model.leg.data, model.leg.conf.predict
    formats.write(wanted.form, made, recipe.recipe(data, how, made, files, recipe.lineage_of(model, study)), folder)
    found = comparing.compare(applied, model, samples, formats.told_in(wanted.form, folder))
    comparing.check(found, wanted.tolerance)
    return found


def check_ready(folder: Path, form: Form) -> None:
    """Check, before any work, that the folder is new and that what a form needs is installed.

    Raises:
        UserError: it is not.
    """
    if folder.exists():
        raise UserError(f"{folder} is there already", "Name a new folder, or move this one away.")
    formats.check_packages(form)


def check_kind(model: Model) -> None:
    """Refuse a vote, before anything is built.

    Raises:
        UserError: the model is one.
    """
    if model.kind == VOTE:
        raise no_vote(model)


def no_vote(model: Model) -> UserError:
    """Why a vote is not exported."""
    return UserError(
        f"{model.source}: the vote of all sites' models can't be exported: it weighs them anew for each image, by how "
        "much it looks like each site's",
        f"Export one of them: {SINGLE}",
    )
