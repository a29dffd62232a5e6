"""Options that used to have another name, as in the published configs; the old name is still read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from relay.errors import Problem

RENAMED = {"num_replica": "repeats", "out_range": "intensity_range"}
"""For a data set's ``kwargs``: the old name and the current one."""
OTHER = RENAMED | {new: old for old, new in RENAMED.items()}
"""Each name's other one."""


def rename(config: Any) -> tuple[dict[str, str], list[Problem]]:
    """Rename a config's options to their current names, in place.

    Returns:
        The path of each such key → its path in the file, and a problem for each that is given under both names.
    """
    moved: dict[str, str] = {}
    problems = []
    for path, kwargs in _datasets(config):
        for old in RENAMED.keys() & kwargs.keys():
            new = RENAMED[old]
            if new in kwargs:
                allowed, cure = f"is the old name of {new}, which is also given", f"Remove {old}."
                problems.append(Problem(f"{path}.{old}", kwargs.pop(old), allowed, cure=cure))
            else:
                kwargs[new] = kwargs.pop(old)
                moved[f"{path}.{new}"] = f"{path}.{old}"
    return moved, problems


def superseded(below: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What lies below, without the options that its overlay gives under their other name."""
    kept = {key: value for key, value in below.items() if key not in OTHER or OTHER[key] not in own}
    both = [key for key in kept if isinstance(kept[key], dict) and isinstance(own.get(key), dict)]
    return kept | {key: superseded(kept[key], own[key]) for key in both}


def _datasets(config: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The ``kwargs`` of every data set in a config, which may be any YAML value."""
    found = [("common.dataset", _at(config, "common", "dataset"))]
    sets, tasks = _at(config, "all_tasks_datasets"), _at(config, "current_tasks", "task_confs")
    found += [(f"all_tasks_datasets[{i}]", layer) for i, layer in enumerate(sets if isinstance(sets, list) else ())]
    if isinstance(tasks, dict):
        found += [(f"current_tasks.task_confs.{key}.dataset", _at(layer, "dataset")) for key, layer in tasks.items()]
    for path, layer in found:
        kwargs = _at(layer, "kwargs")
        if isinstance(kwargs, dict):
            yield f"{path}.kwargs", kwargs


def _at(tree: Any, *keys: str) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
