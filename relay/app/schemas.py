"""What each block of a config may hold: from a path in it to the keys that are allowed there, as ``relay list`` and
docs/reference/config.md describe them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from relay import registry
from relay.config import Blocks, Option, TaskConf, describe, summary
from relay.errors import UserError

NAMED: dict[str, registry.Kind] = {
    "dataset": "datasets",
    "all_tasks_datasets": "datasets",
    "strategy": "strategies",
    "model": "nets",
    "loss": "losses",
    "optimizer": "optimizers",
    "scheduler": "schedulers",
    "postprocess": "postprocessing",
    "steps": "steps",
    "memory": "memories",
}
"""The keys whose blocks have a ``name``, and ``kwargs`` that depend on it."""
A_NAME = "a name: "
"""How the kind of a name begins; it may also be ``module:Name``."""
EXTENDS = Option(
    "extends",
    "text",
    "null",
    "another config that this one builds on, by its name or its path seen from this file: what is not given here is "
    "taken from there.",
)
Keys = Sequence[str | int]
"""A path: the keys of blocks as text, the places in lists as numbers."""


@dataclass(frozen=True)
class Block:
    """What is known of a block: its options, and what it is for."""

    options: Sequence[Option] = ()
    about: str = ""

    def option(self, key: object) -> Option | None:
        """One of its options; None if it has no such key."""
        return next((each for each in self.options if each.name == key), None)


def block_at(keys: tuple[str | int, ...], blocks: Any) -> Block:
    """The block at a path of keys and places in lists; one without options where any key may be.

    Args:
        blocks: the whole config as plain values, over what it extends: what a plug-in takes depends on its name.
    """
    if keys[-1:] == ("augment",):
        return Block([replace(_name("augmentations", None), name="train", default="none")])
    kind = _kind(keys)
    if kind is not None:
        found = _found(kind, name_at(keys, blocks))
        return Block([_name(kind, found), Option("kwargs", "mapping", "{}", "its options")])
    if keys and keys[-1] == "kwargs" and (kind := _kind(keys[:-1])):
        found = _found(kind, name_at(keys[:-1], blocks))
        schema = registry.options_of(kind, found) if found is not None else None
        return Block(_described(schema), summary(found)) if schema else Block()
    schema = _schema(keys)
    if schema is None:
        above = block_at(keys[:-1], blocks).option(keys[-1])
        return Block(about=above.meaning if above else "")
    return Block([*([EXTENDS] if not keys else []), *_described(schema)], summary(schema))


def name_at(keys: Keys, blocks: Any) -> str | None:
    """The name in a named block: its own; else that of ``common``, which it is laid over."""
    for path in (keys, _below(keys)):
        block = _dig(blocks, path)
        name = block.get("name") if isinstance(block, dict) else block
        if isinstance(name, str):
            return name
    return None


def common_has(keys: Keys, blocks: Any) -> bool:
    """Whether a path above ``common`` takes its value from it where it is left out."""
    below = _below(keys)
    return below != keys and _dig(blocks, below) is not None


def _below(keys: Keys) -> Keys:
    """The path in ``common`` of what a site or a leg overrides."""
    if keys[:1] == ("all_tasks_datasets",):
        return ("common", "dataset", *keys[2:])
    if keys[:2] == ("current_tasks", "task_confs"):
        return ("common", *keys[3:])
    return keys


def _dig(tree: Any, keys: Keys) -> Any:
    for key in keys:
        if isinstance(tree, dict):
            tree = {str(name): value for name, value in tree.items()}.get(str(key))
        elif isinstance(tree, list) and isinstance(key, int) and key < len(tree):
            tree = tree[key]
        else:
            return None
    return tree


def _kind(keys: Keys) -> registry.Kind | None:
    """The kind of plug-in that a path names: ``common.model``, ``….steps[0]``, ``….augment.train``."""
    words = [key for key in keys if isinstance(key, str)]
    if words[-2:-1] == ["augment"]:
        return "augmentations"
    last = words[-1] if words else ""
    listed = last in ("all_tasks_datasets", "steps", "postprocess")
    return NAMED.get(last) if listed == isinstance(keys[-1:][0] if keys else "", int) else None


@cache
def _described(schema: type) -> Sequence[Option]:
    return tuple(describe(schema))


def _found(kind: registry.Kind, name: str | None) -> Any:
    """The plug-in; None if there is none, which the check of the whole config says."""
    try:
        return None if name is None else registry.find(kind, name)
    except UserError:
        return None


def _name(kind: registry.Kind, found: Any) -> Option:
    said = summary(found) if found is not None else ""
    known = tuple(registry.names(kind))
    return Option("name", f"{A_NAME}{', '.join(known)}; or `module:Name`", None, said, known)


def _schema(keys: Keys) -> type | None:
    """The options class of a block without a name, such as ``common.train``; None if any key may be in it."""
    if keys[:2] == ("current_tasks", "task_confs") and len(keys) > 2:
        keys = _below(keys)
    schema: Any = Blocks
    for key in keys:
        if not dataclasses.is_dataclass(schema):
            return None
        hint = TaskConf if key == "common" and schema is Blocks else typing.get_type_hints(schema).get(str(key))
        arms = [arm for arm in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(arm)]
        schema = arms[0] if arms else None
    return schema if isinstance(schema, type) else None
