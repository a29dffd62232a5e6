"""The three blocks of a config as layers, merged for each task; every key's origin is kept for messages."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from relay.config import Blocks, dotted, holds


class Layers:
    """Task overrides data set overrides common.

    ``sets`` maps each ``task_id`` to its place in ``all_tasks_datasets``; the caller reports ids that are missing or
    given twice (:attr:`bad_ids`: place, value, what is wrong).
    """

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        self.sets: dict[int, int] = {}
        self.bad_ids: list[tuple[int, object, str]] = []
        self._merged: dict[int, dict[str, Any]] = {}
        for place, block in enumerate(blocks.all_tasks_datasets):
            kwargs = block.get("kwargs")
            task_id = kwargs.get("task_id") if isinstance(kwargs, Mapping) else None
            if not isinstance(task_id, int):
                self.bad_ids.append((place, task_id, "must be given, a whole number"))
            elif task_id in self.sets:
                self.bad_ids.append((place, task_id, f"is taken by all_tasks_datasets[{self.sets[task_id]}]"))
            else:
                self.sets[task_id] = place

    def merged(self, task_id: int) -> dict[str, Any]:
        """One task's block as plain dicts; merged only once, because that takes most of a plan's time."""
        if task_id not in self._merged:
            layers = [{"dataset": self._set(task_id)}, self._task(task_id)]
            try:
                merged = OmegaConf.to_container(OmegaConf.merge(self.blocks.common, *layers))
            except TypeError:  # a list instead of a block; the check of the common block reports it
                merged = copy.deepcopy(dict(self.blocks.common))
            self._merged[task_id] = merged  # type: ignore[assignment]
        return copy.deepcopy(self._merged[task_id])

    def where(self, task_id: int, *prefix: object) -> Callable[[Sequence[object]], str]:
        """A function from a path below ``prefix`` in the merged block to the path in the file the value came from."""
        layers = [
            (f"current_tasks.task_confs.{task_id}", self._task(task_id), 0),
            (f"all_tasks_datasets[{self.sets[task_id]}]", {"dataset": self._set(task_id)}, 1),
        ]

        def origin(path: Sequence[object]) -> str:
            full = [*prefix, *path]
            for name, layer, skip in layers:
                if holds(layer, full):
                    return f"{name}.{dotted(full[skip:])}"
            return f"common.{dotted(full)}"

        return origin

    def _set(self, task_id: int) -> dict[str, Any]:
        return self.blocks.all_tasks_datasets[self.sets[task_id]]

    def _task(self, task_id: int) -> dict[str, Any]:
        return self.blocks.current_tasks.task_confs.get(task_id) or {}
