"""Files made from models: a difference of two, and a model with differences added.

Both are safetensors files. Their metadata has one key, which says what the file is: ``relay.difference`` or
``relay.model``. Its value is a document in canonical JSON: from which digests it was made, when, and for which net.
Nobody signs these files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from relay import tensorfile
from relay.bundle import manifest, measure, schemas, weights_digest
from relay.config import Field, options
from relay.errors import UserError
from relay.files import atomic, damaged
from relay.handover import Handover
from relay.models.about import About
from relay.models.lineage import Link
from relay.tensorfile import BadTensors
from relay.trust import BadDocument, Sha256, Text, Time, canonical, parse, read

if TYPE_CHECKING:
    from torch import Tensor

ENDING = ".safetensors"
MOST = 10_000
"""Maximum length of a lineage in a file: a study has at most 9999 legs."""
AGAIN = "Make it again with relay models, or copy it again from its source."
Links = Annotated[list[Link], Field(max_length=MOST)]


@options
class Difference:
    """A difference of two models, ``after`` minus ``before``.

    Attributes:
        made: when; ``relay``: with which version.
        lineage: the models that both descend from, oldest first; one of the two may be among them.
        head: the content of ``handover.json``, which is the same for both.
    """

    format: Literal[1] = 1
    made: Time
    relay: Text
    signed: Literal[False] = False
    before: Link
    after: Link
    lineage: Links
    head: schemas.HandoverSpec


@options
class Added:
    """A difference that was added to a model; ``sha256``: of its file."""

    sha256: Sha256
    before: Link
    after: Link


@options
class Combined:
    """A model: ``base + scale * (sum of differences)``.

    Attributes:
        lineage: of the base, oldest first; the base is the last.
        head, config: the content of the base's ``handover.json`` and ``config.json``.
    """

    format: Literal[1] = 1
    made: Time
    relay: Text
    signed: Literal[False] = False
    scale: float
    differences: Annotated[list[Added], Field(min_length=1, max_length=MOST)]
    lineage: Annotated[list[Link], Field(min_length=1, max_length=MOST)]
    head: schemas.HandoverSpec
    config: schemas.Config


Made = Difference | Combined
KEYS: Mapping[str, type[Difference] | type[Combined]] = {"relay.difference": Difference, "relay.model": Combined}


def write(path: Path, tensors: Mapping[str, Tensor], made: Made) -> None:
    """Write such a file, completely or not at all.

    Raises:
        OSError: it can't be written.
    """
    from safetensors.torch import save_file

    key = next(key for key, kind in KEYS.items() if isinstance(made, kind))
    with atomic(path) as beside:
        save_file({name: t.contiguous() for name, t in tensors.items()}, beside, {key: canonical(made).decode()})


def is_made(path: Path) -> bool:
    """Whether a file was made with relay models, as far as its header says; also if its header is damaged."""
    try:
        return path.is_file() and bool(tensorfile.metadata_of(path).keys() & KEYS.keys())
    except (BadTensors, OSError):  # reading it says what is wrong
        return True


def read_made(path: Path) -> Made:
    """What a file says about itself; the tensors are not read.

    Raises:
        UserError: it was not made with relay models, or is damaged, or can't be read.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a file", "Name a file.")
    try:
        found = tensorfile.metadata_of(path)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}", "Check the path.") from error
    except BadTensors as error:
        raise damaged(path, error, AGAIN) from error
    for key, kind in KEYS.items():
        if found.keys() == {key}:
            try:
                return parse(kind, found[key].encode(), key)
            except BadDocument as error:
                raise damaged(path, error, AGAIN) from error
    raise UserError(
        f"{path} was not made with relay models: it doesn't say which models it comes from",
        "Give a bundle, a leg's folder in a run, or a file that relay models diff or merge wrote.",
    )


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors in such a file.

    Raises:
        UserError: it is damaged.
    """
    try:
        return tensorfile.load(path, metadata=True)
    except BadTensors as error:
        raise damaged(path, error, AGAIN) from error


def about(path: Path) -> About:
    """What is said about such a file.

    Raises:
        UserError: as :func:`read_made`.
    """
    made = read_made(path)
    sha256 = measure(path).sha256
    own = Link(id=weights_digest({manifest.MODEL: sha256}), model=sha256)
    told = About(
        study="difference" if isinstance(made, Difference) else "merged model",
        leg=None,
        site=None,
        date=made.made,
        strategy="none",
        samples=None,
        head=made.head,
        config={},
        scores={},
        lineage=(*made.lineage, own),
        sizes={path.name: path.stat().st_size},
    )
    if isinstance(made, Difference):
        return replace(told, parents=(f"{made.after.text} minus {made.before.text}",))
    added = tuple(f"{made.scale:g} × ({one.after.text} minus {one.before.text})" for one in made.differences)
    return replace(told, config=made.config, parents=(made.lineage[-1].text, *added))


def handover(path: Path) -> Handover:
    """A model from such a file, in the form in which models are tested.

    Raises:
        UserError: it is a difference, not a model; or as :func:`read_made`.
    """
    made = read_made(path)
    if isinstance(made, Difference):
        raise UserError(
            f"{path} is a difference of two models, not a model",
            "Add it to a model first: relay models merge BASE DIFFERENCE -o FILE.safetensors",
        )
    head = read(canonical(made.head), manifest.HANDOVER)
    base = next((link for link in reversed(made.lineage) if link.leg), None)
    leg = {"leg": base.leg if base else 1, "site": base.site if base else "unknown", "strategy": "merge"}
    facts = {"model": head["model"], "data": head["data"], "config": dict(made.config)}
    return Handover(tensors_of(path), facts={**facts, "legs": [{**leg, "train_samples": 0}]})
