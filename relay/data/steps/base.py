"""Steps: named, typed operations on an image before the network sees it, in the order of ``dataset.kwargs.steps``.

A step is a plug-in of the group ``relay.steps``: its options, and :meth:`Step.process`. Steps are part of the signed
description of what a model expects; they run again when it predicts, and the case's
:class:`~relay.data.steps.grid.Grid` takes predicted masks back to the image's own voxels.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeAlias

from relay import registry
from relay.config import Field, Named, check, options
from relay.data.record import Case
from relay.errors import UserError

Side = Annotated[int, Field(ge=1)]
Sides = Annotated[list[Side | None], Field(min_length=2, max_length=3)]
"""Voxels along each axis, or null to leave an axis as it is."""
Known: TypeAlias = Sequence[int | None] | None


@options
class Step:
    """A plug-in of the group ``relay.steps``.

    Attributes:
        normalises: Whether it brings intensities into -1 to 1.
    """

    normalises: ClassVar[bool] = False

    @abstractmethod
    def process(self, case: Case) -> Case:
        """The case after this step.

        Args:
            case: Its image is float32 ``(*S, C)``, to be left unchanged; its target is a mask ``(*S)``, or something
                without these axes.

        Raises:
            DataError: the image can't be processed; the file is named by the caller.
        """

    def lengths(self) -> Sequence[object] | None:
        """What this step says about each axis; None if it works with any number of axes."""
        return None

    def fixed(self, before: Known) -> Known:
        """The size of all images after this step, from that before it; None, as a whole or for an axis, if it is not
        known."""
        return before


def made(named: Named) -> Step:
    """A step from its name and its options.

    Raises:
        UserError: there is no such step, or an option is wrong.
    """
    cls = registry.find("steps", named.name)
    step, problems = check(cls, named.kwargs)
    if step is None:
        raise UserError("; ".join(map(str, problems)))
    if not isinstance(step, Step):
        raise UserError(f"'{named.name}' is no step", "Derive it from relay.data.Step, with @options.")
    return step


def spec(chosen: Sequence[Named]) -> list[dict[str, Any]]:
    """Steps with all their options, defaults included, as plain values."""
    return [{"name": named.name, "kwargs": _plain(dataclasses.asdict(made(named)))} for named in chosen]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
