"""From a config to a plan, with every problem found at once.

It reads no images or weights and does not import torch: plug-ins are made from their checked options, and at most
read names of folders.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relay import registry
from relay.config import Blocks, Named, TaskConf, check
from relay.errors import ConfigError, Problem, UserError, nearest
from relay.files import expanded
from relay.metrics import metrics
from relay.plan.layers import Layers
from relay.plan.legs import Leg, Study
from relay.plan.protection import over_budget, unprotected
from relay.postprocess import steps_of

SHARED = (
    *("task", "num_classes", "channels", "intensity_range", "steps", "slices", "img_size", "patch_size"),
    "target_scale",
)
"""Options that must be the same for all data sets of a study, because one model reads them all."""


def plan(given: Mapping[str, Any], name: str, extra: Sequence[Problem] = (), train: bool = True) -> Study:
    """Check a whole config and turn it into a :class:`Study`.

    Args:
        given: the blocks as plain dicts (:func:`relay.config.load.read`).
        name: short name of the config.
        extra: problems found elsewhere (``-g``), to report together with these.
        train: whether legs will be trained, so that their data must be here; otherwise any one test set is enough.

    Raises:
        ConfigError: it lists every problem.
    """
    blocks, problems = check(Blocks, given)
    problems = [*extra, *problems]
    if blocks is None:
        raise ConfigError(problems, name)
    planner = _Planner(blocks)
    study = planner.study(name, train, given)
    problems += planner.problems
    if problems:
        raise ConfigError(list({str(p): p for p in problems}.values()), name)
    return study


def dig(tree: Any, path: Sequence[str], default: Any = None) -> Any:
    """The value at a path of keys or attributes; ``default`` if the path ends early."""
    for part in path:
        tree = tree.get(part, default) if isinstance(tree, Mapping) else getattr(tree, part, default)
    return tree


class _Planner:
    """Builds the parts and collects problems; a part with a problem is None."""

    def __init__(self, blocks: Blocks) -> None:
        self.current, self.results = blocks.current_tasks, blocks.results
        self.layers = Layers(blocks)
        self.problems: list[Problem] = []
        self.ids = [i for i in self.current.task_ids if i in self.layers.sets]
        self.turns = [(i, lap) for lap in range(1, self.current.laps + 1) for i in self.ids]

    def add(self, path: str, value: object, allowed: str, near: str | None = None, cure: str | None = None) -> None:
        self.problems.append(Problem(path, value, allowed, near, cure))

    def study(self, name: str, train: bool, given: Mapping[str, Any]) -> Study:
        self.check_ids()
        made = {i: self.dataset(i) for i in self.layers.sets}
        datasets = {i: d for i, d in made.items() if d is not None}
        self.check_shared(datasets)
        legs = [leg for number in range(1, len(self.turns) + 1) if (leg := self.leg(number, datasets))]
        strategies = sorted({leg.conf.strategy.name for leg in legs})
        if len(strategies) > 1:
            self.add("current_tasks.task_confs", strategies, "all legs of a study must use the same strategy")
        if legs and not legs[0].strategy.uses_incoming:
            legs = legs[: 1 if legs[0].strategy.pools_sites else len(self.ids)]  # a second lap would change nothing
        for leg, told in over_budget(legs):
            path = self.layers.where(leg.task_id)(["train", "privacy", "budget"])
            self.add(path, leg.train.privacy.budget, told)  # type: ignore[union-attr]
        self.check_folders(datasets, train)
        self.check_results()
        if train:
            self.check_splits(legs)
        return Study(
            name,
            self.current.mode,
            strategies[0] if strategies else "",
            tuple(legs),
            datasets,
            given,
            self.current.handoff,
            self.results,
            self.current.tests,
        )

    # -- the parts ---------------------------------------------------------------------------------------------

    def plugin(self, task_id: int, path: Sequence[str], kind: registry.Kind, choice: Named | None) -> Any:
        """A plug-in made from its checked options; for a loss, an optimiser, a schedule: those options."""
        if choice is None:
            return None
        cls = self.found(kind, self.layers.where(task_id)([*path, "name"]), choice.name)
        if cls is None:
            return None
        schema = registry.options_of(kind, cls)
        made, found = check(schema or cls, choice.kwargs, self.layers.where(task_id, *path, "kwargs"))
        self.problems += found
        return made if made is None or schema is cls else cls(made)

    def found(self, kind: registry.Kind, path: str, name: str) -> Any:
        """What a name stands for."""
        try:
            return registry.find(kind, name)
        except UserError as error:
            self.add(path, name, f"{error}. {error.advice()}")
            return None

    def dataset(self, task_id: int) -> Any:
        block, found = check(Named, self.layers.merged(task_id).get("dataset"), self.layers.where(task_id, "dataset"))
        self.problems += found
        return None if block is None else self.plugin(task_id, ["dataset"], "datasets", block)

    def leg(self, number: int, datasets: Mapping[int, Any]) -> Leg | None:
        task_id, lap = self.turns[number - 1]
        raw = self.layers.merged(task_id)
        conf, found = check(TaskConf, raw, self.layers.where(task_id))
        self.problems += found

        def chosen(*path: str) -> Named | None:
            """A named part: from the whole block or, if that has problems elsewhere, checked separately."""
            return dig(conf, path) if conf else check(Named, dig(raw, path))[0]

        if conf is not None and conf.train.loss is None and task_id in datasets:
            usual = Named(name=datasets[task_id].options.does.loss)
            conf = dataclasses.replace(conf, train=dataclasses.replace(conf.train, loss=usual))
        parts = (
            self.plugin(task_id, ["strategy"], "strategies", chosen("strategy")),
            self.net(task_id, chosen("model"), datasets.get(task_id)),
            self.loss(task_id, chosen("train", "loss"), datasets.get(task_id)),
            self.plugin(task_id, ["train", "optimizer"], "optimizers", chosen("train", "optimizer")),
            self.plugin(task_id, ["train", "scheduler"], "schedulers", chosen("train", "scheduler")),
        )
        strategy = parts[0]
        start = self.start(number, task_id, raw, strategy) if strategy else None
        self.check_strategy(task_id, raw, strategy)
        if conf is None or None in parts or task_id not in datasets:
            return None
        self.check_budget(task_id, conf)
        self.check_warmup(task_id, conf, parts[-1])
        self.check_fused(task_id, conf, parts[-2])
        self.check_postprocessing(task_id, conf, datasets[task_id].options)
        for key, value, allowed, cure in unprotected(conf.train, strategy, datasets[task_id].options):
            self.add(self.layers.where(task_id)(key.split(".")), value, f"with train.privacy, {allowed}", cure=cure)
        pool = self.pool(task_id, strategy, datasets)
        site = "all" if strategy.pools_sites else datasets[task_id].options.task_name
        return Leg(number, task_id, site, conf, raw, *parts, pool, self.folder(task_id, lap), start)

    def pool(self, task_id: int, strategy: Any, datasets: Mapping[int, Any]) -> tuple[Any, ...]:
        """The data sets a leg trains on."""
        if not strategy.pools_sites:
            return (datasets[task_id],)
        try:
            return tuple(strategy.pool(datasets))
        except UserError as error:
            self.add(self.layers.where(task_id)(["strategy", "kwargs"]), "...", f"{error}. {error.advice()}")
            return ()

    def net(self, task_id: int, choice: Named | None, dataset: Any) -> Any:
        """The net, with channels and classes from the data set if the config leaves them out."""
        net = self.plugin(task_id, ["model"], "nets", choice)
        if net is None or dataset is None:
            return net
        data = dataset.options
        where = self.layers.where(task_id, "model", "kwargs")
        options = net.options
        size = data.patch_size or data.fixed_size
        said = {"in_channels": data.channels, "num_classes": data.outputs}
        if hasattr(options, "img_size"):
            said["img_size"] = list(size) if size else options.img_size
            if said["img_size"] is None:
                self.add(where(["img_size"]), None, "must be given, or img_size or patch_size in dataset.kwargs")
        for key, value in said.items():
            if getattr(options, key) not in (None, value):
                self.add(where([key]), getattr(options, key), f"must be {value}, as in the data set, or left out")
            options = dataclasses.replace(options, **{key: value})
        axes, says = data.axes or (len(getattr(options, "img_size", None) or "2D"), "")
        if getattr(options, "spatial_dims", 2) is None:
            options = dataclasses.replace(options, spatial_dims=axes)
        dims = getattr(options, "spatial_dims", None)
        if says and dims is not None and axes != dims:
            self.add(where(["spatial_dims"]), dims, f"must be {axes}, as {says} in dataset.kwargs is for {axes} axes")
        made = type(net)(options)
        if odd := getattr(made, "odd_size", lambda: None)():
            path = self.layers.where(task_id, "dataset", "kwargs")(["patch_size" if data.patch_size else "img_size"])
            self.add(path if size else where(["img_size"]), options.img_size, odd)
        return made

    def loss(self, task_id: int, choice: Named | None, dataset: Any) -> Any:
        """The loss, which must be one of the task's."""
        loss = self.plugin(task_id, ["train", "loss"], "losses", choice)
        if loss is None or dataset is None or choice is None:
            return loss
        task, fits = dataset.options.task, getattr(loss, "tasks", None)  # somebody's own may not say
        if fits is not None and task not in fits:
            allowed = f"is for {' and '.join(fits)}, not {task}; leave it out for {dataset.options.does.loss}"
            self.add(self.layers.where(task_id)(["train", "loss", "name"]), choice.name, allowed)
        return loss

    def folder(self, task_id: int, lap: int = 1) -> str:
        folder = dig(self.layers.merged(task_id), ["checkpoint", "save", "dir"]) or f"task_{task_id}"
        return f"{folder}_lap{lap}" if lap > 1 else str(folder)

    def start(self, number: int, task_id: int, raw: Mapping[str, Any], strategy: Any) -> str | None:
        """What ``checkpoint.load`` means for this leg."""
        load, path = (
            dig(raw, ["checkpoint", "load"], "auto"),
            self.layers.where(task_id)(["checkpoint", "load"]),
        )
        if not isinstance(load, str | None):
            return None  # already reported as a wrong type
        if not strategy.uses_incoming:
            return None  # so that one config works with all strategies in a comparison
        if self.current.mode == "deployment":
            if load != "auto":
                self.add(path, load, "must be left out in a deployment: a leg starts from what was received")
            return None
        before = self.folder(*self.turns[number - 2]) if number > 1 else None
        if load == "auto":
            return before
        if self.current.laps > 1:
            self.check_lap(task_id, load, path)
            return before
        return None if load is None else self.named_start(number, load, path)

    def check_lap(self, task_id: int, load: str | None, path: str) -> None:
        """With laps, a leg starts from the previous one; ``load`` may only say the same for the first lap."""
        place = self.ids.index(task_id)
        before = self.folder(self.ids[place - 1]) if place else None
        if (load.removesuffix("/last.ckpt") if load else None) != before:
            self.add(path, load, "must be left out with laps: each leg starts from the previous one")

    def named_start(self, number: int, load: str, path: str) -> str:
        """An earlier leg's folder, in either spelling."""
        leg = load.removesuffix("/last.ckpt")
        earlier = [self.folder(*turn) for turn in self.turns[: number - 1]]
        if leg not in earlier:
            known = {self.folder(i) for i in self.layers.sets}
            wrong = (
                "points forward, to a leg that has not run yet" if leg in known else "is not an earlier leg's folder"
            )
            near = nearest(leg, earlier)
            self.add(path, load, f"{wrong}; earlier legs: {', '.join(earlier) or 'none: use null'}", near)
        return leg

    # -- what must hold between the parts ------------------------------------------------------------------------

    def check_ids(self) -> None:
        sets, ids = self.layers.sets, self.current.task_ids
        for place, value, wrong in self.layers.bad_ids:
            self.add(f"all_tasks_datasets[{place}].kwargs.task_id", value, wrong)
        lacks = f"has no data set in all_tasks_datasets, where there are {', '.join(map(str, sets)) or 'none'}"
        for place, task_id in enumerate(ids):
            if task_id not in sets:
                self.add(f"current_tasks.task_ids[{place}]", task_id, lacks)
        for task_id in self.current.task_confs:
            if task_id not in sets:
                self.add("current_tasks.task_confs", task_id, lacks)
        for task_id, conf in self.current.task_confs.items():
            if "random_seed" in conf:
                path = f"current_tasks.task_confs.{task_id}.random_seed"
                self.add(
                    path, conf["random_seed"], "belongs in common: a study has one seed, which determines the splits"
                )
        if len(set(ids)) < len(ids):
            self.add("current_tasks.task_ids", ids, "names a task twice")
        if self.current.mode == "deployment" and len(ids) != 1:
            self.add("current_tasks.task_ids", ids, "must name exactly one task in a deployment")
        if self.current.mode == "deployment" and self.current.laps != 1:
            allowed = "must be left out in a deployment: the roster's order decides how many turns each site has"
            self.add("current_tasks.laps", self.current.laps, allowed)
        names = [str(dig(self.layers.merged(i), ["dataset", "kwargs", "task_name"])).lower() for i in sets]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            self.add(
                "all_tasks_datasets",
                ", ".join(doubled),
                "two have this task_name (upper and lower case count as the same)",
            )
        if self.current.mode == "deployment" and self.current.handoff is None:
            self.add("current_tasks.handoff", None, "must be given in a deployment: study, key, receive, send")
        folders = [self.folder(*turn) for turn in self.turns]
        if len(set(folders)) < len(set(self.turns)):
            self.add("current_tasks.task_confs", folders, "checkpoint.save.dir must differ from task to task")

    def check_shared(self, datasets: Mapping[int, Any]) -> None:
        first = next(iter(datasets.values()), None)
        for task_id, dataset in datasets.items():
            for key in SHARED:
                value, wanted = getattr(dataset.options, key), getattr(first.options, key)  # type: ignore[union-attr]
                if value != wanted:
                    path = self.layers.where(task_id, "dataset", "kwargs")([key])
                    self.add(path, value, f"must be the same for all data sets of a study (elsewhere {wanted!r})")

    def check_budget(self, task_id: int, conf: TaskConf) -> None:
        if (conf.train.num_epochs is None) == (conf.train.num_mimgs is None):
            value = {"num_epochs": conf.train.num_epochs, "num_mimgs": conf.train.num_mimgs}
            path = self.layers.where(task_id)(["train"])
            allowed = "needs exactly one budget: num_epochs, or num_mimgs (millions of images)"
            self.add(path, value, allowed, cure=f"Keep one, and set the other to null: {path}.num_epochs=null")

    def check_warmup(self, task_id: int, conf: TaskConf, scheduler: Any) -> None:
        """One warm-up is enough."""
        own = [key for key in ("warmup_steps", "warmup_fraction") if getattr(scheduler, key, 0)]
        if conf.train.warmup and own:
            path = self.layers.where(task_id)(["train", "warmup"])
            self.add(path, conf.train.warmup, f"must be left out: the scheduler has a {own[0]} of its own")

    def check_fused(self, task_id: int, conf: TaskConf, optimizer: Any) -> None:
        """A fused step in 16 bits scales gradients back itself, after they would have to be clipped."""
        if conf.train.precision == 16 and conf.train.gradient_clip and getattr(optimizer, "fused", None):
            told, cure = "can't be combined with precision 16 and gradient_clip", "Leave it out, or use precision bf16"
            self.add(self.layers.where(task_id)(["train", "optimizer", "kwargs", "fused"]), True, told, cure=cure)

    def check_postprocessing(self, task_id: int, conf: TaskConf, data: Any) -> None:
        """The steps on masks exist, and their classes, too."""
        path = self.layers.where(task_id)(["predict", "postprocess"])
        if conf.predict.postprocess and not data.does.dense:
            self.add(path, conf.predict.postprocess[0].name, f"is for masks: leave it out, as the task is {data.task}")
            return
        for place, named in enumerate(conf.predict.postprocess):
            try:
                (step,) = steps_of([named])
            except UserError as error:
                self.add(f"{path}[{place}]", named.name, f"{error}. {error.advice()}")
                continue
            if beyond := [each for each in step.classes or () if each >= data.outputs]:
                allowed = f"there is no such class; classes are 1 to {data.outputs - 1}"
                self.add(f"{path}[{place}].kwargs.classes", beyond[0], allowed)

    def check_strategy(self, task_id: int, raw: Mapping[str, Any], strategy: Any) -> None:
        if strategy and strategy.pools_sites and self.current.mode == "deployment":
            path = self.layers.where(task_id)(["strategy", "name"])
            self.add(
                path,
                dig(raw, ["strategy", "name"]),
                "pools the data of several sites, which never happens in a deployment",
            )

    def check_splits(self, legs: Sequence[Leg]) -> None:
        """Check that no site is trained on whose images are all for testing, nor a deployment tested on others."""
        trained = {d.options.task_id: d.options for leg in legs for d in leg.pool}
        for task_id, options in trained.items():
            path = self.layers.where(task_id, "dataset", "kwargs")(["split"])
            if options.split == "test":
                self.add(path, "test", "leaves nothing to train on: leave it out, or train on other tasks only")
            if options.split == "validation" and self.current.mode == "deployment":
                self.add(path, "validation", "is for simulations, to choose options: a deployment tests on test images")
            if options.fold is not None and self.current.mode == "deployment":
                path = self.layers.where(task_id, "dataset", "kwargs")(["fold"])
                self.add(path, options.fold, "is for simulations, to cross-validate: leave it out of a deployment")

    def check_results(self) -> None:
        """Metrics and sections are loaded now, not after hours of training."""
        try:
            if self.results.metrics:
                metrics(self.results.metrics)
        except UserError as error:
            self.add("results.metrics", ", ".join(self.results.metrics), f"{error}. {error.advice()}")
        for place, name in enumerate(self.results.report_sections):
            self.found("report_sections", f"results.report_sections[{place}]", name)

    def check_folders(self, datasets: Mapping[int, Any], train: bool) -> None:
        """Check that the data of each leg are here; any other test set may be absent."""
        if not train:
            if datasets and not any(d.accessible() for d in datasets.values()):
                self.add(
                    "all_tasks_datasets",
                    "...",
                    "none of these data sets is on this machine; set paths or root_path",
                )
            return
        here = [i for i in self.ids if i in datasets and all(folder.is_dir() for folder in datasets[i].folders())]
        fewer = str(here).replace(" ", "")
        cure = None
        if here and self.current.mode == "simulation":
            cure = f"Correct the folder. Or run only the sites whose images are here: 'current_tasks.task_ids={fewer}'"
        for task_id in self.ids:
            if (dataset := datasets.get(task_id)) is None:
                continue
            where = self.layers.where(task_id, "dataset", "kwargs")
            root = expanded(dataset.options.root_path)
            if dataset.folders() and not root.is_dir():
                self.add(where(["root_path"]), str(root), f"no such folder (seen from {Path.cwd()})", cure=cure)
            elif missing := [str(folder) for folder in dataset.folders() if not folder.is_dir()]:
                allowed = f"no such folder: {', '.join(missing)}"
                self.add(where(["img_folder"]), dataset.options.img_folder, allowed, cure=cure)
