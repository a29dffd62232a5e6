"""Find, read and plan the config given with ``-c``, and translate it if it was written for the published code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from relay.errors import ConfigError, Problem
from relay.plan import Config, read_config

if TYPE_CHECKING:
    from relay.config import Devices, Reading
    from relay.plan import Study


def find(config: str, overrides: Sequence[str] | None = None, say: bool = True) -> Config:
    """The config given with ``-c``; ``say`` prints what was translated and what is not used, if anything.

    Raises:
        UserError: there is none, or it can't be read.
    """
    from relay.config import locate
    from relay.leg import is_first

    path, name = locate(config)
    found = read_config(path, name, overrides or ())
    if say and is_first() and (found.reading.translated or found.reading.unused):
        show(found.reading, name)
    return found


def study_of(
    config: str, note: str, gpus: str | None, overrides: Sequence[str] | None, train: bool = True
) -> tuple[Study, Path, Devices]:
    """The checked study for ``-c``, the folder of the run, and its devices.

    Raises:
        UserError: there is none, it can't be read, or something in it or in ``gpus`` is wrong.
    """
    from relay.config import choose

    found = find(config, overrides)
    devices, problems = choose(gpus)
    study = found.plan(problems, train=train)
    if train:
        check_precision(study, devices)
    return study, Path("exps") / found.name / note, devices


def check_precision(study: Study, devices: Devices) -> None:
    """Check that every leg can be trained here in the precision that its config asks for.

    Raises:
        ConfigError: one can't.
    """
    asked = dict.fromkeys(leg.train.precision for leg in study.legs)
    unfit = [(precision, why) for precision in asked if (why := devices.unfit(precision))]
    if unfit:
        raise ConfigError([Problem("common.train.precision", *found) for found in unfit], study.name)


def show(reading: Reading, name: str) -> None:
    """Print a table of the keys that are read differently, or not at all."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{escape(name)} was written for the published code", title_justify="left", box=SIMPLE)
    table.add_column("its keys", ratio=1)
    table.add_column("here", ratio=1)
    for here, keys in reading.translated.items():
        table.add_row(escape(", ".join(keys)), escape(here))
    table.add_section()
    for why, keys in reading.unused.items():
        table.add_row(escape(", ".join(keys)), escape(f"not used: {why}"))
    Console(stderr=True, emoji=False, highlight=False).print(table)
