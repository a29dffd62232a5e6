"""The runs of a comparison: every strategy, in every order of the sites, with every seed.

A strategy that starts from nothing (local, joint) runs once per seed, whatever the order. For one with several laps
(fedavg), the laps share the budget, so all strategies see the same number of images, up to the last batch of a lap.
If ``num_epochs`` can't be divided, there are fewer laps. Laps set in the config stay as they are.

With ``leave_out``, each strategy also runs without each site in turn, which is then an external one. Only models that
each site trains alone need no such runs: those of the other sites are tested there anyway.

With ``folds``, each run becomes one for each fold of the patients; with ``inner``, each fold's training patients are
dealt again, to choose among strategies inside it.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

from relay.compare.folds import Fold, check_settings, check_undealt, deal, folds_of
from relay.config import MAX_SEED
from relay.errors import ConfigError, UserError, nearest

if TYPE_CHECKING:
    from relay.plan import Study

DIGITS = 12
"""Maximum length of a number, in characters."""
Blocks: TypeAlias = Mapping[str, Any]
Plan: TypeAlias = "Callable[[Blocks], Study]"
"""Checks a config and turns it into a study; raises ConfigError."""


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        label: the strategy, with its changed options: ``relay``, ``relay[memory=null]``.
        order: names of the sites; empty if the result does not depend on it.
        laps: number of laps, which share the budget of one.
        left_out: the name and the task id of a site that this run leaves out, as if it took no part; else None.
        fold: the fold that it is tested on, after the one that it lies in; empty without cross-validation.
        given: its config; ``study`` is the checked plan.
    """

    label: str
    order: tuple[str, ...]
    ids: tuple[int, ...]
    seed: int
    laps: int
    given: Blocks = field(repr=False)
    study: Study = field(repr=False)
    left_out: tuple[str, int] | None = None
    fold: Fold = ()

    @property
    def folder(self) -> str:
        """Its folder's name: ``relay_1-2-3_seed7``, ``joint_seed7``, ``relay_1-2_without3_seed7``,
        ``joint_fold2of5_seed7``."""
        way = ["-".join(map(str, self.ids))] if self.order else []
        without = [f"without{self.left_out[1]}"] if self.left_out else []
        of = [f"{kind}{part.replace('/', 'of')}" for kind, part in zip(("fold", "inner"), self.fold, strict=False)]
        return "_".join([re.sub(r"[^A-Za-z0-9.-]", "-", self.label), *way, *without, *of, f"seed{self.seed}"])

    def __str__(self) -> str:
        way = ["→".join(self.order)] if self.order else []
        without = [f"without {self.left_out[0]}"] if self.left_out else []
        of = [f"{kind} {part}" for kind, part in zip(("fold", "inner fold"), self.fold, strict=False)]
        return ", ".join([self.label, *way, *without, *of, f"seed {self.seed}"])

    @property
    def whole(self) -> Hashable:
        """The same for all folds of one run; inner folds are a run of their own inside each fold."""
        return self.label, self.order, self.seed, self.left_out, self.fold[:-1]

    @property
    def inner(self) -> bool:
        """Whether it only serves to choose."""
        return len(self.fold) > 1


def jobs_of(
    config: Blocks,
    strategies: Sequence[str],
    orders: str,
    seeds: str,
    plan: Plan,
    leave_out: bool = False,
    folds: int = 0,
    inner: int = 0,
) -> list[Job]:
    """All runs, checked; seed by seed, fold by fold, order by order; then those that leave out a site, site by site.

    Args:
        orders: how many, or the orders themselves: see :func:`orders_of`.
        seeds: how many, or the seeds themselves: see :func:`seeds_of`.
        leave_out: also run without each site in turn.
        folds: into how many folds the patients of each site are dealt; 0 for not at all.
        inner: into how many those whom a fold leaves to train on are dealt again; 0 for not at all.

    Raises:
        UserError: a name, an order, a seed or the config is wrong, or it is a deployment's config; or options don't go
            together.
    """
    parts = folds_of(folds, leave_out, inner)
    if inner:
        check_settings(strategies)
    bases = {label: _base(config, label, plan) for label in strategies}
    first = next(iter(bases.values()), None)
    if first is None:
        raise UserError("--strategies is empty", "Name some, separated by commas: local,sequential,relay,joint")
    if first.mode == "deployment":
        raise UserError(
            f"{first.name} is a deployment", "Give the config of a simulation: compare runs all sites here."
        )
    ids: list[int] = config["current_tasks"]["task_ids"]
    names = {task_id: str(dataset.options.task_name) for task_id, dataset in first.datasets.items()}
    ways = orders_of(orders, ids, names)
    chosen = seeds_of(seeds, first.legs[0].conf.random_seed)
    if folds:
        check_undealt(first)
    outside = [None, *_left_out(ids, leave_out)]
    found: dict[str, Job] = {}
    for out, seed, fold, way, (label, base) in product(outside, chosen, parts, ways, bases.items()):
        strategy = base.legs[0].strategy
        if out is not None and not (strategy.uses_incoming or strategy.pools_sites):
            continue
        turns = [task_id for task_id in (way if strategy.uses_incoming else ids) if task_id != out]
        order = tuple(names[task_id] for task_id in turns) if strategy.uses_incoming else ()
        left = None if out is None else (names[out], out)
        given, laps = _given(with_strategy(config, label), base, turns, seed)
        deal(given, ids, fold)
        job = Job(label, order, tuple(turns), seed, laps, given, base, left, fold)
        if job.folder not in found:  # what does not depend on the order, or is the same without a site, runs once
            found[job.folder] = replace(job, study=plan(given))
    return list(found.values())


def _base(config: Blocks, label: str, plan: Plan) -> Study:
    """The config with another strategy, checked.

    Raises:
        UserError: it is wrong; where only the label can be, the message says so.
    """
    try:
        return plan(with_strategy(config, label))
    except ConfigError as error:
        common = config.get("common")
        own = common.get("strategy") if isinstance(common, dict) else None
        same = isinstance(own, dict) and own.get("name") == label
        if same or not all(problem.path.startswith("common.strategy.") for problem in error.problems):
            raise
        told = "; ".join(str(problem).removeprefix("common.strategy.") for problem in error.problems)
        raise UserError(
            f"--strategies {label}: {told}", "Correct --strategies; relay list strategies shows names and options."
        ) from error


def _left_out(ids: Sequence[int], wanted: bool) -> list[int]:
    if wanted and len(ids) < 2:
        raise UserError("--leave-one-out: this study has one site", "Name at least two in current_tasks.task_ids.")
    return list(ids) if wanted else []


def labels_of(text: str) -> list[str]:
    """Comma-separated strategies, with changed options in brackets: ``relay,relay[memory=null,merge=0]``.

    Raises:
        UserError: brackets don't match or don't follow a name.
    """
    found = [label.strip() for label in re.split(r",(?![^\[]*\])", text)]
    for label in filter(None, found):
        if not re.fullmatch(r"[^\[\]]+(\[[^\[\]]+\])?", label):
            raise UserError(
                f"--strategies: '{label}' can't be read", "Give a name, or name[key=value,key=value] to set options."
            )
    return list(dict.fromkeys(filter(None, found)))


def with_strategy(config: Blocks, label: str) -> dict[str, Any]:
    """The same config with another strategy and its defaults; the config's own strategy keeps its options.

    Args:
        label: from :func:`labels_of`.
    """
    common = config.get("common")
    if not isinstance(common, dict):
        return dict(config)  # the config check reports it
    name, _, changes = label.rstrip("]").partition("[")
    own = common.get("strategy")
    chosen: dict[str, Any] = own if isinstance(own, dict) and own.get("name") == name else {"name": name}
    if changes:
        chosen = {**chosen, "kwargs": _changed(chosen.get("kwargs") or {}, changes.split(","), label)}
    return {**config, "common": {**common, "strategy": chosen}}


def _changed(kwargs: Mapping[str, Any], changes: Sequence[str], label: str) -> dict[str, Any]:
    from relay.config import changed

    if wrong := [change for change in changes if not re.match(r"\s*[\w.]+\s*=", change)]:
        raise UserError(
            f"--strategies {label}: '{wrong[0]}' is not of the form key=value", "For example: relay[merge=0.2]"
        )
    try:
        return changed(kwargs, [change.strip() for change in changes])
    except ConfigError as error:
        said = "; ".join(str(problem) for problem in error.problems)
        raise UserError(f"--strategies {label}: can't be read: {said}", "For example: relay[merge=0.2]") from error


def orders_of(text: str, ids: Sequence[int], names: Mapping[int, str]) -> list[list[int]]:
    """The orders that ``--orders`` selects.

    A number takes that many of: the config's own order and its rotations, in which each site is first once and last
    once; then these reversed; then all others. Otherwise, it lists the orders: comma-separated sites or task ids, with
    a slash between orders: ``drive,hrf/hrf,drive``.

    Raises:
        UserError: it is neither; a site is unknown, missing or repeated; or there are not that many orders.
    """
    if text.strip().isdecimal():
        most = math.factorial(len(ids))
        if len(text.strip()) > DIGITS or not 1 <= int(text) <= most:
            raise UserError(f"--orders {text.strip()}: {len(ids)} sites have {most} orders", "Ask for at least 1.")
        return list(itertools.islice(_orders(ids), int(text)))
    found = [[_site(word.strip(), ids, names) for word in order.split(",")] for order in text.split("/")]
    for order in found:
        if sorted(order) != sorted(ids):
            told = ", ".join(f"{names[i]} ({i})" for i in ids)
            raise UserError(
                f"--orders {','.join(names[i] for i in order)}: must name each site once: {told}",
                "Give complete orders, separated by slashes, or a number of orders.",
            )
    return [list(order) for order in dict.fromkeys(map(tuple, found))]


def _site(word: str, ids: Sequence[int], names: Mapping[int, str]) -> int:
    known = {names[i]: i for i in ids} | {str(i): i for i in ids}
    if word not in known:
        near = nearest(word, [names[i] for i in ids])
        raise UserError(
            f"--orders: '{word}' is not a site of this study" + (f"; did you mean '{near}'?" if near else ""),
            f"Sites: {', '.join(f'{names[i]} ({i})' for i in ids)}. Separate sites by commas and orders by slashes.",
        )
    return known[word]


def _orders(ids: Sequence[int]) -> Iterator[list[int]]:
    turned = [[*ids[k:], *ids[:k]] for k in range(len(ids))]
    seen = set()
    for order in itertools.chain(turned, (order[::-1] for order in turned), itertools.permutations(ids)):
        if tuple(order) not in seen:
            seen.add(tuple(order))
            yield list(order)


def seeds_of(text: str, own: int) -> list[int]:
    """The seeds that ``--seeds`` selects: that many, from the config's own on; or a list: ``7,8``, or ``7,`` for one.

    Raises:
        UserError: it is neither.
    """
    words = [word.strip() for word in text.split(",")]
    listed = [word for word in words if word]
    if any(word.isdecimal() and (len(word) > DIGITS or int(word) > MAX_SEED) for word in listed):
        raise UserError(f"--seeds {text}: too large", f"A seed is 0 to {MAX_SEED}.")
    if not listed or not all(word.isdecimal() for word in listed) or (len(words) == 1 and int(text) < 1):
        raise UserError(
            f"--seeds {text}: must be a number of seeds, at least 1, or comma-separated seeds",
            "For example 3, or 1,2,7. For a single seed, add a comma: 7,",
        )
    if len(words) > 1:
        return list(dict.fromkeys(map(int, listed)))
    if own + int(text) - 1 > MAX_SEED:
        raise UserError(f"--seeds {text}: there are not that many from {own} on", f"A seed is 0 to {MAX_SEED}.")
    return list(range(own, own + int(text)))


def _given(config: Blocks, base: Study, way: Sequence[int], seed: int) -> tuple[dict[str, Any], int]:
    """The config of one run, and the laps that share its budget."""
    given = copy.deepcopy(dict(config))
    current, strategy = given["current_tasks"], base.legs[0].strategy
    laps = _laps(given, strategy.laps) if current.get("laps", 1) == 1 else 1
    moved = list(way) != list(current["task_ids"])
    given["common"]["random_seed"], current["task_ids"] = seed, list(way)
    for block in _blocks(given):
        if moved or laps > 1:  # what a leg loads was set for the config's own order
            block.get("checkpoint", {}).pop("load", None)
        if laps > 1:
            current["laps"] = laps
            _share(block.get("train", {}), laps)
    pooled = {data.options.task_id for data in base.legs[0].pool}
    if strategy.pools_sites and pooled > set(way):  # it must not see what the others never see
        kwargs = given["common"]["strategy"].setdefault("kwargs", {})
        kwargs["task_ids"] = sorted(way)
    return given, laps


def _blocks(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The blocks that may set how a leg is trained and what it loads."""
    return [given["common"], *(given["current_tasks"].get("task_confs") or {}).values()]


def _laps(given: Blocks, wanted: int) -> int:
    """The largest number of laps, up to ``wanted``, that divides every budget in epochs."""
    epochs = [block["train"]["num_epochs"] for block in _blocks(given) if block.get("train", {}).get("num_epochs")]
    return max(laps for laps in range(1, wanted + 1) if all(number % laps == 0 for number in epochs))


def _share(train: dict[str, Any], laps: int) -> None:
    if train.get("num_epochs"):
        train["num_epochs"] //= laps
    if train.get("num_mimgs"):
        train["num_mimgs"] /= laps
