"""A leg's guarantee: its noise, and the account of what it costs, drawn up and charged before the first step.

The account is ``privacy.json`` in the leg's folder, the key of its noise ``noise.key`` beside it. A leg that is
stopped and resumed keeps both: it repeats steps with the same noise, which tells nothing new and is charged once. A leg
that is removed and trained again has a new key, and is charged again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.config import Devices, PrivateTraining
from relay.data import SiteData, patients_of
from relay.errors import UserError
from relay.files import damaged, read_record, write_text
from relay.leg.fitting import epoch_steps, steps_of
from relay.leg.paths import LegPaths
from relay.leg.pricing import MEAN, priced
from relay.noise import Secret, check_installed, mixing
from relay.phase import Phase, Training
from relay.plan import Leg
from relay.trust import Cost, PolicyBreach

NEEDED: dict[str, Any] = {"key": str, "epsilon": (int, float), "delta": float, "mechanisms": list, "patients": int}
"""Keys of an account and their types."""
RELATION = "one patient, or nothing in that place; the number of patients is taken as known"
FEW = 100
"""Fewer patients than this are warned of: measured in docs/explanation/differential-privacy.md."""
AGAIN = "is trained again, and charged again"


@dataclass(frozen=True)
class Guarantee:
    """How a leg is trained by patients.

    Attributes:
        options: of the config.
        secret: the key of its randomness.
        noise: the noise multiplier.
        rate: with which chance a patient takes part in a step.
        epoch: steps of an epoch.
        expected: number of patients of a step.
        strong: of the mean that the memory releases: the m for which it is m-GDP for replacing a patient; None if there
            is none.
        account: as in ``privacy.json``.
    """

    options: PrivateTraining
    secret: Secret
    noise: float
    rate: float
    epoch: int
    expected: float
    strong: float | None
    account: Mapping[str, Any]

    @property
    def cost(self) -> Cost:
        """What the leg costs."""
        return Cost(self.secret.name, self.account["epsilon"], self.account["delta"])

    @property
    def stated(self) -> dict[str, Any]:
        """What other sites are told. Noise and rate are not among it: from them the number of patients follows."""
        names = ("epsilon", "delta", "unit", "accountant", "private")
        return {key: self.account[key] for key in names} | {"relation": "zero-out"}


def check(leg: Leg, devices: Devices) -> None:
    """Check early what a plan can't: the net, the devices, the packages.

    Raises:
        UserError: the leg can't be trained with the guarantee that its config asks for.
    """
    if leg.train.privacy is None:
        return
    check_installed()
    if devices.world_size > 1:
        raise UserError("train.privacy: several processes can't train together with a guarantee", "Use one GPU (-g 0).")
    if layers := mixing(leg.net.build()):
        shown = ", ".join(layers[:3]) + (f" and {len(layers) - 3} more" if len(layers) > 3 else "")
        raise UserError(
            f"train.privacy: the net {leg.conf.model.name} has layers that mix patients: {shown}",
            "Use group normalisation: common.model.kwargs.norm=group for the U-Net, batch_norm=group for others.",
        )


def doubts(leg: Leg, sites: Sequence[SiteData]) -> list[str]:
    """What is legal, and yet suspicious, before any time is spent."""
    if (options := leg.train.privacy) is None:
        return []
    many, found = patients(sites), []
    if options.randomness == "seed":
        found.append("privacy.randomness: seed protects nobody: anyone who has the config can subtract the noise")
    if options.delta >= 1 / many:
        found.append(
            f"privacy.delta {options.delta:g} is not below one in its {many} patients: to publish one of them would "
            "satisfy it"
        )
    if leg.train.batch_size >= many:
        found.append(f"with batch_size {leg.train.batch_size}, each of its {many} patients takes part in every step")
    if many < FEW:
        found.append(f"{many} patients are few for a private training; see docs/explanation/differential-privacy.md")
    return found


def patients(sites: Sequence[SiteData]) -> int:
    """How many patients are trained on."""
    return len(patients_of([site.split.train for site in sites]))


def units(leg: Leg, sites: Sequence[SiteData]) -> int:
    """What an epoch goes through once: training images or, with a guarantee, patients. No image is read."""
    return patients(sites) if leg.train.privacy else sum(len(site.split.train) for site in sites)


def guarded(training: Training, release: Any) -> Training:
    """The training images as a strategy may use them beside its fits: only by ``release``, which adds noise.

    What is not in a fit gets no noise, so a strategy that reads images there would break the guarantee.
    """

    def refuse() -> Any:
        raise UserError(
            "train.privacy: this strategy, or its memory, uses training images outside the fits, without noise",
            "Use one that does not: local, sequential, joint, lwf, merge, fedavg, der, or relay with owm_alpha: null.",
        )

    return dataclasses.replace(training, batches=refuse, score=refuse, noisy_mean=release)


def guarantee_of(
    leg: Leg,
    phases: Sequence[Phase],
    sites: Sequence[SiteData],
    paths: LegPaths,
    spent: Callable[[], Sequence[Cost]],
    charge: Callable[[Cost], None],
    limit: float | None = None,
) -> Guarantee | None:
    """What a leg is trained with, charged to its site; None without ``train.privacy``.

    Args:
        spent: what the site's legs have cost so far, perhaps this one included.
        charge: records a cost, once.
        limit: the largest epsilon that the study's policy allows.

    Raises:
        PolicyBreach: it would guarantee less than the policy asks for; nothing is charged.
        UserError: it would cost more than the budget, no noise is enough, or files here are damaged.
    """
    options = leg.train.privacy
    if options is None:
        return None
    many = patients(sites)
    secret = _secret(leg, options, paths)
    epoch, rate = epoch_steps(leg, many, 1), min(1.0, leg.train.batch_size / many)
    counts = {phase.name: steps_of(leg, many, 1, phase.share) for phase in phases}
    plan: dict[str, Any] = {
        "format": 1,
        "key": secret.name,
        "unit": options.unit,
        "relation": RELATION,
        "delta": options.delta,
        "clip": options.clip,
        "accountant": options.accountant,
        "private": secret.safe,
        "patients": many,
    }
    account = _read(paths)
    if account is None or any(account.get(key) != value for key, value in plan.items()):
        account = plan | priced(options, rate, counts, bool(noised(leg)))
        if limit is not None and account["epsilon"] > limit:  # of a given noise, it is known only now
            raise PolicyBreach(
                f"leg {leg.number} would have an epsilon of {account['epsilon']:g}; this study allows {limit:g}",
                f"Raise train.privacy.noise, or give epsilon: {limit:g} in its place.",
            )
        if secret.safe:
            check_budget(leg, options, account, spent())
            charge(Cost(secret.name, account["epsilon"], account["delta"]))
        write_text(paths.privacy, json.dumps(account, indent=1) + "\n")
    noise = {each["name"]: each["noise"] for each in account["mechanisms"]}
    strong = 2 / noise[MEAN] if MEAN in noise else None
    return Guarantee(options, secret, next(iter(noise.values())), rate, epoch, rate * many, strong, account)


def cost_of(paths: LegPaths) -> Cost | None:
    """What a leg has cost, by its account; None if it has none.

    Raises:
        UserError: the account is damaged.
    """
    account = _read(paths)
    return Cost(account["key"], account["epsilon"], account["delta"]) if account else None


def _secret(leg: Leg, options: PrivateTraining, paths: LegPaths) -> Secret:
    if options.randomness == "seed":
        return Secret.from_seed(leg.conf.random_seed, leg.task_name, leg.folder)
    if not paths.noise_key.is_file() and paths.begun:
        raise damaged(paths.noise_key, "it is missing, and the leg can't go on without it", _again(paths))
    return Secret.of(paths.noise_key)


def _again(paths: LegPaths) -> str:
    return f"Remove {paths.root}: the leg {AGAIN}."


def noised(leg: Leg) -> Sequence[str]:
    """The kinds of memories that are made of a mean with noise."""
    return tuple(getattr(leg.strategy, "noised", ()))


def _read(paths: LegPaths) -> dict[str, Any] | None:
    """The account so far.

    Raises:
        UserError: it is damaged.
    """
    return read_record(paths.privacy, NEEDED, _again(paths))


def check_budget(leg: Leg, options: PrivateTraining, account: Mapping[str, Any], spent: Sequence[Cost]) -> None:
    """Check that a leg leaves its site within its budget.

    Raises:
        UserError: it does not.
    """
    this = Cost(account["key"], account["epsilon"], account["delta"])
    before = sum(cost.epsilon for cost in spent if cost != this)
    total, budget = before + account["epsilon"], options.budget
    if budget is None or total <= budget:
        return
    raise UserError(
        f"train.privacy: leg {leg.number} would cost epsilon {account['epsilon']:g}; {leg.task_name} has spent "
        f"{before:g} of its budget of {budget:g} in this study",
        f"Nothing was trained. Train with an epsilon of at most {max(0.0, budget - before):g}, if that is above 0. To "
        "spend more, somebody at the site must decide to raise train.privacy.budget.",
    )
