"""Check that the given settings match those a model was trained with, as far as they affect its predictions."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relay.config import Blocks, check, flat, read_own
from relay.errors import ChangedConfigError
from relay.leg import handover_writer
from relay.plan import RUNTIME_KEYS, SHARED, Layers, Leg, Study

FREE = (
    *RUNTIME_KEYS,
    "train.",
    "strategy.kwargs.",
    "dataset.kwargs.augment",
    "dataset.kwargs.repeats",
    "dataset.kwargs.corrections",
    "model.kwargs.pretrained",
    "pool",
)
"""Keys that affect how a model is trained, but not its predictions or which images it is tested on."""

SITE = "dataset.kwargs.task_name"


def check_own(study: Study, leg: Leg, then: Mapping[str, Any], source: Path) -> None:
    """Check that a leg of this run was trained with these settings.

    You may copy a checkpoint from another site's leg here to test it on the test sets of this config. Then only net
    and images are compared, not the settings specific to each site.

    Args:
        then: its config as recorded (:meth:`relay.plan.Leg.scientific`).
        source: the file with the model.

    Raises:
        ChangedConfigError: it names each setting that differs, and what to add to the command.
    """
    now = _plain(leg.scientific())
    if then.get(SITE, now[SITE]) != now[SITE]:
        then, now = map(_of_every_site, (then, now))
    _compare(study, leg.task_id, then, now, f"{source} was trained with other settings")


def check_outside(study: Study, leg: Leg, then: Mapping[str, Any], source: Path) -> None:
    """Check that the net of another site's model, and how it reads images, match this config.

    Args:
        then: that site's config, as it came with the model.

    Raises:
        ChangedConfigError: as :func:`check_own`.
    """
    now = _plain(handover_writer.scientific(leg))
    _compare(study, leg.task_id, _of_the_net(then), _of_the_net(now), f"{source} was trained with other settings")


def check_member(study: Study, leg: Leg, then: Mapping[str, Any], source: Path) -> None:
    """Check that the net of a model, whatever run it is from, and how it reads images, match this config.

    Args:
        then: its config as recorded, as for :func:`check_own`.

    Raises:
        ChangedConfigError: as :func:`check_own`.
    """
    now = _of_every_site(_plain(leg.scientific()))
    _compare(study, leg.task_id, _of_every_site(then), now, f"{source} was trained with other settings")


def _of_every_site(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are the same at all sites: the net, and how it reads images."""
    shared = {f"dataset.kwargs.{key}" for key in SHARED}
    return {key: value for key, value in config.items() if key.startswith("model.") or key in shared}


def _of_the_net(config: Mapping[str, Any]) -> dict[str, Any]:
    """The travelling settings about the net and how it reads images, under their local names."""
    found = {key: value for key, value in config.items() if key.startswith(("data.", "model."))}
    return {key.replace("data.", "dataset.kwargs.", 1): value for key, value in found.items()}


def check_test_sets(study: Study, given: Path) -> None:
    """Check that each test set, including those no leg trains on, is read as when the run was trained. A test set that
    is new to the run may have any settings.

    Args:
        given: the run's ``config.given.yaml``.

    Raises:
        ChangedConfigError: as :func:`check_own`.
        UserError: the file is damaged.
    """
    again = "Remove it to skip comparing the test sets; the next relay train writes it again."
    then, _ = check(Blocks, read_own(given, again))  # a checkpoint that was copied here has none
    now, _ = check(Blocks, study.given)
    if then is None or now is None:
        return
    before, present = Layers(then), Layers(now)
    for task_id, dataset in study.datasets.items():
        if task_id in before.sets and dataset.accessible():
            said = f"the test set {dataset.options.task_name} was read with other settings when the run started"
            _compare(study, task_id, _reads(before, task_id), _reads(present, task_id), said)


def _reads(layers: Layers, task_id: int) -> dict[str, Any]:
    return _plain(flat({"dataset": layers.merged(task_id)["dataset"]}))


def _compare(study: Study, task_id: int, then: Mapping[str, Any], now: Mapping[str, Any], said: str) -> None:
    keys = [
        key for key in sorted(then.keys() | now.keys()) if not key.startswith(FREE) and then.get(key) != now.get(key)
    ]
    if keys:
        lines = [f"  - {key}: {_told(then, key)} then, {_told(now, key)} now" for key in keys]
        raise ChangedConfigError(f"{said}:\n" + "\n".join(lines), _cure(study, task_id, then, keys))


def _told(side: Mapping[str, Any], key: str) -> str:
    return repr(side[key]) if key in side else "not given"


def _cure(study: Study, task_id: int, then: Mapping[str, Any], keys: list[str]) -> str:
    """What to type, with the paths of the user's own config."""
    blocks, _ = check(Blocks, study.given)
    origin = Layers(blocks).where(task_id) if blocks is not None else ".".join
    paths = {key: origin(key.split(".")) for key in keys}
    add = [shlex.quote(f"{paths[key]}={json.dumps(then[key], separators=(',', ':'))}") for key in keys if key in then]
    drop = [paths[key] for key in keys if key not in then]
    do = [
        *([f"add to the command: {' '.join(add)}"] if add else []),
        *([f"leave out {', '.join(drop)}"] if drop else []),
    ]
    return f"To test with the training settings, {'; and '.join(do)}. Or train with these under a new note (-n)."


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """As it is in a JSON file."""
    return dict(json.loads(json.dumps(dict(config), default=str)))
