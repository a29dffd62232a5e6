"""The content of a bundle: the closed list of its entries, and the manifest of their digests.

The manifest has one line for each entry, ``<sha-256>  <name>``, so ``sha256sum -c`` checks an unpacked bundle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from relay.errors import some
from relay.trust import MAX_BYTES, SUBJECT, BadContainer, BadDocument, Claim, Tensors

SHARE = "share.dsse.json"
"""Only in a copy for a hospital outside the study: who gave it to whom (:class:`relay.trust.Share`)."""
STATEMENT = "statement.dsse.json"
MANIFEST = SUBJECT
MODEL_CARD = "MODEL_CARD.md"
HANDOVER = "handover.json"
CONFIG = "config.json"
DATA_CARD = "data-card.json"
RESULTS = "results.json"
MEMORY = "memory.safetensors"
CUMULATIVE = "cumulative.safetensors"
EXPERT = "expert.safetensors"
MODEL = "model.safetensors"

_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_][A-Za-z0-9_./-]{0,99})")
_NUMBERED = re.compile(r"(rosters|chain)/([0-9]{4})(?:\.dsse\.json|/[a-z0-9.-]+)")


@dataclass(frozen=True)
class Layout:
    """Which of its optional entries a bundle has.

    Attributes:
        rosters: versions of the rosters in it, ascending, 1 to 9999.
        legs: how many earlier legs are in the chain.
        memory: whether this leg has its own memory.
        cumulative: whether there is a memory of all legs so far.
        remembered: the earlier legs whose own memories are in the chain, ascending.
        expert: whether this leg has its own expert.
        experts: the earlier legs whose experts are in the chain, ascending.
        share: whether it is a copy for a hospital outside the study.
    """

    rosters: Sequence[int]
    legs: int
    memory: bool = False
    cumulative: bool = False
    remembered: Sequence[int] = ()
    expert: bool = False
    experts: Sequence[int] = ()
    share: bool = False

    def names(self) -> list[str]:
        """All entries, in their only valid order."""
        chain = [earlier(leg, name) for leg, link in self._links() for name in link]
        own = [name for memory in self._own for name in (card_of(memory), memory)]
        own += [EXPERT] if self.expert else []
        documents = [MODEL_CARD, HANDOVER, CONFIG, DATA_CARD, RESULTS]
        first = [SHARE] if self.share else []
        return [*first, STATEMENT, MANIFEST, *map(roster, self.rosters), *chain, *documents, *own, MODEL]

    def _links(self) -> Iterator[tuple[int, list[str]]]:
        """Each earlier leg's number and files, as named in its own bundle."""
        memories, experts = set(self.remembered), set(self.experts)  # made once: there may be thousands
        for leg in range(1, self.legs + 1):
            yield leg, [*CHAIN, *(KEPT if leg in memories else ()), *((EXPERT,) if leg in experts else ())]

    def links(self, read: Callable[[str], bytes]) -> Iterator[dict[str, bytes]]:
        """The documents of each earlier leg by those names, oldest first; each is read on demand."""
        for leg, link in self._links():
            yield {name: read(earlier(leg, name)) for name in link if name not in (MEMORY, EXPERT)}

    @property
    def memories(self) -> list[str]:
        """The entries with the tensors of memories: those of earlier legs, this leg's own, and the cumulative one."""
        return [*(earlier(leg, MEMORY) for leg in self.remembered), *self._own]

    @property
    def documents(self) -> list[str]:
        """The JSON entries beside this leg's claim."""
        return [HANDOVER, CONFIG, DATA_CARD, RESULTS, *map(card_of, self._own)]

    @property
    def _own(self) -> list[str]:
        return [name for name, there in zip(OWN, (self.memory, self.cumulative), strict=True) if there]


def card_of(memory: str) -> str:
    """The entry that describes a memory: ``memory.json`` for ``memory.safetensors``."""
    return memory.removesuffix(".safetensors") + ".json"


UNLISTED = (SHARE, STATEMENT, MANIFEST)
"""What a manifest does not list."""
OWN = (MEMORY, CUMULATIVE)
"""The memories that a leg writes."""
CHAIN = (STATEMENT, MANIFEST, RESULTS, DATA_CARD)
"""What is kept of an earlier leg, copied from its bundle."""
KEPT = (card_of(MEMORY), MEMORY)
"""What is also kept of it, if it had its own memory."""
OPTIONAL = (*(name for memory in OWN for name in (card_of(memory), memory)), EXPERT)
"""What one who only predicts with the one model for everybody does without: a share may leave it out."""


def roster(version: int) -> str:
    """The entry with a roster."""
    return f"rosters/{version:04d}.dsse.json"


def earlier(leg: int, name: str) -> str:
    """The entry with a file from an earlier leg's bundle."""
    return f"chain/{leg:04d}/{name}"


def names_fit(names: Sequence[str]) -> Layout:
    """The layout that these entries, in this order, belong to.

    Raises:
        BadContainer: an entry does not belong, is missing, or is out of order.
    """
    numbers: dict[str, set[int]] = {"rosters": set(), "chain": set()}
    for name in names:
        if found := _NUMBERED.fullmatch(name):
            numbers[found[1]].add(int(found[2]))
    there, legs = set(names), max(numbers["chain"], default=0)
    has = {memory: not there.isdisjoint((card_of(memory), memory)) for memory in OWN}
    chain = sorted(numbers["chain"] - {0})
    kept = tuple(k for k in chain if any(earlier(k, name) in there for name in KEPT))
    experts = tuple(k for k in chain if earlier(k, EXPERT) in there)
    rosters = sorted(numbers["rosters"] - {0})
    layout = Layout(rosters, legs, has[MEMORY], has[CUMULATIVE], kept, EXPERT in there, experts, SHARE in there)
    must = layout.names()
    if list(names) != must:
        raise BadContainer(f"its entries are not those of a bundle: {_difference(names, must)}")
    if not layout.rosters:
        raise BadContainer("its entries are not those of a bundle: it has no roster")
    return layout


def _difference(names: Sequence[str], must: Sequence[str]) -> str:
    wanted, there = set(must), set(names)  # made once: there may be tens of thousands
    if extra := [name for name in names if name not in wanted]:
        return f"extra {some([name[:100] for name in extra])}"
    if missing := [name for name in must if name not in there]:
        return f"missing {some([name[:100] for name in missing])}"
    if len(names) != len(must):
        return "one appears twice"
    first, expected = next((a, b) for a, b in zip(names, must, strict=True) if a != b)
    return f"found {first} where {expected} must be"


def write(digests: Mapping[str, str]) -> bytes:
    """The manifest of these entries.

    Args:
        digests: name to SHA-256 in hex, in the container's order.
    """
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()


def parse(data: bytes, what: str = MANIFEST) -> dict[str, str]:
    """Name to SHA-256 of a manifest, in its order.

    Args:
        what: what to call it in errors.

    Raises:
        BadDocument: it is not exactly what :func:`write` writes, or a name appears twice.
    """
    if not 0 < len(data) <= MAX_BYTES:
        raise BadDocument(f"{what} has {len(data)} bytes; it must have 1 to {MAX_BYTES}")
    digests: dict[str, str] = {}
    # not splitlines: that splits at other characters, too
    lines = data.decode("ascii", "replace").split("\n")
    for number, line in enumerate(lines[:-1], 1):
        found = _LINE.fullmatch(line)
        if not found or ".." in found[2].split("/"):
            raise BadDocument(f"{what}, line {number}: {line[:80]!a} is not '<sha-256>  <name>'")
        if found[2] in digests:
            raise BadDocument(f"{what}, line {number}: {found[2]} appears twice")
        digests[found[2]] = found[1]
    if lines[-1]:
        raise BadDocument(f"{what} does not end with a newline")
    return digests


def stated_tensors(claims: Sequence[Claim], withdrawn: Collection[int] = ()) -> dict[str, Tensors | None]:
    """What a chain's claims, oldest first, say about the weight files in its last leg's bundle, by entry.

    Args:
        withdrawn: earlier legs whose experts no longer travel, so that they are missing.
    """
    *before, own = claims
    kept = {earlier(made.leg, MEMORY): made.handover.memory for made in before}
    experts = {earlier(made.leg, EXPERT): None if made.leg in withdrawn else made.handover.expert for made in before}
    handover = own.handover
    return {
        **kept,
        **experts,
        EXPERT: handover.expert,
        MEMORY: handover.memory,
        CUMULATIVE: handover.cumulative,
        MODEL: handover.model,
    }


def covers(digests: Mapping[str, str], names: Sequence[str]) -> None:
    """Check that a manifest lists all of a container's entries but :data:`UNLISTED`, in their order.

    Raises:
        BadContainer: an entry is not listed, or a listed one is missing.
    """
    listed, must = list(digests), [name for name in names if name not in UNLISTED]
    if listed != must:
        raise BadContainer(f"{MANIFEST} does not list the actual entries: {_difference(listed, must)}")
