"""Plug-ins by name: strategies, memories, data sets and nets, ours and other people's alike.

A name is looked up among the entry points of the installed packages (groups ``relay.strategies``,
``relay.memories``, ``relay.datasets``, ``relay.nets``). A name of the form ``module:Class`` is imported as it stands,
so that a file of one's own works without being installed. Names come from the user's own config, never from a bundle.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from relay.errors import UserError, nearest

Group = Literal["strategies", "memories", "datasets", "nets"]


@cache
def _entries(group: Group) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"relay.{group}")}


def names(group: Group) -> list[str]:
    """The names that are installed in a group, sorted."""
    return sorted(_entries(group))


def find(group: Group, name: str) -> Any:
    """The class behind a name.

    Raises:
        UserError: no such name (the nearest one is given), the plug-in can't be imported, or is none.
    """
    entries = _entries(group)
    if name not in entries and ":" not in name:
        near = nearest(name, list(entries))
        raise UserError(
            f"unknown name '{name}' in relay.{group}",
            f"Known: {', '.join(sorted(entries)) or 'none: is relay installed (pip install -e .)?'}"
            + (f". Did you mean '{near}'?" if near else "")
            + ". A class of your own: module:Class, the module in the current folder.",
        )
    try:
        found = entries[name].load() if name in entries else _import(name)
    except Exception as error:  # whatever other people's code does when it is imported
        raise UserError(f"'{name}' in relay.{group} can't be loaded: {type(error).__name__}: {error}") from error
    if not hasattr(found, "Options"):
        raise UserError(f"'{name}' in relay.{group} is no plug-in: it has no Options", "Derive it from the base class.")
    return found


def _import(name: str) -> Any:
    module, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    return getattr(import_module(module), attribute)
