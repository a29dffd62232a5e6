"""``relay correct``: masks corrected by hand, and learning from them."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli import ask, configs, options
from relay.cli.top import command, hold, log_to, resumes, warn
from relay.errors import UserError, typed
from relay.files import expanded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.config import Devices
    from relay.correct import Ranked, Target
    from relay.data import Correction
    from relay.plan import Study

correct_app = typer.Typer(help="Correct masks by hand, and learn from them.", no_args_is_help=True, **options.PLAIN)
Site = Annotated[str | None, typer.Option("--site", help="Default: the only one in the config.", metavar="NAME")]
Image = Annotated[str, typer.Argument(help="The id of an image, as relay correct list shows it, or its file.")]


class Part(str, Enum):
    """Values of ``--split``."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"
    ALL = "all"


class From(str, Enum):
    """Values of ``--from``."""

    NEWEST = "newest"
    STORED = "stored"
    PREDICTION = "prediction"


@correct_app.command("list")
@command
def list_(
    config: options.RunConfig,
    note: options.Note = "run",
    site: Site = None,
    part: Annotated[
        Part, typer.Option("--split", help="Which images. Masks of training images are learned from.")
    ] = Part.TRAIN,
    most: Annotated[int, typer.Option("--most", help="How many to show.", min=1)] = 20,
    gpus: options.Gpus = None,
    verbose: options.Verbose = False,
    overrides: options.Overrides = None,
) -> None:
    """Show which images to correct first: those that this site's own model is least sure of, or experts disagree on.

    Each is predicted; the masks are kept in the folder of the run, to be corrected.
    """
    study, root, devices, target = _target(config, note, gpus, overrides, site)
    from rich.console import Console

    from relay.correct import rank
    from relay.leg import Progress, progress_of
    from relay.predict import OwnRun

    wanted = [name for name, split in target.splits.items() if part.value in (split, "all")]
    if not wanted:
        raise UserError(f"{target.leg.task_name} has no {part.value} images", "Choose others: --split.")
    log_to(root / "logs" / "correct.log", verbose)
    with Progress(len(wanted), Console(), file=progress_of(root)) as progress:
        images = [target.images[name] for name in wanted]
        found, by = rank(target, OwnRun(study, root, config), images, devices, progress)
    _show(found[:most], by, target, config)


@correct_app.command()
@command
def add(
    config: options.RunConfig,
    image: Image,
    mask: Annotated[Path, typer.Argument(help="The corrected mask, made with any tool.")],
    by: Annotated[str, typer.Option("--by", help="Who corrected it.", metavar="NAME")],
    note: options.Note = "run",
    site: Site = None,
    source: Annotated[
        From,
        typer.Option(
            "--from",
            help="What was corrected. newest: the version before, else the stored mask. prediction: of relay correct "
            "list in this run.",
        ),
    ] = From.NEWEST,
    indices: Annotated[
        bool,
        typer.Option("--indices", help="The mask's values are class indices 0, 1, …, as relay predict writes them."),
    ] = False,
    overrides: options.Overrides = None,
) -> None:
    """Keep a corrected mask as a new version beside the stored one, which is never changed."""
    _, root, _, target = _target(config, note, None, overrides, site)
    import numpy as np

    from relay.correct import add as add_version, mask_from, predicted, start_of

    sample = target.image(image)
    drawn = mask_from(target, sample, expanded(mask), indices)
    if source is From.PREDICTION:
        file, model = predicted(root, target, sample)
        before, called = mask_from(target, sample, file, indices=True), f"prediction {model}"
    elif source is From.STORED:
        before, called = np.asarray(target.stored.original(sample).target), "stored"
    else:
        before, called = start_of(target, sample)
    if (part := target.splits.get(sample.id)) != "train":
        warn(f"{sample.id} is not a training image ({part or 'left out'}): its corrected mask is never trained on")
    made = add_version(target, sample, drawn, by, called, before)
    ask.say(f"Written: {target.store.path(made)}", *_told(made))


@correct_app.command()
@command
def show(
    config: options.RunConfig,
    image: Image,
    site: Site = None,
    overrides: options.Overrides = None,
) -> None:
    """Show all versions of an image's mask: who corrected what, and when."""
    target = _target(config, "run", None, overrides, site)[-1]
    sample = target.image(image)
    history = target.store.history(sample.id)
    ask.say(f"{sample.id} ({target.splits.get(sample.id, 'left out')}): {sample.image}")
    if not history:
        ask.say("nobody has corrected its mask")
    for made in history:
        ask.say(f"version {made.version}: {target.store.check(made)}", *_told(made))


@correct_app.command()
@command
def learn(
    config: options.RunConfig,
    note: options.Note = "run",
    site: Site = None,
    min_samples: Annotated[
        int, typer.Option("--min-samples", help="How many corrected training images are needed.", min=1)
    ] = 5,
    score_corrected: Annotated[
        bool,
        typer.Option(
            "--score-corrected", help="Also compare with corrected masks of validation and test images. Default: not."
        ),
    ] = False,
    gpus: options.Gpus = None,
    verbose: options.Verbose = False,
    overrides: options.Overrides = None,
) -> None:
    """Fine-tune this site's own model on corrected masks; adopt it if its validation score does not fall.

    An interrupted run resumes. Masks of validation and test images are never trained on.
    """
    resumes()
    study, root, devices, target = _target(config, note, gpus, overrides, site, train=True)
    from rich.console import Console

    from relay.correct import learn as learn_from, site_of
    from relay.leg import Progress, RunPaths, is_first, progress_of, tuning_steps
    from relay.predict import OwnRun, models

    run, name = RunPaths(root), target.leg.task_name
    if is_first():
        hold(run.alone())
    here = OwnRun(study, root, config)
    if here.incoming is None:
        raise UserError(
            f"no handover of {study.name} is here, so {name} has no model to go on from",
            "Train or receive a leg first, and check -c and -n. A site that is alone can train again with its "
            "corrections: set corrections in dataset.kwargs to their folder, and use a new note (-n).",
        )
    models.check_handover(study, target.leg, here.incoming.handover, root)
    data = site_of(target, run, min_samples, score_corrected)
    console = Console() if is_first() else None
    if console:
        log_to(root / "logs" / "correct.log", verbose)
        if score_corrected:
            warn("scores compare with masks that were corrected: they are not comparable with earlier ones")
    start = here.at_home(target.leg, single=True)
    with Progress(console=console, file=progress_of(root) if console else None) as progress:
        steps = tuning_steps(target.leg, len(data.split.train), devices)
        progress.expect(steps)
        progress.leg(f"{name} · learning from corrections", steps)
        with progress.stage("reading and checking images"):
            data.read(["train", "val", "test"])
        record = learn_from(study.name, target, start, here.incoming, data, run, devices, progress)
        progress.finish_leg()
    if console:
        _judged(record, start.kind)


def _target(
    config: str,
    note: str,
    gpus: str | None,
    overrides: list[str] | None,
    site: str | None,
    train: bool = False,
) -> tuple[Study, Path, Devices, Target]:
    """The study, the folder of the run, its devices, and the site whose masks are corrected."""
    study, root, devices = configs.study_of(config, note, gpus, overrides, train=train)
    from relay.correct import Target

    return study, root, devices, Target.of(study, root.parent, site)


def _told(made: Correction) -> list[str]:
    """A version in words."""
    changed = [f"{name} +{n['added']} −{n['removed']}" for name, n in made.changed.items()]
    return [f"  by {made.by}, {made.when}, from {made.source}", f"  voxels: {', '.join(changed) or 'none changed'}"]


def _show(found: Sequence[Ranked], by: str, target: Target, config: str) -> None:
    from rich.console import Console

    from relay.numbers import number
    from relay.screen import Column, show_table

    columns = [Column("image", left=True), Column("split"), Column("entropy"), Column("disagreement", 1)]
    columns.append(Column("versions", 2))
    rows = []
    for row in found:
        apart = "" if row.disagreement is None else number(row.disagreement)
        versions = str(len(target.store.history(row.image)))
        rows.append([row.image, row.split, number(row.entropy), apart, versions])
    show_table(Console(), f"{target.leg.task_name}: images to correct first, by {by}", columns, rows)
    first = typed("relay", "correct", "add", "-c", config, found[0].image, "MASK", "--by", "NAME")
    ask.say(f"Corrections are kept in {target.folder}. To add one: {first}")


def _judged(record: Mapping[str, Any], start: str) -> None:
    verdict = "Accepted and adopted" if record["accepted"] else "Not accepted; the model stays as it was"
    ask.say(f"{verdict}: {record['why']}.", f"{record['corrected']} corrected masks, starting from the {start} model.")
