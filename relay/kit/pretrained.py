"""The pretrained weights that the configs in a kit name: local files, which a machine without a network lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from relay.config import parse_file, read
from relay.errors import UserError

KEY = "pretrained"
"""The option of every net that names a file of weights."""


def weights_of(added: Sequence[Path]) -> list[Path]:
    """The files of weights that configs among these files and folders name, each once, without those already there.

    Raises:
        UserError: a config can't be read, or names a file that is not here.
    """
    there = {path.resolve() for path in added}
    found: dict[Path, None] = {}
    for config in _configs(added):
        for named in _named(read(config)):
            path = Path(named)
            if not path.is_file():
                raise UserError(
                    f"{config} names the pretrained weights {named}, which are not here",
                    "Run the command in the folder that the path starts from, put the file there, or correct the path.",
                )
            whole = path.resolve()
            if not {whole, *whole.parents} & there:
                found[path] = None
    return list(found)


def _configs(added: Sequence[Path]) -> Iterator[Path]:
    """The configs among files and folders; other YAML files, such as a policy, are passed over."""
    for path in added:
        for file in sorted(path.rglob("*.yaml")) if path.is_dir() else [path] if path.suffix == ".yaml" else []:
            content = parse_file(file)
            if isinstance(content, dict) and {"common", "extends"} & content.keys():
                yield file


def _named(tree: Any) -> Iterator[str]:
    """Every file of weights that a config names, wherever it does."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key == KEY and isinstance(value, str):
                yield value
            yield from _named(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _named(value)
