"""The handover: all that a leg hands over, as a folder of files that are never unpickled or executed.

- ``model.safetensors``: the weights of the network that does the clinical task;
- ``memory.safetensors`` and its card ``memory.json``: what this leg keeps of its site so that it is not forgotten. It
  stays in all later handovers, signed with its leg. Absent where a leg keeps nothing;
- ``cumulative.safetensors`` and ``cumulative.json``: a memory of all legs so far, renewed by each leg. Absent likewise;
- ``handover.json``: which net they are of, and how it reads images and names classes;
- ``config.json``, ``data-card.json``, ``results.json``: what the leg was, learned from, and scored;
- ``facts.json``: what a statement will be made of. It stays at the site;
- ``digests.json``: SHA-256 of all these, so that what a disk has damaged is never signed. It stays, too.

Written at the end of a leg, it is what a bundle is packed from. Read, it is a bundle's verified inside.
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
WEIGHTS = (manifest.MODEL, *manifest.OWN)
TRAVELLING = (manifest.HANDOVER, manifest.CONFIG, manifest.DATA_CARD, manifest.RESULTS)


@options
class Facts:
    """What the site knows of its leg.

    Attributes:
        start: :func:`weights_digest` of what it was trained from; null for nothing.
        samples: training samples, exact.
        result: mean Dice on each test set here; null where nothing could be measured.
        tensors: how many the model and each memory have.
        torch: version.
    """

    leg: Annotated[int, Field(ge=1)]
    site: Name
    strategy: str
    start: Sha256 | None
    samples: Annotated[int, Field(ge=1)]
    result: dict[str, float | None]
    tensors: dict[str, int]
    torch: str


def write(handover: Handover, folder: Path, documents: Mapping[str, Any], facts: Facts) -> None:
    """Write a leg's handover as a folder: whole or not at all. Of its memories, its own is written.

    Args:
        documents: plain JSON values for ``config.json``, ``data-card.json`` and ``results.json``, by name.

    Raises:
        UserError: a name, type or number of tensors is one that no other site would read.
    """
    from safetensors.torch import save

    parts = {manifest.MEMORY: handover.memories.get(facts.leg), manifest.CUMULATIVE: handover.cumulative}
    tensors = {manifest.MODEL: handover.model, **{name: part.tensors for name, part in parts.items() if part}}
    files = {n: save({k: v.detach().cpu().contiguous() for k, v in t.items()}) for n, t in tensors.items()}
    for name, data in files.items():
        try:
            tensorfile.check_stream(io.BytesIO(data), len(data), len(tensors[name]))
        except BadTensors as error:
            raise UserError(f"{name} can't be handed over: {error}", "Change the net or the memory.") from error
    disclosed = {manifest.card_of(name): card(part) for name, part in parts.items() if part}
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
    """Whether a leg that was run here still has its facts: to run it again would pass it over.

    Raises:
        HandoverError: they are lost.
    """
    if folder.parent.is_dir() and not (folder / FACTS).is_file():
        raise _damaged(folder / FACTS, "it is lost")


def check_whole(folder: Path) -> None:
    """Whether every file of a leg that was run here is as it was written.

    Raises:
        HandoverError: there is no such leg, or one is damaged, or lost.
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
            raise _damaged(path, "it is lost")
        if measure(path).sha256 != said:
            raise _damaged(path, "it is not what the leg wrote")


def _damaged(path: Path, why: object) -> HandoverError:
    return HandoverError(f"{path} is damaged: {why}", f"Remove {path.parent.parent} to train this leg again.")


def card(part: MemoryState) -> dict[str, Any]:
    """What a memory's JSON file says."""
    return {
        "format": 1,
        "kind": part.kind,
        "privacy": dataclasses.asdict(part.privacy),
        "about": dict(part.about),
        "audit": None if part.audit is None else dict(part.audit),
    }


def weights_digest(listed: Mapping[str, str]) -> str:
    """What names the weights, whoever signed them: SHA-256 over those of model and memories, from a manifest."""
    return digest("".join(listed.get(name, "-") for name in WEIGHTS).encode())


def digest_of(folder: Path) -> str:
    """:func:`weights_digest` of a leg that was run here.

    Raises:
        HandoverError: there is no such leg.
    """
    paths = [folder / name for name in WEIGHTS]
    if not paths[0].is_file():
        raise HandoverError(f"no handover in {folder}", "Run the leg before this one first.")
    return weights_digest({path.name: measure(path).sha256 for path in paths if path.is_file()})


def load(folder: Path, legs: Sequence[Mapping[str, Any]] = (), counts: Mapping[str, int] | None = None) -> Handover:
    """Read a handover whose files were verified.

    Args:
        legs: what the statements say of the legs so far.
        counts: how many tensors each file must hold, by its entry, as its statement says. None: not compared.

    Raises:
        BadDocument: the weights can't be parsed.
    """
    model = _tensors(folder, manifest.MODEL, counts)
    entries = {leg["leg"]: manifest.earlier(leg["leg"], manifest.MEMORY) for leg in legs[:-1]}
    entries |= {leg["leg"]: manifest.MEMORY for leg in legs[-1:]}
    found = {leg: _memory_state(folder, name, counts) for leg, name in entries.items()}
    cumulative = _memory_state(folder, manifest.CUMULATIVE, counts)
    head = read(read_bytes(folder / manifest.HANDOVER), manifest.HANDOVER)
    facts = {"model": head["model"], "data": head["data"], "legs": [dict(leg) for leg in legs]}
    if (folder / manifest.CONFIG).is_file():
        facts["config"] = read(read_bytes(folder / manifest.CONFIG), manifest.CONFIG)
    return Handover(model, {leg: part for leg, part in found.items() if part}, cumulative, facts)


def _memory_state(folder: Path, name: str, counts: Mapping[str, int] | None) -> MemoryState | None:
    """A memory and its card; None where there is none."""
    if not (folder / name).is_file():
        return None
    card_name = manifest.card_of(name)
    disclosed = parse(MemoryCard, read_bytes(folder / card_name), card_name)
    return MemoryState(
        _tensors(folder, name, counts), disclosed.kind, disclosed.privacy, disclosed.about, disclosed.audit
    )


def _tensors(folder: Path, name: str, counts: Mapping[str, int] | None) -> dict[str, Tensor]:
    """A file of weights; where its statement says how many tensors it holds, no longer header is read."""
    try:
        return tensorfile.load(folder / name, None if counts is None else counts.get(name, 0))
    except (OSError, BadTensors) as error:
        raise BadDocument(f"the weights can't be parsed: {name}: {error}") from error


def link(source: Path, target: Path) -> None:
    """The same file under a second name: a hard link where the disk can do that, else a copy.

    Files are only ever replaced here, never changed, so that both names keep their content.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
