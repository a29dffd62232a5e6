"""Configs written for the published RelayLearning code (Bo et al. 2023, 10.1038/s41746-023-00934-4), in our words.

Plain data in, plain data out, before the check. Only what is recognisably theirs is touched: ``model.name: doublegan``
(a solver beside two GANs) or ``strategy.name: baseline`` in ``common``. What has a counterpart is translated, what
has none is listed with the reason, and any other key stays, to be refused by the check under the path that it has.
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
    **dict.fromkeys(GENERATORS.split(), "a memory that trains no GAN stands for earlier sites"),
    **dict.fromkeys(DRAWING.split(), "what the memory draws takes the place of a part of each batch"),
    "num_stages": "a leg replays from its first step on and averages once, at its end",
}
UNUSED = GANS | {
    "rgb_inputs": "in_channels says so already",
    "bilinear": "how the decoder upsamples can't be chosen",
    "nl": "the activations can't be chosen",
    "pretrain": "nothing is ever downloaded; model.kwargs.pretrained may name a file, else it starts from scratch",
    "checkpoint.resume": "the same command, run again, goes on where it was interrupted",
    "checkpoint.load": "a deployment starts from what was received",
}
"""Their keys without a counterpart, and why."""

DEFAULTS: Block = {
    "solver_name": "U-Net",
    "replay_data_ratio": "half",
    "solver_distil_weight": 0.0,
    "distil_tau": 2.0,
    "weighted_merge": False,
    "num_stages": 2,
}
"""What doublegan does where a config says nothing."""
ALLOWED = {"replay_data_ratio": ("half", "even"), "weighted_merge": (True, False), "num_stages": (1, 2, 3)}
KNOWN = sorted({*GANS, *DEFAULTS, "task", "solver_kwargs", "optimizer_conf", "optimizer_conf.M", "pretrained"})

NORMS = {"bn": "batch", "in": "instance", "gn": "group"}
CONV = {"backbone": "plain", "features": [64, 128, 256, 512, 1024]}
DEPLOY = "run here as a simulation of one leg; for a hospital's own leg add mode: deployment and handoff"


@dataclass
class Reading:
    """A config as it is read here.

    Attributes:
        config: in this toolkit's words; as it was given, where it is not one of theirs.
        translated: what is said here → the keys of theirs that say so.
        unused: why not → the keys of theirs that are not used.
        problems: what can't be translated.
        moved: a key's path in ``config`` → its path in the file.
    """

    config: Block
    translated: dict[str, list[str]] = field(default_factory=dict)
    unused: dict[str, list[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)

    def in_file(self, problem: Problem) -> Problem:
        """The same problem, under the path that its key has in the file."""
        above = [here for here in self.moved if f"{problem.path}.".startswith((f"{here}.", f"{here}["))]
        here = max(above, key=len, default="")
        return replace(problem, path=self.moved[here] + problem.path[len(here) :]) if above else problem


def translate(given: Mapping[str, Any]) -> Reading:
    """A config in our words, whoever it was written for; one of ours comes back as it was, but for old names."""
    read = Reading(copy.deepcopy(dict(given)))
    read.moved, read.problems = rename(read.config)
    common = _block(read.config, "common")
    gans = _block(common, "model").get("name") == "doublegan"
    if gans or _block(common, "strategy").get("name") == "baseline":
        _Translator(read, common, gans).all()
    return read


def _block(tree: Any, *path: str) -> Block:
    """The mapping at a path; where there is none, an empty one that belongs to nothing."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}


class _Translator:
    """Translates one config in place, layer by layer: ``common``, then each of ``task_confs``.

    A layer may be anything that YAML can say: what is no mapping is left for the check to refuse.
    """

    def __init__(self, read: Reading, common: Block, gans: bool) -> None:
        self.read, self.common, self.gans = read, common, gans
        self.sets = read.config.get("all_tasks_datasets")
        self.mode = _block(read.config, "current_tasks").get("mode")
        self.relay = _block(common, "strategy").get("name") == "relay"
        self.base = {**DEFAULTS, **_block(common, "model", "kwargs")}
        self.silent = DEFAULTS.keys() - _block(common, "model", "kwargs").keys()

    def all(self) -> None:
        """What concerns the whole, then every layer."""
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

    # -- what is told ------------------------------------------------------------------------------------------------

    def say(self, key: str, here: str) -> None:
        keys = self.read.translated.setdefault(here, [])
        keys += [key] if key not in keys else []

    def drop(self, key: str) -> None:
        keys = self.read.unused.setdefault(UNUSED[key], [])
        keys += [key] if key not in keys else []

    def problem(self, path: str, value: object, allowed: str, near: str | None = None) -> None:
        self.read.problems.append(self.read.in_file(Problem(path, value, allowed, near)))

    def put(self, path: str, layer: Any, here: str, value: Any, key: str) -> None:
        """``value`` at ``here`` in a layer, where ``key`` said so; what the user has put there stays."""
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
        """``baseline`` is three strategies here."""
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
        """Its solver becomes the model; what its GANs were for becomes options of the strategy."""
        model = _block(layer, "model")
        theirs = model.get("kwargs", {})
        if not isinstance(theirs, dict):
            return  # the check says so
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
                self.problem(at, value, "is no key of doublegan", nearest(str(key), KNOWN))
            if key in ALLOWED and value not in ALLOWED[key]:
                self.problem(at, value, f"must be one of {', '.join(map(str, ALLOWED[key]))}")

    def solver(self, path: str, model: Block, theirs: Block) -> None:
        """The net, and where its keys come from."""
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
                "doublegan", f"model.name: {model['name']}, its solver; strategy.kwargs.memory in place of its GANs"
            )

    def replay(self, path: str, layer: Any, said: Block) -> None:
        """The options of the strategy ``relay``, as far as this layer says anything of them."""
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
        """Their U-Net's keys."""
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
        """Their optimiser has its scheduler inside."""
        chosen = _block(layer, "train", "optimizer").pop("lr_scheduler", None)
        if chosen is not None:
            allowed = "can't be translated: set it to null, and train.scheduler to constant, cosine, poly or step"
            self.problem(f"{path}.train.optimizer.lr_scheduler", chosen, allowed)

    def checkpoint(self, layer: Any) -> None:
        """What no config says here."""
        block = _block(layer, "checkpoint")
        if block.pop("resume", None) is not None:
            self.drop("checkpoint.resume")
        if self.mode == "deployment" and block.pop("load", None) is not None:
            self.drop("checkpoint.load")
