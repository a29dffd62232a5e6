"""Cross-validation: the folds of a comparison's runs, and how their options go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from relay.errors import UserError

if TYPE_CHECKING:
    from relay.plan import Study

Fold: TypeAlias = "tuple[str, ...]"
"""As the options of a data set have it: ``("2/5",)``, or ``("2/5", "1/3")`` for an inner fold; empty without folds."""


def folds_of(many: int, leave_out: bool, inner: int = 0) -> list[Fold]:
    """All folds of a comparison, the inner ones last.

    Args:
        many: into how many the patients of each site are dealt; 0 for not at all.
        leave_out: whether sites are left out in turn, too.
        inner: into how many those whom a fold leaves to train on are dealt again; 0 for not at all.

    Raises:
        UserError: the two can't be combined.
    """
    if many and leave_out:
        raise UserError(
            "--folds and --leave-one-out can't be combined: both say which patients are tested",
            "Make two comparisons, each with its own note (-n).",
        )
    outer: list[Fold] = [(f"{number}/{many}",) for number in range(1, many + 1)] or [()]
    return [*outer, *((*fold, f"{number}/{inner}") for fold in outer for number in range(1, inner + 1))]


def check_settings(labels: Sequence[str]) -> None:
    """Check that there is something to choose from inside each fold.

    Raises:
        UserError: there are fewer than two strategies, or they are not settings of one.
    """
    if len(labels) < 2 or len({label.partition("[")[0] for label in labels}) > 1:
        raise UserError(
            f"--inner chooses among settings of one strategy, and --strategies has {', '.join(labels)}",
            'Name at least two: --strategies "relay,relay[owm_alpha=null]"',
        )


def check_undealt(study: Study) -> None:
    """Check that the config leaves it to the comparison which patients are tested.

    Raises:
        UserError: it says so itself.
    """
    for options in (dataset.options for leg in study.legs for dataset in leg.pool):
        for key, usual in (("fold", None), ("inner_fold", None), ("split", "auto")):
            if (value := getattr(options, key)) != usual:
                raise UserError(
                    f"--folds: the config has {key}: {value} for {options.task_name}, which says what is tested, too",
                    f"Leave out {key}, or --folds.",
                )


def deal(given: Mapping[str, Any], ids: Sequence[int], fold: Fold) -> None:
    """Set the fold of every site that is trained on; other data sets are tested as a whole."""
    for dataset in given["all_tasks_datasets"] if fold else ():
        if (kwargs := dataset["kwargs"])["task_id"] in ids:
            kwargs |= dict(zip(("fold", "inner_fold"), fold, strict=False))
