"""How a site joins a study without a network: the coordinator's invitation, and the site's request in reply.

The site that receives an invitation compares its fingerprint by voice, and the coordinator does the same for each
request: the files prove that their author holds the keys, not who the author is.
"""

from __future__ import annotations

import dataclasses
import hmac
from datetime import datetime, timezone
from typing import Literal

from relay.config import options
from relay.trust.document import Sha256, Slug, canonical, parse
from relay.trust.envelope import Signed
from relay.trust.keys import Identity, Keys
from relay.trust.refusals import BadSignature, WrongRecipient, WrongStudy

INVITATION = "application/vnd.relay.invitation+json"
REQUEST = "application/vnd.relay.request+json"
_PROOF = b"relay request v1"


@options
class Invitation:
    """A study and its coordinator, signed by the coordinator."""

    format: Literal[1] = 1
    study: Slug
    coordinator: Identity


@options
class Request:
    """A site's request to join, signed by the site.

    Attributes:
        coordinator: key id of the coordinator it is addressed to.
        proof: HMAC that only a holder of the site's or the coordinator's sealing key can make.
    """

    format: Literal[1] = 1
    study: Slug
    site: Identity
    coordinator: Sha256
    proof: Sha256


def invitation_name(study: str) -> str:
    """The usual file name."""
    return f"{study}.invitation.json"


def request_name(study: str, site: str) -> str:
    """The usual file name."""
    return f"{study}.{site}.request.json"


def invite(keys: Keys, study: str) -> bytes:
    """The coordinator's invitation to a study.

    Raises:
        BadDocument: the study's name is not allowed.
    """
    content = {"format": 1, "study": study, "coordinator": dataclasses.asdict(keys.identity)}
    payload = canonical(content)
    parse(Invitation, payload, "the invitation")
    return keys.sign(payload, INVITATION)


def read_invitation(data: bytes, now: datetime | None = None) -> Invitation:
    """An invitation, signed by the coordinator it names. Only a voice check can confirm who that is.

    Raises:
        BadDocument, UnknownFormat: it is not an invitation.
        BadSignature: not signed by the coordinator it names.
        ExpiredKey: the coordinator's keys have expired.
    """
    signed = Signed(data, INVITATION, "the invitation")
    invitation = parse(Invitation, signed.unverified, "the invitation")
    signed.verify(invitation.coordinator.signing)
    invitation.coordinator.check_alive(now or datetime.now(timezone.utc))
    return invitation


def ask(keys: Keys, invitation: Invitation) -> bytes:
    """The site's request to join the study of an invitation."""
    content = {
        "format": 1,
        "study": invitation.study,
        "site": dataclasses.asdict(keys.identity),
        "coordinator": invitation.coordinator.signing,
    }
    proof = _proof(keys.agree(invitation.coordinator.sealing), content)
    return keys.sign(canonical({**content, "proof": proof}), REQUEST)


def check(data: bytes, coordinator: Keys, study: str, now: datetime | None = None) -> Identity:
    """The site that asks to join, proven to hold both its keys. The coordinator must still compare its fingerprint.

    Raises:
        BadDocument, UnknownFormat: it is not a request.
        BadSignature: not signed by the site it names, or the site does not hold its sealing key.
        WrongStudy, WrongRecipient: for another study, or to another coordinator.
        ExpiredKey: the site's keys have expired.
    """
    signed = Signed(data, REQUEST, "the request")
    request = parse(Request, signed.unverified, "the request")
    site = request.site
    signed.verify(site.signing)
    if request.study != study:
        raise WrongStudy(f"the request from {site.name} is for study '{request.study}'; this is '{study}'")
    if request.coordinator != coordinator.identity.signing:
        raise WrongRecipient(
            f"the request from {site.name} is addressed to the coordinator with key {request.coordinator[:16]}…; "
            f"this is {coordinator.identity.name} with key {coordinator.identity.signing[:16]}…"
        )
    content = dataclasses.asdict(request)
    given = content.pop("proof")
    if not hmac.compare_digest(_proof(coordinator.agree(site.sealing), content), given):
        raise BadSignature(f"the request from {site.name} does not prove that its author holds the sealing key in it")
    site.check_alive(now or datetime.now(timezone.utc))
    return site


def _proof(secret: bytes, content: object) -> str:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    key = HKDF(SHA256(), length=32, salt=None, info=_PROOF).derive(secret)
    return hmac.new(key, canonical(content), "sha256").hexdigest()
