"""Test models: ``relay predict``, which is also ``predict_test.py``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli import ask, bulk, configs, options, places
from relay.cli.top import command, hold, log_to, warn
from relay.errors import UserError
from relay.files import expanded

if TYPE_CHECKING:
    from relay.plan import Study
    from relay.predict import Ensemble, Given, Model, OwnRun

NO_SITE = "--site chooses among the models of a run's sites", "Leave it out: the model is named by another option."


class Which(str, Enum):
    """Values of ``--model``."""

    OWN = "own"
    GENERALIST = "generalist"
    VOTE = "vote"
    AUTO = "auto"


OneModel = Annotated[
    Which,
    typer.Option(
        "--model",
        help="own: the site's own model. generalist: the one model for everybody. auto: what the site adopted.",
    ),
]
Received = Annotated[int | None, typer.Option("--received", help="Use a model received from this leg.", min=1)]
InBundle = Annotated[
    Path | None, typer.Option("--bundle", help="Use a model in this bundle, after verifying it.", metavar="FILE")
]


@command
def predict(
    config: Annotated[
        str | None,
        typer.Option(
            "-c",
            "--config",
            help="Name under configs/ (fundus/relay), or a .yaml file. Only --export needs none.",
            callback=options.value,
        ),
    ] = None,
    note: options.Note = "run",
    gpus: options.Gpus = None,
    model: Annotated[
        Which | None,
        typer.Option(
            "--model",
            help="own: the site's own model. generalist: the one model for everybody. vote: all sites' own models, "
            "weighed by looks. auto: what the site adopted; elsewhere, the vote. Default: all that are here; "
            "for --image, auto.",
        ),
    ] = None,
    site: options.OfSite = None,
    save: Annotated[bool, typer.Option("-s", "--save", help="Save masks and overlays.")] = False,
    received: Annotated[
        int | None, typer.Option("--received", help="Test the models received from this leg.", min=1)
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="Test the models in this bundle, after verifying it", metavar="FILE"),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Test the model in this file, made with relay models merge.", metavar="FILE"),
    ] = None,
    ensemble: Annotated[
        list[Path] | None,
        typer.Option(
            "--ensemble",
            help="Average this leg's model with others': …/checkpoints/<leg>, of any run. Repeatable.",
            metavar="FOLDER",
        ),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            help="Predict this image, or all images in this folder: mask and overlay. Repeatable.",
            metavar="PATH",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            help="Predict all images of this folder, table or DICOM series: masks and a table, with -o.",
            metavar="PATH",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for what --images writes.", metavar="FOLDER")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", help="Predict --images with the model in this export.", metavar="FOLDER"),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", help="Columns of the table with the images' files, one for each channel: A,B"),
    ] = None,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Measure the doubt about each of --images: map, number, flag.")
    ] = False,
    dicom: Annotated[
        bool, typer.Option("--dicom", help="Also write DICOM-SEG and a structured report for each DICOM series.")
    ] = False,
    codes: Annotated[
        Path | None,
        typer.Option("--codes", help="Table of DICOM codes: class,value,scheme,meaning.", metavar="FILE"),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", help="Processes that predict --images.", min=1)] = 1,
    home: options.Home = None,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", help="Tolerance of nsd, in mm if the spacing is known, else in pixels.", min=0),
    ] = 2.0,
    passphrase_file: options.PassphraseFile = None,
    verbose: options.Verbose = False,
    overrides: options.Overrides = None,
) -> None:
    """Test every model that is here on every test set that is here: every metric, sample by sample."""
    named = {"--received": received, "--bundle": bundle, "--weights": weights, "--ensemble": ensemble or None}
    named["--export"] = export
    if len(given := [option for option, value in named.items() if value is not None]) > 1:
        raise UserError(f"{' and '.join(given)} name different models", "Give one of them.")
    if site is not None and images is None and not image:
        raise UserError("--site is for --image and --images", "Leave it out: every site's model is tested.")
    many = bulk.Bulk(images, output, export, columns, uncertainty, dicom, codes, jobs)
    many.check()
    if images is not None and image:
        raise UserError("--image and --images name images in two ways", "Give one of them.")
    if export is not None and config is not None:
        raise UserError("--export and -c name different models", "Leave out -c: an export says how images are read.")
    if export is not None:
        if site is not None:
            raise UserError(*NO_SITE)
        bulk.predict_in_bulk(many, bulk.exported(many, home), None, verbose)
        return
    if config is None:
        raise UserError("no config: -c is missing", "Give -c CONFIG; or --export FOLDER for an exported model.")
    study, root, devices = configs.study_of(config, note, gpus, overrides, train=False)
    from rich.console import Console

    from relay.predict import Ensemble, Given, OwnRun, images_in, models, predict_images

    single = images_in([expanded(path) for path in image or ()])
    here: Given | OwnRun | Ensemble
    if bundle is not None:
        here = Given(study, *bundled(study, bundle, passphrase_file))
    elif received is not None:
        here = Given(study, *models.received(study, received))
    elif weights is not None:
        here = Given(study, *_combined(weights))
    elif ensemble:
        here = Ensemble(study, tuple(map(expanded, ensemble)))
    else:
        here = OwnRun(study, root, config)
        _skipped(here)
    which: Any = model.value if model else None
    if images is not None:
        taken = chosen_of(here, which, site)
        predictor = bulk.own(taken, study, devices, here.legs, bundle or weights)
        bulk.predict_in_bulk(many, predictor, study, verbose)
        return
    if single:
        from relay.leg import Progress, progress_of

        chosen, target = chosen_of(here, which, site), root / "results" / "images"
        log_to(root / "logs" / "predict.log", verbose)
        with Progress(len(single), Console(), file=progress_of(root)) as progress:
            for path in predict_images(chosen, single, target, devices, progress, warn):
                progress.say(f"Written: {path}")
        return
    found = here.named(which, ask.say) if which else here.everything(ask.say)
    log_to(root / "logs" / "predict.log", verbose)
    from relay.locks import locked
    from relay.predict import Testing, predict_study, results_of, show
    from relay.simulate import apart

    folder, console = results_of(found, root, which), Console()
    hold(locked(folder / ".lock", str(folder)))
    tested = predict_study(study, found, folder, root, devices, console, Testing(tolerance, save))
    show(console, tested, folder, root, own=apart(study.legs) and not found[-1].outside)


def _skipped(here: OwnRun) -> None:
    """Say which legs' models are not tested.

    Raises:
        UserError: no model is here.
    """
    there = {model.leg.folder for model in here.generalists}
    if lacking := [leg.folder for leg in here.study.legs if leg.folder not in there]:
        ask.say(f"Skipped, because training is not finished: {', '.join(lacking)}", err=True)


def _combined(weights: Path) -> tuple[Any, str, Path]:
    """A model made with relay models merge, the name of its results, and its file."""
    from relay.bundle import measure
    from relay.models import handover

    path = expanded(weights)
    return handover(path), f"merged-{measure(path).sha256[:8]}", path


def check_one(received: int | None, bundle: Path | None) -> None:
    """Check that at most one of the options is given.

    Raises:
        UserError: both are.
    """
    if received is not None and bundle is not None:
        raise UserError("--received and --bundle name different models", "Give one of them.")


def one_of(
    study: Study, root: Path, config: str, received: int | None, bundle: Path | None, passphrase_file: Path | None
) -> Given | OwnRun:
    """The models that a command chooses from: those received from a leg, those in a bundle, or a run's own."""
    from relay.predict import Given, OwnRun, models

    if bundle is not None:
        return Given(study, *bundled(study, bundle, passphrase_file))
    if received is not None:
        return Given(study, *models.received(study, received))
    return OwnRun(study, root, config)


def chosen_of(here: Given | OwnRun | Ensemble, which: Any, site: str | None) -> Model:
    """The one model that a command uses.

    Args:
        site: whose, if a run has a model for each of several sites.
    """
    from relay.predict import OwnRun

    if site is None:
        return here.for_images(which, ask.say)
    if not isinstance(here, OwnRun):
        raise UserError(*NO_SITE)
    return here.for_images(which, ask.say, site)


def bundled(study: Study, bundle: Path, passphrase_file: Path | None) -> tuple[Any, str, Path]:
    """The models in a bundle, after verifying it: what :class:`relay.predict.Given` takes."""
    from relay.predict import models

    store = models.store_of(study)
    named = study.handoff.passphrase_file if study.handoff else None
    given = passphrase_file or (Path(named) if named else None)
    path = expanded(bundle)
    keys = places.unlock(store.home, given) if places.is_sealed(path) else None
    return models.bundled(study, path, keys)
