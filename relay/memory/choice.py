"""A memory as an option of a strategy: by name, with kwargs, checked with the rest of the config."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from relay import registry
from relay.config import Named, check
from relay.errors import UserError
from relay.memory.base import Memory


def _known(choice: Named | None) -> Named | None:
    if choice is None:
        return None
    try:
        cls = registry.find("memories", choice.name)
    except UserError as error:
        raise ValueError(f"{error}. {error.advice()} Or null, for none") from error
    _, problems = check(cls.Options, choice.kwargs)
    if problems:
        raise ValueError("; ".join(f"kwargs.{problem}" for problem in problems))
    return choice


Choice = Annotated[Named | None, AfterValidator(_known)]
"""A memory, or None for none."""


def build(choice: Named | None) -> Memory:
    """The chosen memory; for None, one that remembers nothing."""
    if choice is None:
        return Memory()
    cls = registry.find("memories", choice.name)
    memory: Memory = cls(cls.Options(**choice.kwargs))
    return memory
