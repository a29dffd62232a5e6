"""Many bad files, one error."""

from __future__ import annotations

from collections.abc import Sequence

from relay.errors import DataError

SHOWN = 5


def refuse(problems: Sequence[str], what: str, advice: str | None = None) -> None:
    """Raise one error for all the problems found; none found, nothing happens.

    Args:
        problems: A line each, naming the file.
        what: What they have in common, with the data set's name: ``"task 'drive': unreadable files"``.
        advice: What to do, where that is not to mend or remove the files.

    Raises:
        DataError: there are problems; the first five are listed and the others counted.
    """
    if not problems:
        return
    lines = [f"  - {problem}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        lines.append(f"  - and {len(problems) - SHOWN} more")
    raise DataError(f"{what} ({len(problems)}):\n" + "\n".join(lines), advice)
