"""The description of a generator that travels, and whether it matches."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

from relay.config import Field, check, options
from relay.errors import HandoverError
from relay.trust import Name

if TYPE_CHECKING:
    from relay.handover import MemoryState

KIND = "flow"
Width = Annotated[int, Field(ge=16, le=1024, multiple_of=8)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=6)]
Steps = Annotated[int, Field(ge=1, le=1000)]
Count = Annotated[int, Field(ge=1)]


@options
class About:
    """The sites whose images it makes, in the order of its embedding, and the form of the images.

    Attributes:
        features, steps: as in :class:`~relay.memory.flow.FlowOptions`.
        size: of an image, slowest axis first.
    """

    sites: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000)]
    features: Widths
    steps: Steps
    channels: Count
    classes: Count
    size: Annotated[tuple[Count, ...], Field(min_length=2, max_length=3)]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(self).items()}


def read(state: MemoryState, here: About) -> About:
    """The description of a received generator. ``here``: that of this config's.

    Raises:
        HandoverError: it has another kind, or makes images of another form.
    """
    if state.kind != KIND:
        raise HandoverError(f"the cumulative memory has the kind '{state.kind}', but this config's has '{KIND}'")
    about, problems = check(About, dict(state.about))
    if about is None:
        raise HandoverError("the cumulative memory's card is invalid: " + "; ".join(map(str, problems)))
    if len(set(about.sites)) < len(about.sites):
        raise HandoverError(f"the cumulative memory names a site twice: {', '.join(about.sites)}")
    there, mine = about.plain(), here.plain()
    if wrong := [name for name in ("features", "channels", "classes", "size") if there[name] != mine[name]]:
        told = "; ".join(f"{name} is {there[name]} there, {mine[name]} here" for name in wrong)
        raise HandoverError(f"the cumulative memory does not match this config: {told}")
    return about
