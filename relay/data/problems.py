"""One error for many bad files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, zip_longest

from relay.errors import DataError

SHOWN = 5


def refuse(problems: Sequence[str | DataError], what: str, advice: str | None = None) -> None:
    """Raise one error for all problems found, if there are any.

    Problems with the same advice are grouped, and at least one is shown for each advice, as far as space allows.

    Args:
        problems: A line each, naming the file; or an error with its own advice.
        what: What they have in common, with the data set's name: ``"task 'drive': unreadable files"``.
        advice: What to do about problems without their own advice, if not to fix or remove the files.

    Raises:
        DataError: there are problems; the first five are listed and the others counted.
    """
    if not problems:
        return
    cures: dict[str | None, list[str]] = defaultdict(list)
    for problem in problems:
        own = problem.own_advice if isinstance(problem, DataError) else None
        cures[own or advice].append(str(problem))
    in_turn = [text for text in chain.from_iterable(zip_longest(*cures.values())) if text is not None]
    shown = set(in_turn[:SHOWN])
    lines = [f"  - {text}" for texts in cures.values() for text in texts if text in shown][:SHOWN]
    if len(problems) > SHOWN:
        lines.append(f"  - and {len(problems) - SHOWN} more")
    said = "\n  ".join(
        dict.fromkeys(cure or DataError("").advice() for cure in cures)
    )  # as relay.errors.shown requires
    error = DataError(f"{what} ({len(problems)}):\n" + "\n".join(lines), said)
    error.listed = tuple(map(str, problems))
    raise error


def together(errors: Sequence[DataError]) -> None:
    """Raise several errors as one, if there are any.

    Raises:
        DataError: there are errors.
    """
    if len(errors) == 1:
        raise errors[0]
    if errors:
        advice = "\n  ".join(dict.fromkeys(line.strip() for error in errors for line in error.advice().splitlines()))
        said = "\n".join(map(str, errors)).replace("\n", "\n  ")
        raise DataError(f"images of {len(errors)} sites can't be used:\n  {said}", advice)
