"""Numbers and cells as people read them, on a screen, in a page, in a card, in a spreadsheet."""

from __future__ import annotations

import math
import re
from typing import Any

MISSING = "–"
"""What was not measured is a dash, never zero."""


FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
"""How a text begins that a spreadsheet takes for a formula, which may start programs: see OWASP, CSV Injection."""


def sheet_cell(value: Any) -> Any:
    """A cell of a table that people open in a spreadsheet: before a text that begins like a formula, an apostrophe. For
    tables that relay does not read again; numbers stay."""
    if not isinstance(value, str) or not FORMULA.match(value):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def number(value: float | None, digits: int = 3) -> str:
    """A number for a cell; a dash for what was not measured."""
    return MISSING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def rounded_up(value: float, digits: int = 2) -> float:
    """A number above 0 with so many digits, never below itself; infinity stays."""
    if not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) + 1 - digits)
    return float(f"{math.ceil(value / unit * (1 - 1e-12)) * unit:.12g}")


def signed(value: float | None) -> str:
    """A change, with its sign."""
    return MISSING if value is None or math.isnan(value) else f"{value:+.3f}"


def bounds(low: float | None, high: float | None) -> str:
    """An interval for a cell."""
    return MISSING if MISSING in (number(low), number(high)) else f"{number(low)} to {number(high)}"
