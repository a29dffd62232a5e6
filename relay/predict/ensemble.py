"""Several legs' models as one: the mean of their answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from relay.errors import UserError
from relay.leg import LegPaths, Vote, check_input_spec, checkpoint
from relay.plan import Leg, Study
from relay.predict.choice import Say, Which
from relay.predict.models import Model, digest_of
from relay.predict.settings import check_member
from relay.results import ENSEMBLE

POOL, SITE = "pool", "dataset.kwargs.task_name"


@dataclass(frozen=True)
class Ensemble:
    """The models of several legs, averaged; each leg may be of another run, such as a fold of a comparison.

    Probabilities are averaged, or the numbers of a regression, each with the same weight.

    Args:
        folders: of finished legs, each with a ``last.ckpt``.
    """

    study: Study
    folders: tuple[Path, ...]

    @property
    def legs(self) -> Sequence[Mapping[str, Any]]:
        """None: its members may be of several runs."""
        return ()

    @cached_property
    def model(self) -> Model:
        """The ensemble; it may be tested where no member was trained.

        Raises:
            UserError: there are fewer than two different models, or one is not there.
            ChangedConfigError, HandoverError: one has another net, or was trained for other images or classes.
        """
        leg = self.study.legs[0]
        members = {str(folder): _member(self.study, leg, folder) for folder in self.folders}
        if len({digest_of(weights) for weights in members.values()}) < 2:
            raise UserError(
                "an ensemble needs at least two different models", "Name two legs: --ensemble A --ensemble B"
            )
        whole = {f"{name}: {key}": tensor for name, weights in members.items() for key, tensor in weights.items()}
        trained = {site for folder in self.folders for site in _trained_on(folder)}
        sites = tuple(d.options.task_name for d in self.study.test_sets if d.options.task_name not in trained)
        one = Model("", leg, 1, leg.task_name, whole, self.folders[0], outside=True, kind=ENSEMBLE, sites=sites)
        return replace(one, folder=f"ensemble-{one.digest[:8]}", made=lambda: _built(leg, members))

    def everything(self, say: Say) -> list[Model]:
        """The ensemble, to be tested.

        Raises:
            UserError: members were trained at every site whose test set is here.
        """
        if not self.model.sites:
            raise UserError(
                "the ensemble can't be tested here: other folds' models were trained on these test images",
                "Predict images with it (--image), or test it at a hospital where no member was trained.",
            )
        return [self.model]

    def named(self, which: Which, say: Say) -> list[Model]:
        """There is one model only.

        Raises:
            UserError: always.
        """
        raise UserError(f"--model {which} chooses among the models of a run", "Leave it out: an ensemble is one model.")

    def for_images(self, which: Which | None, say: Say) -> Model:
        """The ensemble."""
        return self.named(which, say)[0] if which else self.model


def _member(study: Study, leg: Leg, folder: Path) -> dict[str, Tensor]:
    path = LegPaths(folder).checkpoint
    weights, facts = checkpoint.load(path)
    check_member(study, leg, facts.get("config") or {}, path)
    check_input_spec(leg, facts, path)
    return weights


def _trained_on(folder: Path) -> Iterator[str]:
    """The sites of all legs of the run that a leg belongs to: it may have started from any of them."""
    _, facts = checkpoint.load(LegPaths(folder).checkpoint)
    records = [LegPaths(path.parent).record() for path in folder.resolve().parent.glob("*/leg.json")]
    for config in [facts.get("config") or {}, *(record.get("config", {}) for record in records)]:
        yield from config.get(POOL) or [config.get(SITE, "")]


def _built(leg: Leg, members: Mapping[str, Mapping[str, Tensor]]) -> nn.Module:
    from relay.handover import load_model

    nets = {}
    for name, weights in members.items():
        nets[name] = leg.net.build()
        load_model(nets[name], weights)
    return Vote(nets, task=leg.data.does)
