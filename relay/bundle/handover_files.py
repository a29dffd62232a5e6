"""The handover: everything a leg hands on, as a folder of files that are never unpickled or executed.

- ``model.safetensors``: the weights of the network that does the clinical task;
- ``memory.safetensors`` and its card ``memory.json``: what this leg stores about its site so that it is not forgotten.
  It stays in all later handovers, signed with its leg. Absent if a leg has none;
- ``cumulative.safetensors`` and ``cumulative.json``: a memory of all legs so far, renewed by each leg. May be absent;
- ``expert.safetensors``: the model that is best at this leg's own site, in half precision. Like a memory, it stays in
  all later handovers unless the coordinator withdraws it. Absent if a leg has none;
- ``handover.json``: the net they belong to, and how it reads images and names classes;
- ``config.json``, ``data-card.json``, ``results.json``: the leg's settings, data and scores;
- ``facts.json``: the input for the statement. It stays at the site;
- ``digests.json``: SHA-256 of all these, so that files damaged on disk are never signed. It stays at the site, too.

A leg writes it at its end, and a bundle is packed from it. Reading it gives the verified content of a bundle.
"""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from relay import tensorfile
from relay.bundle import manifest
from relay.bundle.container import measure
from relay.bundle.memory_card import MemoryCard
from relay.config import Field, options
from relay.errors import HandoverError, UserError
from relay.files import read_bytes, write_folder
from relay.handover import Handover, MemoryState
from relay.tensorfile import BadTensors
from relay.trust import BadDocument, Name, Sha256, canonical, digest, parse, read

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
FACTS, DIGESTS = "facts.json", "digests.json"
WEIGHTS = (manifest.MODEL, *manifest.OWN, manifest.EXPERT)
TRAVELLING = (manifest.HANDOVER, manifest.CONFIG, manifest.DATA_CARD, manifest.RESULTS)


@options
class Facts:
    """What the site knows about its leg.

    Attributes:
        start: :func:`weights_digest` of what it was trained from; null for nothing.
        samples: exact number of training samples.
        result: the score on each test set here, as in :class:`relay.trust.Claim`; null if nothing could be measured.
        tensors: how many the model, each memory and the expert have.
        torch: its version.
    """

    leg: Annotated[int, Field(ge=1)]
    site: Name
    strategy: str
    start: Sha256 | None
    samples: Annotated[int, Field(ge=1)]
    result: dict[str, float | dict[str, float | None] | None]
    tensors: dict[str, int]
    torch: str


def write(handover: Handover, folder: Path, documents: Mapping[str, Any], facts: Facts) -> None:
    """Write a leg's handover as a folder, completely or not at all. Of memories and experts, only the leg's own
    are written.

    Args:
        documents: plain JSON values for ``config.json``, ``data-card.json`` and ``results.json``, by name.

    Raises:
        UserError: no other site would read a name, a type or the number of its tensors.
    """
    from safetensors.torch import save

    states = {manifest.MEMORY: handover.memories.get(facts.leg), manifest.CUMULATIVE: handover.cumulative}
    tensors = {manifest.MODEL: handover.model, **{name: state.tensors for name, state in states.items() if state}}
    tensors |= {manifest.EXPERT: handover.experts[facts.leg]} if facts.leg in handover.experts else {}
    files = {n: save({k: v.detach().cpu().contiguous() for k, v in t.items()}) for n, t in tensors.items()}
    for name, data in files.items():
        try:
            tensorfile.check_stream(io.BytesIO(data), len(data), len(tensors[name]))
        except BadTensors as error:
            raise UserError(f"{name} can't be handed over: {error}", "Change the net or the memory.") from error
    disclosed = {manifest.card_of(name): card(state) for name, state in states.items() if state}
    head = {"format": FORMAT, "model": handover.facts["model"], "data": handover.facts["data"]}
    plain = {manifest.HANDOVER: head, **documents, **disclosed, FACTS: facts}
    files |= {name: canonical(content) for name, content in plain.items()}
    write_folder(folder, files | {DIGESTS: manifest.write({name: digest(data) for name, data in files.items()})})


def read_facts(folder: Path) -> Facts:
    """The facts of a leg that was run here.

    Raises:
        HandoverError: there is no such leg, or they are damaged.
    """
    try:
        return parse(Facts, read_bytes(folder / FACTS), str(folder / FACTS))
    except OSError as error:
        raise HandoverError(f"no handover in {folder}: {error.strerror} ({FACTS})", "Run the leg first.") from error
    except BadDocument as error:
        raise _damaged(folder / FACTS, error) from error


def check_there(folder: Path) -> None:
    """Check that a leg that was run here still has its facts, because running it again would skip it.

    Raises:
        HandoverError: they are missing.
    """
    if folder.parent.is_dir() and not (folder / FACTS).is_file():
        raise _damaged(folder / FACTS, "it is missing")


def check_whole(folder: Path) -> None:
    """Check that every file of a leg that was run here is as it was written.

    Raises:
        HandoverError: there is no such leg, or a file is damaged or missing.
    """
    check_there(folder)
    read_facts(folder)
    try:
        listed = manifest.parse(read_bytes(folder / DIGESTS))
    except OSError:
        return  # an older version wrote none
    except BadDocument as error:
        raise _damaged(folder / DIGESTS, error) from error
    for name, said in listed.items():
        path = folder / name
        if not path.is_file():
            raise _damaged(path, "it is missing")
        if measure(path).sha256 != said:
            raise _damaged(path, "it is not what the leg wrote")


def _damaged(path: Path, why: object) -> HandoverError:
    return HandoverError(f"{path} is damaged: {why}", f"Remove {path.parent.parent} to train this leg again.")


def card(state: MemoryState) -> dict[str, Any]:
    """The content of a memory's JSON file."""
    return {
        "format": 1,
        "kind": state.kind,
        "privacy": dataclasses.asdict(state.privacy),
        "about": dict(state.about),
        "audit": None if state.audit is None else dict(state.audit),
    }


def weights_digest(listed: Mapping[str, str]) -> str:
    """An identifier for weights, no matter who signed them: SHA-256 over those of model, memories and expert in a
    manifest."""
    always = "".join(listed.get(name, "-") for name in (manifest.MODEL, *manifest.OWN))
    return digest((always + listed.get(manifest.EXPERT, "")).encode())


def digest_of(folder: Path) -> str:
    """:func:`weights_digest` of a leg that was run here.

    Raises:
        HandoverError: there is no such leg.
    """
    paths = [folder / name for name in WEIGHTS]
    if not paths[0].is_file():
        raise HandoverError(f"no handover in {folder}", "Run the previous leg first.")
    return weights_digest({path.name: measure(path).sha256 for path in paths if path.is_file()})


def load(folder: Path, legs: Sequence[Mapping[str, Any]] = (), counts: Mapping[str, int] | None = None) -> Handover:
    """Read a handover whose files are verified.

    Args:
        legs: what the statements say about the legs so far.
        counts: how many tensors each file must have according to its statement, by entry. None to skip the check.

    Raises:
        BadDocument: the weights can't be parsed.
    """
    model = _tensors(folder, manifest.MODEL, counts)
    found = {leg: _memory_state(folder, name, counts) for leg, name in _entries(legs, manifest.MEMORY).items()}
    experts = {
        leg: _tensors(folder, name, counts)
        for leg, name in _entries(legs, manifest.EXPERT).items()
        if (folder / name).is_file()
    }
    cumulative = _memory_state(folder, manifest.CUMULATIVE, counts)
    head = read(read_bytes(folder / manifest.HANDOVER), manifest.HANDOVER)
    facts = {"model": head["model"], "data": head["data"], "legs": _told(folder, legs)}
    if (folder / manifest.CONFIG).is_file():
        facts["config"] = read(read_bytes(folder / manifest.CONFIG), manifest.CONFIG)
    return Handover(model, {leg: state for leg, state in found.items() if state}, cumulative, facts, experts)


def _told(folder: Path, legs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the legs said about themselves, with the ``zero_shot`` of their results."""
    found = []
    for leg, name in zip(legs, _entries(legs, manifest.RESULTS).values(), strict=True):
        scores = read(read_bytes(folder / name), name).get("zero_shot", []) if (folder / name).is_file() else []
        found.append({**leg, "zero_shot": scores})
    return found


def _entries(legs: Sequence[Mapping[str, Any]], name: str) -> dict[int, str]:
    """The entry with a file of each leg, the last of which is the bundle's own."""
    earlier = {leg["leg"]: manifest.earlier(leg["leg"], name) for leg in legs[:-1]}
    return earlier | {leg["leg"]: name for leg in legs[-1:]}


def _memory_state(folder: Path, name: str, counts: Mapping[str, int] | None) -> MemoryState | None:
    """A memory and its card; None if there is none."""
    if not (folder / name).is_file():
        return None
    card_name = manifest.card_of(name)
    disclosed = parse(MemoryCard, read_bytes(folder / card_name), card_name)
    return MemoryState(
        _tensors(folder, name, counts), disclosed.kind, disclosed.privacy, disclosed.about, disclosed.audit
    )


def _tensors(folder: Path, name: str, counts: Mapping[str, int] | None) -> dict[str, Tensor]:
    """A file of weights; if its statement says how many tensors it has, no longer header is read."""
    try:
        return tensorfile.load(folder / name, None if counts is None else counts.get(name, 0))
    except (OSError, BadTensors) as error:
        raise BadDocument(f"the weights can't be parsed: {name}: {error}") from error


def link(source: Path, target: Path) -> None:
    """The same file under a second name: a hard link if the disk supports it, else a copy.

    Files here are only ever replaced, never changed, so both names keep their content.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
