"""``@options``: a dataclass that validates its values.

It is the schema of a YAML block, the default values and the documentation at once. Ranges are written as
``Annotated[int, Field(ge=1)]`` and choices as ``Literal["a", "b"]``.
"""

from __future__ import annotations

from typing import TypeVar, cast

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from typing_extensions import dataclass_transform

__all__ = ["Field", "options"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def options(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen, keyword-only dataclass that refuses unknown keys and wrong values."""
    config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)
    return cast(type[T], dataclass(cls, config=config, frozen=True, kw_only=True))
