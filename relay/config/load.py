"""Find a config, put the machine's paths and the command line's overrides over it, resolve its references."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from relay.errors import ConfigError, Problem, UserError, nearest

LOCAL = "paths.local.yaml"
"""Per-machine values, in the current folder, never committed; the same form as a config."""


def locate(name: str) -> tuple[Path, str]:
    """The file behind ``-c`` and its short name (``fundus/relay``), which names the folder of its results.

    Looked for as a file, then as ``configs/<name>.yaml`` in the current folder, then among those installed.

    Raises:
        UserError: there is none; the nearest names are given.
    """
    for path in (Path(name), Path(f"{name}.yaml")):
        if path.is_file():
            return path, _short(path)
    roots = [Path("configs"), *_installed()]
    for root in roots:
        if (root / f"{name}.yaml").is_file():
            return root / f"{name}.yaml", name
    known = sorted({p.relative_to(r).with_suffix("").as_posix() for r in roots for p in r.rglob("*.yaml")})
    near = nearest(name, known)
    raise UserError(
        f"no config '{name}' under ./configs nor among the installed ones",
        (f"Did you mean '{near}'? " if near else "") + f"Known: {', '.join(known)}. Or give a .yaml file's path.",
    )


def _installed() -> list[Path]:
    """The folder of the configs that come with the package."""
    return [Path(str(files("relay.configs")))]


def _short(path: Path) -> str:
    parts = path.with_suffix("").parts
    return "/".join(parts[parts.index("configs") + 1 :]) if "configs" in parts[:-1] else path.stem


def read(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A config file as plain dicts and lists: local paths over it, overrides over both, references resolved.

    Raises:
        ConfigError: not YAML, not a mapping, an override that is not ``key=value``, a reference to nothing.
    """
    layers = [_parse(path)]
    if Path(LOCAL).is_file():
        layers.append(_parse(Path(LOCAL)))
    problems = [Problem(o, o, "must have the form key=value") for o in overrides if "=" not in o]
    if problems:
        raise ConfigError(problems, "the command line")
    try:
        merged = OmegaConf.merge(*layers)
        for override in overrides:
            _override(merged, override)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, IndexError) as error:
        raise ConfigError([Problem(str(path), str(error).splitlines()[0], "must merge")], str(path)) from error
    problems = list(_unresolved(merged))
    if problems:
        raise ConfigError(problems, str(path))
    return OmegaConf.to_container(merged, resolve=True)  # type: ignore[return-value]


def _parse(path: Path) -> DictConfig:
    try:
        config = OmegaConf.load(path)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ConfigError(
            [Problem(str(path), " ".join(str(error).split()), "must be valid YAML")], str(path)
        ) from error
    if not isinstance(config, DictConfig):
        raise ConfigError([Problem(str(path), type(config).__name__, "must be a mapping of blocks")], str(path))
    return config


def _override(config: Any, override: str) -> None:
    """``a.b.c=value``, the value read as YAML in place of what was there; ``a[0]`` steps into a list."""
    key, _, value = override.partition("=")
    plain = OmegaConf.to_container(OmegaConf.create(f"v: {value}"), resolve=False)
    OmegaConf.update(config, key, plain["v"], merge=False)  # type: ignore[index, call-overload]


def _unresolved(node: Any, path: str = "") -> Iterator[Problem]:
    """A problem for each reference (``${...}``) that leads nowhere."""
    keys: Any = range(len(node)) if isinstance(node, ListConfig) else list(node)
    for key in keys:
        here = f"{path}[{key}]" if isinstance(node, ListConfig) else f"{path}.{key}".lstrip(".")
        try:
            child = node[key]
        except OmegaConfBaseException as error:
            raw = OmegaConf.to_container(node, resolve=False)
            yield Problem(here, raw[key], f"can't be resolved: {str(error).splitlines()[0]}")  # type: ignore[index]
            continue
        if isinstance(child, DictConfig | ListConfig) and not OmegaConf.is_missing(node, key):
            yield from _unresolved(child, here)
