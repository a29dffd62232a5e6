"""A config that builds on another: ``extends: <name, or path relative to the file>``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any, TypeAlias

from relay.config.checking import holds
from relay.config.renamed import superseded
from relay.config.text import parse, parse_file
from relay.errors import ConfigError, Problem, UserError
from relay.files import expanded

KEY = "extends"
Layer: TypeAlias = tuple[Path, dict[str, Any]]
"""A file, and its own blocks without :data:`KEY`."""


def parsed(path: Path, text: str | None = None) -> dict[str, Any]:
    """One file's own blocks.

    Args:
        text: what to read in the file's place; None for the file.

    Raises:
        ConfigError: it is not YAML, or not a mapping of blocks.
    """
    config = parse_file(path) if text is None else parse(text, str(path))
    if not isinstance(config, dict | None):
        raise ConfigError([Problem(str(path), type(config).__name__, "must be a mapping of blocks")], str(path))
    return config or {}


def chain(path: Path, find: Callable[[str, Path], Path], text: str | None = None) -> list[Layer]:
    """A config and the files it extends, the last of them first.

    Args:
        find: returns the path of a name, as given in a file in this folder.
        text: what to read in the place of ``path``; None for the file.

    Raises:
        ConfigError: a file can't be read, there is no such file, or a file extends itself; names the file at fault.
    """
    layers: list[Layer] = []
    files: list[Path] = []
    while True:
        files.append(path)
        try:
            own = parsed(path, None if layers else text)
            following = _target(own.pop(KEY), files, find) if KEY in own else None
        except ConfigError as error:
            raise ConfigError(in_file(error.problems, path), str(files[0])) if len(files) > 1 else error from error
        layers.insert(0, (path, own))
        if following is None:
            return layers
        path = following


def _target(name: object, files: Sequence[Path], find: Callable[[str, Path], Path]) -> Path:
    """The file that the last of ``files`` extends."""
    if not isinstance(name, str) or not name:
        raise _wrong(name, "must be the name of one config, or its path relative to this file", files[-1])
    try:
        path = find(str(expanded(name)), files[-1].parent)
    except UserError as error:
        allowed = f"{error}, nor beside {files[-1]}" if str(error).startswith("no config") else str(error)
        raise _wrong(name, allowed, files[-1], error.advice()) from error
    if path.resolve() in [file.resolve() for file in files]:
        circle = " → ".join(map(str, [*files, path]))
        raise _wrong(name, f"leads back to a file that extends this one ({circle})", files[-1], "Remove one extends.")
    return path


def _wrong(name: object, allowed: str, file: Path, cure: str | None = None) -> ConfigError:
    return ConfigError([Problem(KEY, name, allowed, cure=cure)], str(file))


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """The files' blocks as one, each file over the one it extends.

    Blocks are merged, anything else is replaced, lists as well. Two kinds of block are replaced as a whole: by an empty
    one (``{}``), and by one with another ``name``, since the options of one strategy or net mean nothing to another.
    """
    return reduce(lambda below, own: _over(superseded(below, own), own), (tree for _, tree in layers), {})


def _over(below: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    return {**below, **{key: _value(below[key], value) if key in below else value for key, value in own.items()}}


def _value(below: Any, own: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(own, dict) and own):
        return own
    another = "name" in below and "name" in own and below["name"] != own["name"]
    return own if another else _over(below, own)


def in_file(problems: Sequence[Problem], file: Path) -> list[Problem]:
    """Problems, each with the file that it is in, unless it says so already."""
    return [p if p.file or p.path == str(file) else replace(p, file=str(file)) for p in problems]


def origin(layers: Sequence[Layer], path: Sequence[object]) -> Path | None:
    """The topmost file that has something at a path; None if none has."""
    return next((file for file, tree in reversed(layers) if holds(tree, path)), None)
