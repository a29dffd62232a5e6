"""Cross-validation: the folds of a comparison's runs, and how their options go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from relay.errors import UserError

if TYPE_CHECKING:
    from relay.plan import Study

Fold: TypeAlias = "tuple[str, ...]"
"""As the option of a data set has it: ``("2/5",)``; empty without folds."""


def folds_of(many: int, leave_out: bool) -> list[Fold]:
    """All folds of a comparison.

    Args:
        many: into how many the patients of each site are dealt; 0 for not at all.
        leave_out: whether sites are left out in turn, too.

    Raises:
        UserError: the two can't be combined.
    """
    if many and leave_out:
        raise UserError(
            "--folds and --leave-one-out can't be combined: both say which patients are tested",
            "Make two comparisons, each with its own note (-n).",
        )
    return [(f"{number}/{many}",) for number in range(1, many + 1)] or [()]


def check_undealt(study: Study) -> None:
    """Check that the config leaves it to the comparison which patients are tested.

    Raises:
        UserError: it says so itself.
    """
    for options in (dataset.options for leg in study.legs for dataset in leg.pool):
        for key, usual in (("fold", None), ("split", "auto")):
            if (value := getattr(options, key)) != usual:
                raise UserError(
                    f"--folds: the config has {key}: {value} for {options.task_name}, which says what is tested, too",
                    f"Leave out {key}, or --folds.",
                )


def deal(given: Mapping[str, Any], ids: Sequence[int], fold: Fold) -> None:
    """Set the fold of every site that is trained on; other data sets are tested as a whole."""
    for dataset in given["all_tasks_datasets"] if fold else ():
        if (kwargs := dataset["kwargs"])["task_id"] in ids:
            kwargs["fold"] = fold[0]
