"""``relay list``: the names that a config or a command may use, with their options."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from relay import registry
from relay.cli import ask
from relay.cli.top import command
from relay.errors import UserError, nearest


@command
def show(
    kind: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(registry.KINDS)}. Default: names only.")
    ] = None,
) -> None:
    """List what a config may name: each name with its package, options, defaults and ranges.

    A file of your own in the current folder needs no entry point: name it module:Class.
    """
    if kind is None:
        for each in registry.KINDS:
            _say(f"{each}: {', '.join(registry.names(each))}")
        return
    known = next((each for each in registry.KINDS if each == kind), None)
    if known is None:
        near = nearest(kind, registry.KINDS)
        advice = f"Give one of {', '.join(registry.KINDS)}." + (f" Did you mean '{near}'?" if near else "")
        raise UserError(f"there is no kind '{kind}'", advice)
    for name in registry.names(known):
        for line in _lines(known, name):
            _say(line)


def _say(line: str) -> None:
    """Print a line; on a terminal it is wrapped, and what follows is indented further."""
    if not sys.stdout.isatty():
        ask.say(line)
        return
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    width = shutil.get_terminal_size().columns
    ask.say(*textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False))


def _lines(kind: registry.Kind, name: str) -> Iterator[str]:
    """One plug-in; one that can't be loaded says why, and the others are shown all the same."""
    from relay.config import summary

    yield f"{name}  ({registry.package(kind, name)})"
    try:
        found = registry.find(kind, name)
    except UserError as error:
        yield f"    {error}. {error.advice()}"
        return
    if said := summary(found):
        yield f"    {said}"
    yield from (f"    {line}" for line in _facts(kind, found))


def _facts(kind: registry.Kind, found: Any) -> Iterator[str]:
    """What a config may set, or what is known of what has no options."""
    from relay.config import describe

    schema = registry.options_of(kind, found)
    for option in describe(schema) if schema else []:
        default = "must be given" if option.default is None else f"default {option.default}"
        yield f"{option.name}: {option.kind}; {default}" + (f"; {option.meaning}" if option.meaning else "")
    if kind == "metrics":
        low, high = found.bounds
        unit = ", in mm or pixels" if found.in_unit else ""
        yield f"of {found.task}; {low:g} to {high:g}{unit}; {'higher' if found.higher_is_better else 'lower'} is better"
    if kind == "augmentations":
        yield f"for {' and '.join({2: 'images', 3: 'volumes'}[axes] for axes in found.axes)}"
