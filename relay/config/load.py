"""Find a config, put the machine's paths and the command line's overrides over it, resolve its references."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from relay.config.extends import KEY as EXTENDS, Layer, chain, in_file, merged, origin, parsed
from relay.config.names import fault
from relay.config.renamed import OTHER, superseded
from relay.config.text import as_key, parse
from relay.errors import ConfigError, Problem, UserError, first_line, nearest

LOCAL = "paths.local.yaml"
"""Per-machine values, in the current folder, never committed; the same form as a config."""
KEY = re.compile(r"[^.\[\]\s]+(\.[^.\[\]\s]+|\[[0-9]+\])*")


def locate(name: str) -> tuple[Path, str]:
    """The file behind ``-c`` and its short name (``fundus/relay``), which names the folder of its results.

    Looked for as a file, then as ``configs/<name>.yaml`` in the current folder, then among those installed.

    Raises:
        UserError: there is none; the nearest names are given.
    """
    path = _find(name)
    direct = path in (Path(name), Path(f"{name}.yaml"))
    return path, _short(path) if direct else name


def _find(name: str, folder: Path = Path()) -> Path:
    """The file behind a name: beside ``folder``'s files, else among the named configs.

    Raises:
        UserError: there is none; the nearest names are given.
    """
    roots = _roots()
    try:
        for path in (folder / name, folder / f"{name}.yaml"):
            if path.is_file():
                return path
        for root in roots if not any(fault(part) for part in name.split("/")) else []:
            if (root / f"{name}.yaml").is_file():
                return root / f"{name}.yaml"
        if _there(folder / name):
            raise UserError(f"'{name}' is not a file", "Give the path of a .yaml file, or a name under configs/.")
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise UserError(f"no config '{name[:200]}': {said}", "Give the path of a .yaml file.") from error
    if Path(name).is_absolute():
        raise UserError(f"there is no file '{name}'", "Correct the path, or give a name under configs/.")
    known = sorted({p.relative_to(r).with_suffix("").as_posix() for r in roots for p in r.rglob("*.yaml")})
    near = nearest(name, known)
    raise UserError(
        f"no config '{name}' under ./configs nor among the installed ones",
        (f"Did you mean '{near}'? " if near else "") + f"Known: {', '.join(known)}. Or give a .yaml file's path.",
    )


def _roots() -> list[Path]:
    """The folders of named configs: the user's own, and those that come with the package."""
    return [Path("configs"), Path(str(files("relay.configs")))]


def _short(path: Path) -> str:
    parts = Path(os.path.normpath(path.with_suffix("") if path.suffix == ".yaml" else path)).parts
    parts = parts[parts.index("configs") + 1 :] if "configs" in parts[:-1] else parts[-1:]
    for part in parts:
        if why := fault(part):
            raise UserError(f"the config {path} can't name the folder of its results: '{part}' {why}", "Rename it.")
    return "/".join(parts)


def read(path: Path, overrides: Sequence[str] = (), text: str | None = None) -> dict[str, Any]:
    """A config file as plain dicts and lists: over what it extends, local paths over it, overrides over both,
    references resolved.

    Args:
        text: what to read in the place of ``path``, as it may be saved there; None for the file.

    Raises:
        ConfigError: not YAML, a value with two meanings, not a mapping, an override that is not ``key=value``, a
            reference to nothing, nothing to extend.
    """
    layers: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for found in (partial(_extended, path, text), _local):
        try:
            layers.append(merged(found()))
        except ConfigError as error:
            problems += error.problems
    changes = []
    for override in overrides:
        try:
            changes.append(_parsed(override))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems, str(path))
    try:
        plain: Any = OmegaConf.to_container(OmegaConf.merge(superseded(*layers), layers[1]), resolve=False)
        for (keys, value), override in zip(changes, overrides, strict=True):
            problems += _put(plain, keys, value, override)
        config = OmegaConf.create(plain)
        problems += _unresolved(config)
        if problems:
            raise ConfigError(problems, str(path))
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
    except (OmegaConfBaseException, ValueError, TypeError, RecursionError, AssertionError) as error:
        first = first_line(error)
        allowed = "can't be put together: are a block and a list mixed up, or is a ${reference} not closed?"
        raise ConfigError([Problem(str(path), first, allowed)], str(path)) from error


def changed(block: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A block with ``key=value`` over it.

    Raises:
        ConfigError: an override can't be read, or leads nowhere.
    """
    tree = copy.deepcopy(dict(block))
    for override in overrides:
        if problems := _put(tree, *_parsed(override), override):
            raise ConfigError(problems, "the command line")
    try:
        OmegaConf.create(tree)
    except (OmegaConfBaseException, ValueError, RecursionError) as error:
        raise ConfigError(
            [Problem("a ${reference}", first_line(error), "can't be read")], "the command line"
        ) from error
    return tree


def _there(path: Path) -> bool:
    """Whether something is there, be it a broken link: it is read, or refused, but not passed over."""
    return os.path.lexists(path)


def _extended(path: Path, text: str | None) -> list[Layer]:
    """The config's own file, and before it those it extends."""
    return chain(path, _find, text)


def _local() -> list[Layer]:
    """The machine's own values, if there are any."""
    local = Path(LOCAL)
    if not _there(local):
        return []
    try:
        own = parsed(local)
    except ConfigError as error:
        raise ConfigError(in_file(error.problems, local), LOCAL) from error
    if EXTENDS in own:
        allowed = "belongs in a config: this file overrides every config"
        raise ConfigError([Problem(EXTENDS, own[EXTENDS], allowed, cure="Remove it.", file=LOCAL)], LOCAL)
    return [(local, own)]


def with_files(
    problems: Sequence[Problem], path: Path, overrides: Sequence[str] = (), text: str | None = None
) -> list[Problem]:
    """Problems of a config, each with the file that its value is in where that is not ``path`` itself; arguments as of
    :func:`read`."""
    layers = [*_extended(path, text), *_local()]
    given = [_keys(override.partition("=")[0]) for override in overrides]

    def named(problem: Problem) -> Problem:
        keys = _keys(problem.path)
        file = None if any(keys[: len(k)] == k for k in given) else origin(layers, keys)
        return problem if file in (None, path) else in_file([problem], file)[0]

    return [named(problem) for problem in problems]


def _keys(path: str) -> list[str | int]:
    """``a.b[0].c`` as keys and places."""
    return [as_key(word) for word in re.findall(r"[^.\[\]]+", path)]


def value_of(text: str, name: str) -> Any:
    """The value in ``name=text``, read as YAML.

    Raises:
        ConfigError: it can't be read, or has two meanings.
    """
    found = parse(f"v: {text}", name)
    if not isinstance(found, dict) or list(found) != ["v"]:
        raise ConfigError([Problem(name, text, "must be one value: quote it")], "the command line")
    return found["v"]


def _parsed(override: str) -> tuple[list[str | int], Any]:
    """``a.b[0].c=value`` as the keys and the value."""
    key, equals, text = override.partition("=")
    if key.partition(".")[0] == EXTENDS:
        allowed = "can't be overridden: write a config that extends another, or give another with -c"
        raise ConfigError([Problem(key, text, allowed)], "the command line")
    if not equals or not KEY.fullmatch(key):
        allowed = "must have the form key=value, such as common.train.batch_size=8"
        raise ConfigError([Problem(override, override, allowed)], "the command line")
    try:
        value = value_of(text, key)
    except ConfigError as error:
        told = [Problem(key, text, _without_line(p.allowed)) for p in error.problems]
        raise ConfigError(told, "the command line") from error
    return _keys(key), value


def _without_line(text: str) -> str:
    return re.sub(r"^line \d+(, column \d+)?: ", "", text)


def _put(tree: Any, keys: Sequence[str | int], value: Any, override: str) -> list[Problem]:
    """Put an override's value in place of what was there; blocks on the way are made."""
    *parents, last = keys
    for key in parents:
        if isinstance(tree, dict):
            if tree.get(key) is None:
                tree[key] = {}
            tree = tree[key]
        elif isinstance(tree, list) and isinstance(key, int) and key < len(tree):
            tree = tree[key]
        else:
            return [Problem(override, override, f"leads nowhere: there is no '{key}' to step into")]
    if isinstance(tree, dict) or (isinstance(tree, list) and isinstance(last, int) and last < len(tree)):
        tree[last] = value  # type: ignore[index]
        if isinstance(tree, dict):
            tree.pop(OTHER.get(str(last)), None)
        return []
    return [Problem(override, override, f"leads nowhere: there is no '{last}' to set")]


def _unresolved(node: Any, path: str = "") -> Iterator[Problem]:
    """A problem for each reference (``${...}``) that leads nowhere."""
    keys: Any = range(len(node)) if isinstance(node, ListConfig) else list(node)
    for key in keys:
        here = f"{path}[{key}]" if isinstance(node, ListConfig) else f"{path}.{key}".lstrip(".")
        try:
            child = node[key]
        except OmegaConfBaseException as error:
            raw = OmegaConf.to_container(node, resolve=False)
            yield Problem(here, raw[key], f"can't be resolved: {first_line(error)}")  # type: ignore[index]
            continue
        if isinstance(child, DictConfig | ListConfig) and not OmegaConf.is_missing(node, key):
            yield from _unresolved(child, here)
