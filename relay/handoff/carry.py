"""The carry: all that a leg hands over, as a folder of files that are never unpickled or executed.

- ``solver.safetensors``: the weights of the network that does the clinical task;
- ``memory.safetensors``: what travels beside it so that earlier sites are not forgotten (absent if empty);
- ``carry.json``: which net they are of, and how it reads images and names classes;
- ``config.json``, ``data-card.json``, ``results.json``: what the leg was, learned from, and scored;
- ``facts.json``: what a statement will be made of. It stays at the site.

Written at the end of a leg, it is what a bundle is packed from. Read, it is a bundle's verified inside.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from relay.config.options import Field, options
from relay.errors import CarryError
from relay.files import write_folder
from relay.handoff import manifest
from relay.handoff.container import measure
from relay.handoff.document import Name, Sha256, canonical, digest, parse, read
from relay.handoff.refusals import BadDocument

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FORMAT = 1
FACTS = "facts.json"
TRAVELLING = (manifest.CARRY, manifest.CONFIG, manifest.DATA_CARD, manifest.RESULTS)


@dataclass(frozen=True)
class Carry:
    """Solver, memory, and the facts about them.

    Attributes:
        solver: the solver's weights by name, on the CPU.
        memory: named tensors; each leg's under a prefix of its own.
        facts: plain JSON: ``model``, ``data``, and ``legs``: for each leg so far, oldest first, its ``leg``,
            ``site``, ``strategy`` and ``train_samples``, as its own statement says.
    """

    solver: Mapping[str, Tensor]
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def legs(self) -> list[dict[str, Any]]:
        """What each leg so far said of itself, oldest first."""
        return list(self.facts.get("legs", []))

    @property
    def samples_seen(self) -> int:
        """Training samples of all legs so far."""
        return sum(int(leg["train_samples"]) for leg in self.legs)


@options
class Facts:
    """What the site knows of its leg.

    Attributes:
        start: :func:`weights_digest` of what it was trained from; null for nothing.
        samples: training samples, exact.
        result: mean Dice on each test set here; null where nothing could be measured.
        tensors: how many the solver and the memory have.
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


def write(carry: Carry, folder: Path, documents: Mapping[str, Any], facts: Facts) -> None:
    """Write a carry as a folder: whole or not at all.

    Args:
        documents: plain JSON values for ``config.json``, ``data-card.json`` and ``results.json``, by name.
    """
    from safetensors.torch import save

    tensors = {manifest.SOLVER: carry.solver, manifest.MEMORY: carry.memory}
    files = {n: save({k: v.detach().cpu().contiguous() for k, v in t.items()}) for n, t in tensors.items() if t}
    head = {"format": FORMAT, "model": carry.facts["model"], "data": carry.facts["data"]}
    plain = {manifest.CARRY: head, **documents, FACTS: facts}
    write_folder(folder, files | {name: canonical(content) for name, content in plain.items()})


def read_facts(folder: Path) -> Facts:
    """The facts of a leg that was run here.

    Raises:
        CarryError: there is no such leg.
    """
    try:
        return parse(Facts, (folder / FACTS).read_bytes(), str(folder / FACTS))
    except OSError as error:
        raise CarryError(f"no carry in {folder}: {error.strerror} ({FACTS})", "Run the leg first.") from error


def weights_digest(listed: Mapping[str, str]) -> str:
    """What names the weights, whoever signed them: SHA-256 over those of solver and memory, from a manifest."""
    return digest("".join(listed.get(name, "-") for name in (manifest.SOLVER, manifest.MEMORY)).encode())


def digest_of(folder: Path) -> str:
    """:func:`weights_digest` of a leg that was run here.

    Raises:
        CarryError: there is no such leg.
    """
    paths = [folder / name for name in (manifest.SOLVER, manifest.MEMORY)]
    if not paths[0].is_file():
        raise CarryError(f"no carry in {folder}", "Run the leg before this one first.")
    return weights_digest({path.name: measure(path).sha256 for path in paths if path.is_file()})


def load(folder: Path, legs: Sequence[Mapping[str, Any]] = ()) -> Carry:
    """Read a carry whose files were verified.

    Args:
        legs: what the statements say of the legs so far.

    Raises:
        BadDocument: the weights can't be parsed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        solver = load_file(folder / manifest.SOLVER)
        memory = load_file(folder / manifest.MEMORY) if (folder / manifest.MEMORY).is_file() else {}
    except (OSError, SafetensorError) as error:
        raise BadDocument(f"the weights can't be parsed: {error}") from error
    head = read((folder / manifest.CARRY).read_bytes(), manifest.CARRY)
    facts = {"model": head["model"], "data": head["data"], "legs": [dict(leg) for leg in legs]}
    return Carry(solver, memory, facts)


def link(source: Path, target: Path) -> None:
    """The same file under a second name: a hard link where the disk can do that, else a copy.

    Files are only ever replaced here, never changed, so that both names keep their content.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def load_solver(solver: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put received weights into a net: the names, shapes and types must fit exactly, the values be finite.

    Raises:
        CarryError: naming the first few that do not fit; the net is left as it was.
    """
    have = solver.state_dict()
    wrong = [f"{k}: missing" for k in have.keys() - weights.keys()]
    wrong += [f"{k}: not in the net" for k in weights.keys() - have.keys()]
    for name in have.keys() & weights.keys():
        mine, theirs = have[name], weights[name]
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
            wrong.append(f"{name}: {tuple(theirs.shape)} {theirs.dtype}, the net has {tuple(mine.shape)} {mine.dtype}")
        elif not theirs.isfinite().all():
            wrong.append(f"{name}: not finite")
    if wrong:
        shown = "; ".join(sorted(wrong)[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise CarryError(f"the weights do not fit the net of this config: {shown}")
    solver.load_state_dict(weights)
