"""Test models: ``relay predict``, which is also ``predict_test.py``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relay.cli import ask, configs, options, places
from relay.cli.top import command, hold, log_to, warn
from relay.errors import UserError
from relay.files import expanded

if TYPE_CHECKING:
    from relay.plan import Study
    from relay.predict import Model


@command
def predict(
    config: options.RunConfig,
    note: options.Note = "run",
    gpus: options.Gpus = None,
    save: Annotated[bool, typer.Option("-s", "--save", help="Save masks and overlays.")] = False,
    received: Annotated[
        int | None, typer.Option("--received", help="Test the model received from this leg.", min=1)
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="Test the model in this bundle, after verifying it", metavar="FILE"),
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            help="Predict this image, or all images in this folder, with the last model: mask and overlay. Repeatable.",
            metavar="PATH",
        ),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", help="Tolerance of nsd, in mm if the spacing is known, else in pixels.", min=0),
    ] = 2.0,
    passphrase_file: options.PassphraseFile = None,
    verbose: options.Verbose = False,
    overrides: options.Overrides = None,
) -> None:
    """Test every leg's model (or another) on every test set that is here: every metric, sample by sample."""
    if received is not None and bundle is not None:
        raise UserError("--received and --bundle name different models", "Give one of them.")
    study, root, devices = configs.study_of(config, note, gpus, overrides, train=False)
    from rich.console import Console

    from relay.predict import images_in, models as choose, predict_images

    images = images_in([expanded(path) for path in image or ()])
    if bundle is not None:
        models = [_bundled(study, bundle, passphrase_file)]
    elif received is not None:
        models = [choose.received(study, received)]
    else:
        models = choose.finished(study, root)
        if lacking := [leg.folder for leg in study.legs if leg.folder not in {model.folder for model in models}]:
            ask.say(f"Skipped, because training is not finished: {', '.join(lacking)}", err=True)
    log_to(root / "logs" / "predict.log", verbose)
    console = Console()
    if images:
        from relay.leg import Progress

        target = root / "results" / "images"
        with Progress(len(images), console) as progress:
            for path in predict_images(models[-1], images, target, devices, progress, warn):
                progress.say(f"Written: {path}")
        return
    from relay.locks import locked
    from relay.predict import Testing, predict_study, results_of, show
    from relay.simulate import apart

    folder = results_of(models, root)
    hold(locked(folder / ".lock", str(folder)))
    found = predict_study(study, models, folder, root, devices, console, Testing(tolerance, save))
    show(console, found, folder, root, own=apart(study.legs) and not models[-1].outside)


def _bundled(study: Study, bundle: Path, passphrase_file: Path | None) -> Model:
    from relay.predict import models

    store = models.store_of(study)
    named = study.handoff.passphrase_file if study.handoff else None
    given = passphrase_file or (Path(named) if named else None)
    path = expanded(bundle)
    keys = places.unlock(store.home, given) if places.is_sealed(path) else None
    return models.bundled(study, path, keys)
