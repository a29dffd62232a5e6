"""``model.json``: everything that is done to an image outside the graph, and what the model is.

README.md of an export (``relay/export/README.md``) says what each key means; :mod:`relay.export.standalone` does it.
"""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

import relay
from relay.config import Named, Predict
from relay.data import DatasetOptions, spec
from relay.export.graph import Exported
from relay.export.standalone import AFTER, STEPS
from relay.leg import OVERLAP, handover_writer
from relay.plan import Study
from relay.postprocess import steps_of
from relay.predict import Model
from relay.tasks import Task
from relay.trust import canonical, digest

FORMAT = 1
ACTIVATIONS = {"categorical": "softmax", "bernoulli": "sigmoid", "gaussian": "none"}
"""What makes answers of logits, by the task's likelihood."""
SIGMA, LEAST_WEIGHT = 0.125, 1e-3
"""Of the Gaussian weights of windows, in sides of a window; and the smallest of them: monai's own numbers."""


def recipe(
    options: DatasetOptions, how: Predict, graph: Exported, files: int, lineage: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of ``model.json``, but for the model's file.

    Args:
        files: how many files an image is.
        lineage: of :func:`lineage_of`.
    """
    size = options.patch_size
    window = {"overlap": OVERLAP, "weights": "gaussian", "sigma": SIGMA, "least_weight": LEAST_WEIGHT}
    return {
        "format": FORMAT,
        "task": options.task,
        "classes": list(options.names),
        "input": {
            "name": "image",
            "channels": options.channels,
            "axes": len(graph.least),
            "stored": np.dtype(options.image_type).name,
            "values": [0, 255] if options.image_type is np.uint8 else [-1, 1],
            **graph.takes(),
        },
        "output": {"names": ["logits", answer_name(options.does)], "activation": ACTIVATIONS[options.does.likelihood]},
        "read": {"files": files, "one_file": options.one_file},
        "steps": None if options.steps is None else spec(options.steps),
        "slices": options.slice_axis,
        "resize": options.img_size,
        "windows": None if size is None else {"size": list(size), **window},
        "mirror": how.mirror,
        "postprocess": _after(how.postprocess),
        "lineage": dict(lineage),
    }


def answer_name(task: Task) -> str:
    """What the second output is."""
    return "values" if task.likelihood == "gaussian" else "probabilities"


def _after(chosen: Sequence[Named]) -> list[dict[str, Any]]:
    made = zip(chosen, steps_of(chosen), strict=True)
    return [{"name": named.name, "kwargs": _plain(dataclasses.asdict(step))} for named, step in made]


def _plain(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in kwargs.items()}


def lineage_of(model: Model, study: Study) -> dict[str, Any]:
    """Where a model comes from: its study and leg, and the digests of its weights and of its config."""
    handoff = study.handoff
    return {
        "study": handoff.study if handoff else study.name,
        "leg": model.number,
        "site": model.site,
        "model": model.kind,
        "strategy": study.strategy,
        "weights": model.digest,
        "config": digest(canonical(handover_writer.scientific(model.leg))),
        "relay": relay.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def plugins(options: DatasetOptions, after: Sequence[Named]) -> list[str]:
    """Steps and post-processing that only this hospital's own code can do."""
    steps = [named.name for named in options.steps or () if named.name not in STEPS]
    return steps + [named.name for named in after if named.name not in AFTER]
