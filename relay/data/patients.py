"""Whose image it is, from its name."""

from __future__ import annotations

import re


def by_regex(pattern: str, stem: str) -> str | None:
    """The patient in a file's stem: the pattern's first group, or its whole match; None without one."""
    match = re.search(pattern, stem)
    if match is None:
        return None
    return match[1] if match.re.groups else match[0]
