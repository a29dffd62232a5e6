"""The config that a model was trained with, from the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relay.config import dump
from relay.errors import plain
from relay.exchange import StudyStore
from relay.models.about import About

FILLED_IN = ("in_channels", "num_classes")
"""What a net is given by the data, not by the config."""
HERE = "data"
"""The name of the path that the reader fills in."""
FOUND = """# Recovered from {source}: leg {leg}, {site}, strategy {strategy}.
# A model tells its net, its training and what its images are like. How a site keeps its images (folders,
# tables, names, splits, augmentation) stays at the site. Set paths.{here} to the folder of your images and, if
# their layout is not that of the data set '{name}', its options: relay data check tells what is missing.
"""


def recovered(about: About, source: str, at: StudyStore | None = None) -> str:
    """A config as YAML, with one data set, for the reader to complete.

    Args:
        source: where the model is, for the comment.
        at: where the model was received by someone who has no leg: then all images are test images, and what was
            received is found with ``--received``.
    """
    common, net = _nested(about.config), about.head.model
    common["model"] = {"name": net.name, "kwargs": {k: _text(v) for k, v in net.kwargs.items() if k not in FILLED_IN}}
    options = {key: value for key, value in common.pop("data", {}).items() if value is not None}
    options |= {"class_names": list(about.head.data.classes), "root_path": f"${{paths.{HERE}}}"}
    name = "folder" if about.task == "segmentation" else "table"
    site = {"task_id": about.leg or 1, "task_name": about.site or "here"}
    tasks: dict[str, Any] = {"task_ids": [site["task_id"]]}
    if at is not None:
        site |= {"task_name": at.identity.name, "split": "test"}
        tasks |= {"mode": "deployment", "handoff": {"study": at.study, "key": str(at.home)}}
    tree = {
        "paths": {HERE: HERE},
        "common": {"dataset": {"name": name, "kwargs": options}, **common},
        "all_tasks_datasets": [{"kwargs": site}],
        "current_tasks": tasks,
    }
    told = {
        "source": source,
        "leg": about.leg or "none",
        "site": about.site or "here",
        "strategy": about.strategy,
        "here": HERE,
        "name": name,
    }
    said = FOUND.format(**{key: plain(str(value)) for key, value in told.items()})  # one line each
    return said + dump(tree)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`relay.config.flat`; a text that looks like a reference stays a text."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *way, last = key.split(".")
        place = tree
        for part in way:
            place = place.setdefault(part, {})
        place[last] = _text(value)
    return tree


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _text(item) for key, item in value.items()}
    return value.replace("${", "\\${") if isinstance(value, str) else value
