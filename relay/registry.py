"""One registry for everything that a config or a command names: built-in plug-ins and other people's.

A name is looked up among the entry points of the installed packages, in the group ``relay.<kind>``; the kinds are
:data:`KINDS`. ``library:Name`` is made from what a library has, such as ``monai:UNet``, by the entry point
``<kind>.<library>`` of the group ``relay.libraries``. Any other ``module:Name`` is imported directly, so that a file of
your own in the current folder works without being installed. Names come from the user's own config or command line,
never from a bundle.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, get_args

from relay.errors import RelayError, UserError, nearest

Kind = Literal[
    "strategies",
    "memories",
    "datasets",
    "steps",
    "nets",
    "losses",
    "optimizers",
    "schedulers",
    "metrics",
    "augmentations",
    "postprocessing",
    "report_sections",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
NEEDS: dict[Kind, str] = {
    "strategies": "Options",
    "memories": "Options",
    "datasets": "Options",
    "steps": "process",
    "nets": "Options",
    "losses": "build",
    "optimizers": "build",
    "schedulers": "build",
    "metrics": "measure",
    "augmentations": "apply",
    "postprocessing": "clean",
    "report_sections": "__call__",
}
"""What a plug-in of each kind must have; its base class does."""
_theirs: set[str] = set()
"""Top-level modules of the plug-ins found outside relay."""


@cache
def _installed() -> Any:
    """All kinds at once, because each search takes a while."""
    return entry_points()


@cache
def _libraries() -> dict[str, EntryPoint]:
    """Libraries whose things are plug-ins as they are: ``nets.monai`` makes one of ``monai:UNet``."""
    return {entry.name: entry for entry in _installed().select(group="relay.libraries")}


def _kinds_of(library: str) -> str:
    """The kinds whose plug-ins may come from a library as they are: ``augmentations, nets``."""
    kinds = (entry.partition(".") for entry in _libraries())
    return ", ".join(sorted(kind for kind, _, owner in kinds if owner == library))


@cache
def _entries(kind: Kind) -> dict[str, list[EntryPoint]]:
    """By name; a name has several where several packages claim it."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in _installed().select(group=f"relay.{kind}"):
        found.setdefault(entry.name, []).append(entry)
    return found


def names(kind: Kind) -> list[str]:
    """The names that are installed, sorted."""
    return sorted(_entries(kind))


def package(kind: Kind, name: str) -> str:
    """The package that an installed name comes from, with its version; all of them where several claim the name."""
    dists = [entry.dist for entry in _entries(kind)[name]]
    return ", ".join(sorted({f"{dist.name} {dist.version}" if dist else "unknown" for dist in dists}))


def find(kind: Kind, name: str) -> Any:
    """The class (of a report section: the function) behind a name.

    Raises:
        UserError: no such name (the nearest one is given), several packages claim it, the plug-in can't be imported, is
            none, or lacks a method.
    """
    entries = _entries(kind)
    if name not in entries and (library := _libraries().get(f"{kind}.{name.partition(':')[0]}")):
        return library.load()(name.partition(":")[2])
    if name not in entries and ":" not in name:
        near = nearest(name, list(entries))
        raise UserError(
            f"unknown name '{name}' in relay.{kind}",
            f"Known: {', '.join(sorted(entries)) or 'none; is relay installed (pip install -e .)?'}."
            + (f" Did you mean '{near}'?" if near else "")
            + " Your own: module:Name, the module in the current folder.",
        )
    if len(entries.get(name, ())) > 1:
        raise UserError(
            f"'{name}' in relay.{kind} is claimed by several packages: {package(kind, name)}",
            "Give yours another name in its pyproject.toml, or uninstall one of them.",
        )
    try:
        found = entries[name][0].load() if name in entries else _import(name)
    except Exception as error:  # whatever other people's code does when it is imported
        advice = _where(error)
        if isinstance(error, ModuleNotFoundError) and error.name == name.partition(":")[0]:
            advice = f"Run the command in the folder of {error.name}.py ({Path.cwd()} has none), or install it."
        elif isinstance(error, AttributeError) and (others := _kinds_of(name.partition(":")[0])):
            advice = f"{name.partition(':')[0]}: is for {others} only. Known: {', '.join(sorted(entries))}."
        raise UserError(f"'{name}' in relay.{kind} can't be loaded: {_said(error)}", advice) from error
    if not callable(found) or not hasattr(found, NEEDS[kind]):
        raise UserError(f"'{name}' in relay.{kind} is no plug-in: it has no {NEEDS[kind]}", _cure(kind))
    _check_options(kind, name, found)
    _check_methods(kind, name, found)
    if (top := _top(getattr(found, "__module__", ""))) != "relay":
        _theirs.add(top)
    return found


def find_all(kind: Kind, more: Sequence[str] = ()) -> dict[str, Any]:
    """Everything installed of a kind, by name; then ``more``: names of the form ``module:Name``.

    Raises:
        UserError: as :func:`find`.
    """
    return {name: find(kind, name) for name in dict.fromkeys([*names(kind), *more])}


def options_of(kind: Kind, found: Any) -> type | None:
    """The ``@options`` class that declares what a plug-in takes; None if its kind takes nothing."""
    declared = getattr(found, "Options", None)
    whole = {"build": found, "process": found, "clean": found}
    schema = {**whole, "Options": declared, "apply": declared}.get(NEEDS[kind])
    return schema if isinstance(schema, type) else None


def fault(error: Exception) -> UserError | None:
    """The user's error behind an exception from a plug-in outside relay; None if it came from elsewhere."""
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [(frame, line) for frame, line in frames if _top(frame.f_globals.get("__name__", "")) in _theirs]
    if not own:
        return None
    frame, line = own[-1]
    where = f"line {line} of {frame.f_code.co_filename}"
    return UserError(f"{frame.f_globals['__name__']} failed: {_said(error)}", f"Correct it: it stopped in {where}.")


@contextmanager
def blamed(what: str, plugin: Any) -> Iterator[None]:
    """Turn what a plug-in from outside relay raises into a user's error that quotes Python's message and the line.

    Args:
        what: names the plug-in in the message, such as ``metric 'iou'``.
    """
    try:
        yield
    except RelayError:
        raise
    except Exception as error:
        module = getattr(plugin, "__module__", type(plugin).__module__)
        if _top(module) not in _theirs:
            raise  # a fault of ours
        known = fault(error)
        advice = known.advice() if known else f"Correct {module}."
        raise UserError(f"{what} failed: {_said(error)}", advice) from error


def _top(module: str) -> str:
    return module.split(".")[0]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _where(error: Exception) -> str:
    """The cure of a failed import: the line of the plug-in that failed, where it came so far."""
    near = nearest(error.name, dir(error.obj)) if isinstance(error, AttributeError) and error.name else None
    own = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__ and f.filename[0] != "<"]
    if not own or "importlib" in own[-1].filename:
        return f"Did you mean '{near}'?" if near else "Correct it, or remove its package."
    return f"Correct it: it stopped in line {own[-1].lineno} of {own[-1].filename}."


def _cure(kind: Kind) -> str:
    return "Write a function of the run." if kind == "report_sections" else "Derive it from the base class."


def _check_methods(kind: Kind, name: str, found: Any) -> None:
    """What its base class leaves open must be there before any time is spent.

    Raises:
        UserError: it is not.
    """
    missing = [each for each in dir(found) if getattr(getattr(found, each, None), "__isabstractmethod__", False)]
    if missing:
        raise UserError(
            f"'{name}' in relay.{kind} has no method {' or '.join(missing)}", "Write it; see its base class."
        )


def _check_options(kind: Kind, name: str, found: Any) -> None:
    """Check that a class is declared with ``@options``: otherwise the keys of its base would be used, not its own.

    Raises:
        UserError: it isn't.
    """
    schema = options_of(kind, found)
    if schema is not None and inspect.get_annotations(schema) and "__dataclass_fields__" not in vars(schema):
        raise UserError(
            f"'{name}' in relay.{kind}: the options of {schema.__name__} are not declared",
            f"Put @options (from relay.config) above the class {schema.__name__}.",
        )


def _import(name: str) -> Any:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ValueError("it must have the form module:Name")
    if "" not in sys.path:
        sys.path.insert(0, "")
    return getattr(import_module(module), attribute)
