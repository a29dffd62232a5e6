"""Give a model to other programs: ``relay export``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli import ask, configs, options, places
from relay.cli.predict import InBundle, OneModel, Received, Which, check_one, chosen_of, one_of
from relay.cli.top import command, log_to, warn
from relay.files import expanded
from relay.home import home_of

if TYPE_CHECKING:
    from relay.export import Compared
    from relay.plan import Study
    from relay.trust import Keys


class To(str, Enum):
    """Values of ``--to``."""

    ONNX = "onnx"
    PT2 = "pt2"
    MONAI = "monai"


@command
def export(
    config: options.RunConfig,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for the export; it must not exist.", metavar="FOLDER")
    ],
    to: Annotated[
        To, typer.Option("--to", help="onnx: for any runtime. pt2: for torch. monai: a MONAI bundle.")
    ] = To.ONNX,
    note: options.Note = "run",
    model: OneModel = Which.GENERALIST,
    site: options.OfSite = None,
    received: Received = None,
    bundle: InBundle = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            help="Compare with relay's own prediction of this image. Repeatable. Default: some of the config's.",
            metavar="PATH",
        ),
    ] = None,
    images: Annotated[int, typer.Option("--images", help="How many of the config's images to compare.", min=1)] = 4,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", help="Largest difference of a probability, or of a number relative to it.", min=0),
    ] = 1e-3,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Don't sign it, even if there are keys.")] = False,
    home: options.Home = None,
    passphrase_file: options.PassphraseFile = None,
    verbose: options.Verbose = False,
    overrides: options.Overrides = None,
) -> None:
    """Write a model so that other programs can use it, compare it with relay's own prediction, and sign it.

    Everything that is done to an image outside the model is in the export, too: as a table, and as a short script.
    """
    check_one(received, bundle)
    study, root, _ = configs.study_of(config, note, None, overrides, train=False)
    from relay.export import Wanted, check_kind, check_ready, export_model
    from relay.predict import images_in

    folder = expanded(output)
    places.folder_there(folder.parent)
    check_ready(folder, to.value)
    compared = images_in([expanded(path) for path in image or ()])
    here = one_of(study, root, config, received, bundle, passphrase_file)
    which: Any = model.value
    chosen = chosen_of(here, which, site)
    check_kind(chosen)
    keys = None if unsigned else _keys(study, home, passphrase_file)
    log_to(root / "logs" / "export.log", verbose)
    wanted = Wanted(to.value, tolerance, tuple(compared), images)
    found = export_model(chosen, study, folder, wanted, keys, warn)
    _tell(found, folder, chosen.digest, keys)


def _keys(study: Study, home: Path | None, passphrase_file: Path | None) -> Keys | None:
    """This site's keys; None if it has none.

    Raises:
        UserError: they can't be opened.
    """
    from relay.trust import keys

    place = home_of(home or (study.handoff.key if study.handoff else None))
    if home is None and not (place / keys.PUBLIC).is_file():
        return None
    named = study.handoff.passphrase_file if study.handoff else None
    return places.unlock(place, passphrase_file or (Path(named) if named else None))


def _tell(found: Compared, folder: Path, weights: str, keys: Keys | None) -> None:
    ask.say(
        f"Compared with relay's own prediction of {found.images} images, {found.from_files} of them from their files: "
        f"the largest difference is {found.difference:.2g}; another class: {100 * found.differing:.3g} %. "
        f"Run with {' and '.join(found.runtimes)}."
    )
    if keys is None:
        warn(
            "the export is not signed: no keys are here, or you said --unsigned. Its statement says what it is, not who"
        )
    else:
        ask.say(f"Signed by {keys.identity.name}: {keys.identity.fingerprint}")
    about = next(folder.rglob("README.md"))
    ask.say(f"Weights {weights}.", f"Written: {folder}", f"How to use it: {about}")


def is_export(path: Path) -> bool:
    """Whether a path is a folder with an export, even if its statement is lost; a stick is a folder, too."""
    return any((path / name).is_file() for name in ("statement.json", "model.json", "models/model.json"))


def check(folder: Path) -> None:
    """Check that no file of an export has changed since it was made, and show what it is and who signed it.

    Raises:
        VerificationError: a file has changed.
    """
    from relay.export import verify

    said, signer = verify(folder)
    ask.say(
        f"Verified: {said['model']} of leg {said['leg']} of {said['study']}, trained at {said['site']}",
        f"  weights    {said['weights']}",
        f"  config     {said['config']}",
        f"  made by    relay {said['relay']}, torch {said['torch']}",
        f"  difference {said['compared']['difference']:.2g}, to relay's own prediction",
    )
    if signer is None:
        warn("not signed: anyone can have made it")
    else:
        ask.say(f"Signed by {signer.name}. Compare these words with the site, by voice: {signer.fingerprint}")
