"""Numbers for people."""

from __future__ import annotations

from math import nan

from relay.numbers import bounds, number, sheet_cell, signed


def test_what_was_not_measured_is_a_dash() -> None:
    assert [number(None), number(nan), signed(None), signed(nan)] == ["–"] * 4
    assert bounds(0.1, nan) == bounds(None, 0.1) == "–"


def test_digits_and_signs() -> None:
    assert [number(0.12345), number(0.5, 1), signed(0.0104), signed(-0.25)] == ["0.123", "0.5", "+0.010", "-0.250"]
    assert bounds(0.1, 0.25) == "0.100 to 0.250"


def test_no_cell_is_a_formula() -> None:
    """Numbers, and whatever is no text, stay."""
    for text in ("=cmd|calc.png", "+a", "-a", "@a", "\ta", "＝a"):
        assert sheet_cell(text) == f"'{text}"
    for value in ("a=b", "-0.5", "+1", "", 1, -2.5, None):
        assert sheet_cell(value) == value
