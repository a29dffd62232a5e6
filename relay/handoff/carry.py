"""The carry: all that a leg hands over.

On disk a carry is a folder of three files, and nothing in it is ever unpickled or executed:

- ``solver.safetensors``: the weights of the network that does the clinical task;
- ``memory.safetensors``: what travels beside it so that earlier sites are not forgotten (absent if empty);
- ``carry.json``: the facts (format version, net, classes, legs so far) and the SHA-256 of the other two.

This is the unsigned inside of a bundle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.errors import CarryError, VerificationError
from relay.files import write_folder

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FORMAT = 1
FACTS = "carry.json"
SOLVER = "solver.safetensors"
MEMORY = "memory.safetensors"


@dataclass(frozen=True)
class Carry:
    """Solver, memory, and the facts about them.

    Attributes:
        solver: the solver's weights by name, on the CPU.
        memory: named tensors; each leg's under a prefix of its own.
        facts: plain JSON: ``model``, ``data``, ``legs`` (a list, oldest first, of what each leg says).
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
        return sum(int(leg.get("train_samples", 0)) for leg in self.legs)


def is_carry(folder: Path) -> bool:
    """Whether a folder looks like a carry; says nothing of what is inside."""
    return (folder / FACTS).is_file()


def send(carry: Carry, folder: Path) -> None:
    """Write a carry as a folder: whole or not at all (written beside, then renamed)."""
    from safetensors.torch import save

    tensors = {SOLVER: carry.solver, MEMORY: carry.memory}
    files = {n: save({k: v.detach().cpu().contiguous() for k, v in t.items()}) for n, t in tensors.items() if t}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    digests["facts"] = _digest_of(carry.facts)
    head = {"format": FORMAT, "sha256": digests, "facts": dict(carry.facts)}
    files[FACTS] = (json.dumps(head, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    write_folder(folder, files)


def receive(folder: Path) -> Carry:
    """Read a carry; every file's digest is checked before its first weight is parsed.

    Raises:
        CarryError: a file is missing, not whole, of another format version, or not what it should be.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        head = json.loads((folder / FACTS).read_bytes())
        version, digests, facts = head["format"], dict(head["sha256"]), dict(head["facts"])
    except OSError as error:
        raise CarryError(f"no carry in {folder}: {error.strerror} ({FACTS})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CarryError(f"{folder / FACTS} is not the head of a carry") from error
    if version != FORMAT:
        raise CarryError(
            f"{folder} has format version {version}, this program reads {FORMAT}", "Update the older site."
        )
    if digests.pop("facts", None) != _digest_of(facts):
        raise VerificationError(f"the facts in {folder / FACTS} are not those that were sent (their SHA-256 differs)")
    _check_legs(facts, folder / FACTS)
    if not {SOLVER} <= set(digests) <= {SOLVER, MEMORY}:
        raise CarryError(f"{folder / FACTS} lists {sorted(digests)}; allowed: {SOLVER}, {MEMORY}")
    data = {name: _whole(folder / name, digest) for name, digest in digests.items()}
    try:
        tensors = {name: load(content) for name, content in data.items()}
    except SafetensorError as error:
        raise CarryError(f"weights in {folder} can't be parsed: {error}") from error
    return Carry(tensors[SOLVER], tensors.get(MEMORY, {}), facts)


def _digest_of(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _check_legs(facts: Mapping[str, Any], source: Path) -> None:
    """The counts that averaging relies on: whole numbers of at least one."""
    legs = facts.get("legs", [])
    counts = [leg.get("train_samples") if isinstance(leg, dict) else None for leg in legs if isinstance(legs, list)]
    if not isinstance(legs, list) or any(type(n) is not int or n < 1 for n in counts):
        raise CarryError(f"{source}: each of its legs must say train_samples, a whole number of at least 1")


def _whole(path: Path, digest: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CarryError(
            f"{path}: {error.strerror}", "The copy is not complete: copy the whole folder again."
        ) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise VerificationError(f"{path} is not the file that was sent (its SHA-256 differs)")
    return data


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
