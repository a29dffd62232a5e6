"""The statement of a leg: an in-toto Statement v1 about a bundle's manifest, with a claim as its predicate.

The in-toto attestation framework: https://github.com/in-toto/attestation/tree/main/spec/v1
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator

from relay.config import WORDS, Field, options
from relay.tasks import Task, named, of_primary
from relay.trust.document import Name, Sha256, Slug, Time, canonical, read, shaped, written
from relay.trust.envelope import Signed
from relay.trust.refusals import BadDocument, UnknownFormat

KIND = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:relay-learning:leg:v1"
SUBJECT = "manifest-sha256.txt"
"""What a statement is about: the manifest of its bundle (:mod:`relay.bundle.manifest`)."""

Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(pattern=WORDS)]
"""Short text from another site that is shown to people, for example in a table of the model card."""


@options
class Recipient:
    """Someone who can open the seal: their name in the roster and the age key it is sealed to."""

    name: Name
    sealing: Text


@options
class RosterRef:
    """The roster that a leg was made under: its version and the SHA-256 of its signed payload."""

    version: Annotated[int, Field(ge=1)]
    sha256: Sha256


@options
class Tensors:
    """How many tensors a file of weights holds, and their bytes."""

    tensors: Count
    bytes: Count


@options
class HandoverTensors:
    """What travels.

    Attributes:
        memory: from this leg alone; ``cumulative``: from all legs so far.
        expert: the model that is best at this leg's site.
    """

    model: Tensors
    memory: Tensors | None = None
    cumulative: Tensors | None = None
    expert: Tensors | None = None


@options
class Code:
    """The software that made the bundle."""

    relay: Text
    torch: Text


Fraction = Annotated[float, Field(ge=0, le=1)]
Measured = Annotated[dict[Text, Annotated[float, Field(ge=-1e15, le=1e15)] | None], Field(min_length=1, max_length=1)]
"""A metric and its value."""
Result: TypeAlias = dict[str, float | dict[str, float | None] | None]


def _metrics(result: Result) -> list[str]:
    """The metrics that a result names."""
    return list(dict.fromkeys(name for said in result.values() if isinstance(said, dict) for name in said))


def _of_one_metric(result: Result) -> Result:
    plain = any(isinstance(said, float | int) for said in result.values())
    if len(_metrics(result)) + plain > 1:
        raise ValueError("all scores must be of one metric")
    return result


@options
class Claim:
    """What a site signs about its leg.

    Attributes:
        recipients: everyone the bundle is sealed to.
        previous: digest of the statement before this one; null for the first leg.
        config: SHA-256 of ``config.json``, the scientific config.
        samples: number of training samples, exact or rounded as the policy says.
        result: the score on each test set at this site: mean Dice (0 to 1) or, of another task than segmentation, its
            primary metric by name; null if nothing could be measured.
        approved: a person at the site approved exactly what leaves; said only where the policy requires it.
    """

    study: Slug
    leg: Annotated[int, Field(ge=1, le=9999)]
    site: Name
    recipients: list[Recipient]
    previous: Sha256 | None
    roster: RosterRef
    config: Sha256
    code: Code
    strategy: Text
    samples: Annotated[int, Field(ge=1)]
    handover: HandoverTensors
    result: Annotated[dict[Name, Fraction | Measured | None], Field(max_length=1000), AfterValidator(_of_one_metric)]
    issued: Time
    expires: Time
    approved: bool = False

    @property
    def task(self) -> type[Task] | None:
        """What the scores are of; None if their metric is not known here."""
        names = _metrics(self.result)
        return of_primary(names[0]) if names else named(None)

    @property
    def score_name(self) -> str:
        """What the scores are called in a sentence."""
        return self.task.score_name if self.task else _metrics(self.result)[0]

    @property
    def scores(self) -> dict[str, float | None]:
        """Test set → score."""
        return {
            site: next(iter(said.values())) if isinstance(said, dict) else said for site, said in self.result.items()
        }


@dataclasses.dataclass(frozen=True)
class Statement:
    """A claim and the manifest it is about, after the signature is checked.

    Attributes:
        digest: SHA-256 of the signed payload: the name of this hand-over in chains, ledgers and receipts.
        envelope: the signed bytes.
    """

    claim: Claim
    manifest: str
    digest: str
    envelope: bytes


@options
class Share:
    """What a site signs when it gives the final model to a hospital outside the study (``share.dsse.json``).

    Attributes:
        statement: digest of the last leg's statement, whose manifest this is about, too.
        site: who gives it, with the key that the roster lists.
        reader: who receives it: the name that it calls itself, and the age key that the bundle is sealed to.
        roster: the newest one that the site knew.
    """

    study: Slug
    leg: Annotated[int, Field(ge=1, le=9999)]
    statement: Sha256
    site: Name
    reader: Recipient
    roster: RosterRef
    issued: Time
    expires: Time


Predicate = TypeVar("Predicate", Claim, Share)
TYPES: dict[type, str] = {Claim: PREDICATE_TYPE, Share: "urn:relay-learning:share:v1"}


def payload(said: Claim | Share, about: str) -> bytes:
    """What is signed; ``about``: the SHA-256 of the manifest that it is about."""
    return canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": SUBJECT, "digest": {"sha256": about}}],
            "predicateType": TYPES[type(said)],
            "predicate": written(said),
        }
    )


@options
class _Digest:
    sha256: Sha256


@options
class _Subject:
    name: Literal["manifest-sha256.txt"]
    digest: _Digest


def parse(data: bytes, what: str) -> tuple[Claim, str]:
    """The claim of a payload and the SHA-256 of the manifest it is about; raises as :func:`parse_as`."""
    return parse_as(Claim, data, what)


def parse_as(kind: type[Predicate], data: bytes, what: str) -> tuple[Predicate, str]:
    """What a payload says, and the SHA-256 of the manifest it is about.

    Raises:
        UnknownFormat: a statement of another kind or version.
        BadDocument: it does not match the schema.
    """
    content = read(data, what)
    keys = {"_type", "subject", "predicateType", "predicate"}
    if not isinstance(content, dict) or content.keys() != keys:
        raise BadDocument(f"{what} is not an in-toto statement (keys {', '.join(sorted(keys))})")
    kinds = (content["_type"], content["predicateType"])
    if kinds != (STATEMENT_TYPE, TYPES[kind]):
        raise UnknownFormat(f"{what} has the types {kinds}; this program reads {(STATEMENT_TYPE, TYPES[kind])}")
    subjects: list[_Subject] = shaped(list[_Subject], content["subject"], f"{what}, subject")
    if len(subjects) != 1:
        raise BadDocument(f"{what} has {len(subjects)} subjects; it must have one, the manifest")
    return shaped(kind, content["predicate"], what), subjects[0].digest.sha256


def peek(data: bytes, what: str) -> tuple[Signed, dict[str, Any]]:
    """An envelope and its predicate, unverified: use them only to find out which roster and key to look up."""
    signed = Signed(data, KIND, what)
    content = read(signed.unverified, what)
    claimed = content.get("predicate") if isinstance(content, dict) else None
    return signed, claimed if isinstance(claimed, dict) else {}
