"""Translate configs written for the published RelayLearning code (Bo et al. 2023, 10.1038/s41746-023-00934-4).

Plain data in, plain data out, before the check. This only changes configs that are recognisably theirs:
``model.name: doublegan`` (a solver beside two GANs) or ``strategy.name: baseline`` in ``common``. It translates keys
with a counterpart, lists those without one and the reason, and leaves all others for the check to refuse.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from relay.config.renamed import rename
from relay.errors import Problem, nearest

Block = dict[str, Any]

GENERATORS = """
    img_resolution img_channels label_num_classes z_img_dim z_label_dim c_img_dim c_label_dim w_img_dim w_label_dim
    G_img_kwargs G_label_kwargs D_img_kwargs D_label_kwargs optimizer_conf.G optimizer_conf.D label_noise
    style_mixing_prob G_reg_interval D_reg_interval pl_weight r1_gamma aug_conf_img ada_target_img aug_p_range_img
    aug_conf_label ada_target_label aug_p_range_label ada_interval ada_kimg
"""
DRAWING = "replay_w_truncation replay_keep_batch_size replay_c_select_mode replay_post_aug task_merge_replay"
GANS = {
    **dict.fromkeys(GENERATORS.split(), "a memory without a GAN represents earlier sites"),
    **dict.fromkeys(DRAWING.split(), "samples from the memory replace part of each batch"),
    "num_stages": "a leg replays from its first step and averages once, at its end",
}
UNUSED = GANS | {
    "rgb_inputs": "in_channels already says so",
    "bilinear": "the decoder's upsampling can't be configured",
    "nl": "the activations can't be configured",
    "pretrain": "nothing is ever downloaded; set model.kwargs.pretrained to a file, else training starts from scratch",
    "checkpoint.resume": "run the same command again to resume",
    "checkpoint.load": "a deployment starts from what was received",
}
"""Their keys without a counterpart, and the reason."""

DEFAULTS: Block = {
    "solver_name": "U-Net",
    "replay_data_ratio": "half",
    "solver_distil_weight": 0.0,
    "distil_tau": 2.0,
    "weighted_merge": False,
    "num_stages": 2,
}
"""What doublegan does by default."""
ALLOWED = {"replay_data_ratio": ("half", "even"), "weighted_merge": (True, False), "num_stages": (1, 2, 3)}
KNOWN = sorted({*GANS, *DEFAULTS, "task", "solver_kwargs", "optimizer_conf", "optimizer_conf.M", "pretrained"})

NORMS = {"bn": "batch", "in": "instance", "gn": "group"}
CONV = {"backbone": "plain", "features": [64, 128, 256, 512, 1024]}
DEPLOY = "run here as a simulation of one leg; for a hospital's own leg, add mode: deployment and handoff"


@dataclass
class Reading:
    """A config as this toolkit reads it.

    Attributes:
        config: translated; or as given, if it is not one of theirs.
        translated: an option here → their keys that it comes from.
        unused: the reason → their keys that are not used.
        problems: what can't be translated.
        moved: a key's path in ``config`` → its path in the file.
    """

    config: Block
    translated: dict[str, list[str]] = field(default_factory=dict)
    unused: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)

    def in_file(self, problem: Problem) -> Problem:
        """The same problem, with the path of its key in the file."""
        above = [here for here in self.moved if f"{problem.path}.".startswith((f"{here}.", f"{here}["))]
        here = max(above, key=len, default="")
        return replace(problem, path=self.moved[here] + problem.path[len(here) :]) if above else problem


def translate(given: Mapping[str, Any]) -> Reading:
    """Translate a config, if it is one of theirs; one of ours is returned unchanged, except for old names."""
    read = Reading(copy.deepcopy(dict(given)))
    read.moved, read.problems = rename(read.config)
    common = _block(read.config, "common")
    gans = _block(common, "model").get("name") == "doublegan"
    if gans or _block(common, "strategy").get("name") == "baseline":
        _Translator(read, common, gans).all()
    return read


def _block(tree: Any, *path: str) -> Block:
    """The mapping at a path; if there is none, an empty, detached one."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}


class _Translator:
    """Translates one config in place, layer by layer: ``common``, then each of ``task_confs``.

    A layer may be any YAML value: anything that is not a mapping is left for the check to refuse.
    """

    def __init__(self, read: Reading, common: Block, gans: bool) -> None:
        self.read, self.common, self.gans = read, common, gans
        self.sets = read.config.get("all_tasks_datasets")
        self.mode = _block(read.config, "current_tasks").get("mode")
        self.relay = _block(common, "strategy").get("name") == "relay"
        self.base = {**DEFAULTS, **_block(common, "model", "kwargs")}
        self.silent = DEFAULTS.keys() - _block(common, "model", "kwargs").keys()

    def all(self) -> None:
        """Translate what concerns the whole config, then every layer."""
        self.strategy()
        tasks = _block(self.read.config, "current_tasks", "task_confs")
        for path, layer in [("common", self.common), *((f"current_tasks.task_confs.{k}", v) for k, v in tasks.items())]:
            if self.gans:
                self.doublegan(path, layer)
            self.net(path, layer)
            self.schedule(path, layer)
            self.checkpoint(layer)
        if self.gans and self.mode is None and isinstance(self.sets, list) and len(self.sets) == 1:
            self.say("current_tasks", DEPLOY)

    # -- what is reported ----------------------------------------------------------------------------------------------

    def say(self, key: str, here: str) -> None:
        keys = self.read.translated.setdefault(here, [])
        keys += [key] if key not in keys else []

    def drop(self, key: str) -> None:
        keys = self.read.unused.setdefault(UNUSED[key], [])
        keys += [key] if key not in keys else []

    def problem(self, path: str, value: object, allowed: str, near: str | None = None) -> None:
        self.read.problems.append(self.read.in_file(Problem(path, value, allowed, near)))

    def put(self, path: str, layer: Any, here: str, value: Any, key: str) -> None:
        """Set ``here`` in a layer to ``value``, because of ``key``; a value that the user set there stays."""
        *parents, last = here.split(".")
        for parent in parents:
            layer = layer.setdefault(parent, {}) if isinstance(layer, dict) else None
        if isinstance(layer, dict) and last not in layer:
            layer[last] = value
            self.read.moved[f"{path}.{here}"] = f"{path}.model.kwargs.{key}"
            default = path == "common" and key in self.silent
            self.say(f"{key}, by default" if default else key, here if isinstance(value, dict) else f"{here}: {value}")

    # -- the parts ---------------------------------------------------------------------------------------------------

    def strategy(self) -> None:
        """``baseline`` corresponds to three strategies here."""
        chosen, train = _block(self.common, "strategy"), _block(self.common, "train")
        kwargs = _block(chosen, "kwargs")
        if kwargs.pop("rgb_inputs", None) is not None:
            self.drop("rgb_inputs")
        if chosen.get("name") != "baseline":
            return
        joint = train.pop("joint_training", None) is True
        fresh = kwargs.pop("load_state_dict_from_previous_task", None) is False
        chosen["name"] = "joint" if joint else "local" if fresh else "sequential"
        why = "train.joint_training" if joint else "load_state_dict_from_previous_task" if fresh else None
        self.say("baseline" + (f" with {why}" if why else ""), f"strategy.name: {chosen['name']}")
        if joint and isinstance(train.get("num_mimgs"), int | float) and isinstance(self.sets, list) and self.sets:
            train["num_mimgs"] /= len(self.sets)
            self.say("train.num_mimgs", f"train.num_mimgs: {train['num_mimgs']:g}; joint counts for each site")

    def doublegan(self, path: str, layer: Any) -> None:
        """Its solver becomes the model; the purpose of its GANs becomes options of the strategy."""
        model = _block(layer, "model")
        theirs = model.get("kwargs", {})
        if not isinstance(theirs, dict):
            return  # the check reports it
        self.solver(path, model, theirs)
        optimizers = _block(theirs, "optimizer_conf")
        if "M" in optimizers:
            self.put(path, layer, "train.optimizer", optimizers["M"], "optimizer_conf.M")
        if self.relay:
            self.replay(path, layer, self.base if layer is self.common else theirs)
        for key, value in {**theirs, **{f"optimizer_conf.{k}": v for k, v in optimizers.items()}}.items():
            at = f"{path}.model.kwargs.{key}"
            if key in GANS:
                self.drop(key)
            elif key not in KNOWN:
                self.problem(at, value, "is not a key of doublegan", nearest(str(key), KNOWN))
            if key in ALLOWED and value not in ALLOWED[key]:
                self.problem(at, value, f"must be one of {', '.join(map(str, ALLOWED[key]))}")

    def solver(self, path: str, model: Block, theirs: Block) -> None:
        """Translate the net and its keys."""
        at = f"{path}.model.kwargs"
        solver = theirs.get("solver_kwargs", {})
        if not isinstance(solver, dict):
            self.problem(f"{at}.solver_kwargs", solver, "must be a mapping")
            solver = {}
        if theirs:
            model["kwargs"] = {**{k: theirs[k] for k in ("pretrained",) if k in theirs}, **solver}
            self.read.moved |= {f"{at}.{k}": f"{at}.solver_kwargs.{k}" for k in solver}
        if model.get("name") == "doublegan":
            model["name"] = self.base["solver_name"]
            self.read.moved[f"{path}.model.name"] = f"{at}.solver_name"
            self.say(
                "doublegan", f"model.name: {model['name']}, its solver; strategy.kwargs.memory instead of its GANs"
            )

    def replay(self, path: str, layer: Any, said: Block) -> None:
        """The options of the strategy ``relay`` that this layer sets."""
        told: Block = {}
        if "replay_data_ratio" in said:
            told["replay"] = 0.5, "replay_data_ratio"
        if "solver_distil_weight" in said:
            told["distil_weight"] = said["solver_distil_weight"], "solver_distil_weight"
        if "distil_tau" in said:
            told["temperature"] = said["distil_tau"], "distil_tau"
        if "weighted_merge" in said or "num_stages" in said:
            now = {**self.base, **said}
            weight = 0.0 if now["num_stages"] == 1 else "samples" if now["weighted_merge"] else 0.5
            told["merge"] = weight, "weighted_merge"
        for here, (value, key) in told.items():
            self.put(path, layer, f"strategy.kwargs.{here}", value, key)

    def net(self, path: str, layer: Any) -> None:
        """Translate their U-Net's keys."""
        kwargs = _block(layer, "model", "kwargs")
        for key in ("bilinear", "nl"):
            if kwargs.pop(key, None) is not None:
                self.drop(key)
        if kwargs.pop("pretrain", None) and "pretrained" not in kwargs | _block(self.common, "model", "kwargs"):
            self.drop("pretrain")
        if isinstance(norm := kwargs.get("norm"), str):
            kwargs["norm"] = NORMS.get(norm, norm)
        if kwargs.get("backbone") == "conv":
            kwargs |= copy.deepcopy(CONV)
            self.say("backbone: conv", f"model.kwargs: {CONV}")
        if layer is self.common and "in_channels" in kwargs:
            key = "solver_kwargs.in_channels" if self.gans else "in_channels"
            self.put(path, layer, "dataset.kwargs.channels", kwargs["in_channels"], key)

    def schedule(self, path: str, layer: Any) -> None:
        """Translate the scheduler, which is part of their optimiser."""
        chosen = _block(layer, "train", "optimizer").pop("lr_scheduler", None)
        if chosen is not None:
            allowed = "can't be translated: set it to null, and train.scheduler to constant, cosine, poly or step"
            self.problem(f"{path}.train.optimizer.lr_scheduler", chosen, allowed)

    def checkpoint(self, layer: Any) -> None:
        """Translate what is not configurable here."""
        block = _block(layer, "checkpoint")
        if block.pop("resume", None) is not None:
            self.drop("checkpoint.resume")
        if self.mode == "deployment" and block.pop("load", None) is not None:
            self.drop("checkpoint.load")
