"""``relay init``: from a folder or a table to a config that can be trained at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay.cli import ask, configs, options
from relay.cli.top import command, warn
from relay.errors import UserError, typed
from relay.files import write_text

if TYPE_CHECKING:
    from relay.start import Source

LEAST, SHARE, ON_CPU = 0.5, 0.6, 4.0
"""GB that training takes at least; the share of the free memory that it may take; and the most on a CPU, which needs
minutes for a step with more."""
TASKS = ("segmentation", "classification", "multilabel", "regression")


@command
def init(
    source: Annotated[
        Path, typer.Argument(help="Folder of images, data set of nnU-Net, DICOM export, or a CSV table.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The config to write.", metavar="FILE.yaml")],
    site: Annotated[str | None, typer.Option("--site", help="This site's name. Default: the folder's.")] = None,
    task: Annotated[str | None, typer.Option("--task", help=f"{', '.join(TASKS)}. Default: as the data look.")] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="Names of the classes, in masks background first.", metavar="A,B")
    ] = None,
    patients: Annotated[
        str | None, typer.Option("--patients", help="Regular expression that finds the patient in an image's name.")
    ] = None,
    images: Annotated[
        str | None, typer.Option("--images", help="Of a table: columns of the images' files.", metavar="A,B")
    ] = None,
    image_dir: Annotated[
        str | None, typer.Option("--image-dir", help="Of a table: folder of these files, seen from it.", metavar="NAME")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Of a table: column of what is predicted.", metavar="COLUMN")
    ] = None,
    patient_column: Annotated[
        str | None,
        typer.Option(
            "--patient",
            help="Of a table: column of patients. Of DICOM: PatientID or StudyInstanceUID.",
            metavar="COLUMN",
        ),
    ] = None,
    series: Annotated[
        str | None,
        typer.Option("--series", help="Of DICOM: regular expression; only series whose SeriesDescription matches."),
    ] = None,
    memory: Annotated[
        float | None, typer.Option("--memory", help="GB that training may take. Default: what is free here.", min=0.1)
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like", help="A study's config: keep its plan, and add only this site's data.", metavar="CONFIG"
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the config if it exists.")] = False,
) -> None:
    """Write a complete, commented config for the images in a folder, in a DICOM export, or in a table.

    Up to 100 images are read. Sizes, batch, steps, net and loss are chosen from them and from the memory of this
    computer. On a terminal, you are asked for what no option gives.
    """
    _check(out, task, patients, replace)
    options.pattern("--series", series)
    from relay.start import counted, draft, fit, source_of

    columns = {
        "image_columns": ask.listed(images),
        "image_dir": image_dir,
        "target_column": target,
        "patient_column": patient_column,
        "description_regex": series,
    }
    given = {key: value for key, value in columns.items() if value is not None}
    found = source_of(source, task, given)
    _fits(found, given)
    name = _site(site, source)
    pattern = _patients(patients, found) if patient_column is None else patients
    if pattern:
        found.kwargs["patient_regex"] = pattern
    room = int(1e9 * (memory or _memory()))
    if like is not None:
        plan = configs.find(like, say=False)
        made = fit(found, name, plan.reading.config, like)
    else:
        made = draft(found, name, room, ask.listed(classes))
    write_text(out, made.text)
    for note in made.notes:
        warn(note)
    configs.find(str(out), say=False).plan()
    ask.say(f"{out}: {found.dataset}, {counted(made.found)}. Read it, then:")
    ask.say(f"  {typed('relay', 'data', 'check', str(out))}", f"  {typed('relay', 'train', '-c', str(out))}")


def _check(out: Path, task: str | None, patients: str | None, replace: bool) -> None:
    """Refuse what can't be right before any image is read.

    Raises:
        UserError: something isn't.
    """
    if out.suffix not in (".yaml", ".yml"):
        better = out.with_suffix(".yaml") if out.name else out / "study.yaml"
        raise UserError(f"-o '{out}': a config ends in .yaml", f"For example: -o {better}")
    if out.exists() and not replace:
        raise UserError(f"{out} exists", "Name another file, or give --replace.")
    if task is not None and task not in TASKS:
        raise UserError(f"--task {task} is not one of {', '.join(TASKS)}", "Correct it.")
    options.pattern("--patients", patients)


def _fits(found: Source, given: Mapping[str, Any]) -> None:
    """Refuse options that are for other sources.

    Raises:
        UserError: there are some.
    """
    if found.dataset not in ("table", "dicom") and given:
        raise UserError(
            "only tables and DICOM have columns or series to choose",
            "Leave out --images, --image-dir, --target, --patient and --series.",
        )
    if found.dataset == "table" and "description_regex" in given:
        raise UserError("--series is for DICOM; this is a table", "Leave it out.")


def _site(given: str | None, source: Path) -> str:
    """The site's name: as given, as typed, or from the folder."""
    from relay.config import fault

    folder = source.resolve().parent if source.is_file() else source.resolve()
    default = re.sub(r"[^A-Za-z0-9_.\-]+", "_", folder.name).strip("._-")[:40] or "site"
    name = given or ask.answer("The site's name?", default)
    if why := fault(name):
        raise UserError(f"--site {name!r} {why}", f"For example: --site {default}")
    return name


def _patients(given: str | None, found: Source) -> str | None:
    if given is not None and found.dataset == "dicom":
        raise UserError("--patients is for names of files; DICOM files say whose they are", "Leave it out.")
    if given is not None or found.dataset in ("table", "dicom"):
        return given
    question = (
        f"Images are called {', '.join(found.examples)}. If a patient has several, which regular expression finds the "
        "patient in the name, such as ^(p[0-9]+)_ ? Else press Enter."
    )
    pattern = ask.answer(question, "")
    options.pattern("--patients", pattern)
    return pattern or None


def _memory() -> float:
    """GB that training may take on this computer: of the first GPU, else of the main memory."""
    from relay.config import visible_gpus

    if visible_gpus():
        import torch

        if torch.cuda.is_available():
            return max(LEAST, SHARE * torch.cuda.mem_get_info(0)[0] / 1e9)
    pages: Any = getattr(os, "sysconf", None)
    total = pages("SC_PAGE_SIZE") * pages("SC_PHYS_PAGES") / 1e9 if pages else ON_CPU
    return min(ON_CPU, max(LEAST, SHARE * total))
