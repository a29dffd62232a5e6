from __future__ import annotations

import dataclasses
import hmac
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.trust import keys, request
from relay.trust.document import canonical, parse
from relay.trust.envelope import Signed
from relay.trust.keys import Keys
from relay.trust.refusals import BadDocument, BadSignature, ExpiredKey, UnknownFormat, WrongRecipient, WrongStudy

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)
LATER = NOW + timedelta(days=1000)
STUDY = "fundus-2026"
LEAD = keys.new("Lead", now=NOW)
SITE = keys.new("A", now=NOW)


@pytest.fixture
def invitation() -> request.Invitation:
    return request.read_invitation(request.invite(LEAD, STUDY), now=NOW)


def altered(asked: bytes, signer: Keys, **change: Any) -> bytes:
    """A request with other content, signed again."""
    content = json.loads(Signed(asked, request.REQUEST, "it").unverified)
    return signer.sign(canonical({**content, **change}), request.REQUEST)


def test_the_way_in(invitation: request.Invitation) -> None:
    assert (invitation.study, invitation.coordinator) == (STUDY, LEAD.identity)
    assert request.check(request.ask(SITE, invitation), LEAD, STUDY, now=NOW) == SITE.identity


def test_names_of_files() -> None:
    assert request.invitation_name(STUDY) == "fundus-2026.invitation.json"
    assert request.request_name(STUDY, "A") == "fundus-2026.A.request.json"


def test_no_private_key_is_in_either(invitation: request.Invitation) -> None:
    asked = request.ask(SITE, invitation)
    content = Signed(asked, request.REQUEST, "it").unverified
    for secret in (SITE.sealing.encode(), SITE.signing.private_bytes_raw().hex().encode()):
        assert secret not in content


def test_the_proof_is_as_the_format_says(invitation: request.Invitation) -> None:
    payload = Signed(request.ask(SITE, invitation), request.REQUEST, "it").unverified
    content = json.loads(payload)
    proof = content.pop("proof")
    key = HKDF(SHA256(), 32, None, b"relay request v1").derive(SITE.agree(LEAD.identity.sealing))
    assert proof == hmac.digest(key, canonical(content), "sha256").hex()


# -- invitations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("study", ["", "Fundus", "a/b", "-a", "a" * 41])
def test_odd_study_names_are_refused(study: str) -> None:
    with pytest.raises(BadDocument, match="at study"):
        request.invite(LEAD, study)


def test_an_invitation_signed_by_somebody_else_is_refused() -> None:
    payload = Signed(request.invite(LEAD, STUDY), request.INVITATION, "it").unverified
    with pytest.raises(BadSignature):
        request.read_invitation(SITE.sign(payload, request.INVITATION), now=NOW)


def test_an_invitation_to_expired_keys_is_refused() -> None:
    with pytest.raises(ExpiredKey, match="Lead"):
        request.read_invitation(request.invite(LEAD, STUDY), now=LATER)


def test_a_request_is_no_invitation(invitation: request.Invitation) -> None:
    with pytest.raises(UnknownFormat):
        request.read_invitation(request.ask(SITE, invitation))
    with pytest.raises(UnknownFormat):
        request.check(request.invite(LEAD, STUDY), LEAD, STUDY)


# -- requests --------------------------------------------------------------------------------------------------------


def test_a_request_signed_by_somebody_else_is_refused(invitation: request.Invitation) -> None:
    asked = request.ask(SITE, invitation)
    with pytest.raises(BadSignature, match="signature of the request"):
        request.check(altered(asked, keys.new("B")), LEAD, STUDY, now=NOW)


def test_a_borrowed_sealing_key_is_refused(invitation: request.Invitation) -> None:
    thief = keys.new("B", now=NOW)
    claims = dataclasses.replace(thief.identity, sealing=SITE.identity.sealing)
    asked = request.ask(dataclasses.replace(thief, identity=claims), invitation)
    with pytest.raises(BadSignature, match="does not prove"):
        request.check(asked, LEAD, STUDY, now=NOW)


def test_a_proof_does_not_carry_over_to_another_request(invitation: request.Invitation) -> None:
    """The thief signs, with an own key, what the owner of the sealing key has proved."""
    thief = keys.new("A", now=NOW)
    claims = dataclasses.replace(thief.identity, sealing=SITE.identity.sealing)
    asked = altered(request.ask(SITE, invitation), thief, site=dataclasses.asdict(claims))
    with pytest.raises(BadSignature, match="does not prove"):
        request.check(asked, LEAD, STUDY, now=NOW)


def test_any_other_field_breaks_the_proof(invitation: request.Invitation) -> None:
    renamed = dataclasses.asdict(dataclasses.replace(SITE.identity, name="B"))
    with pytest.raises(BadSignature, match="does not prove"):
        request.check(altered(request.ask(SITE, invitation), SITE, site=renamed), LEAD, STUDY, now=NOW)


def test_another_study_is_refused(invitation: request.Invitation) -> None:
    with pytest.raises(WrongStudy, match=r"for study 'fundus-2026'; this is 'other'"):
        request.check(request.ask(SITE, invitation), LEAD, "other", now=NOW)


def test_another_coordinator_is_refused(invitation: request.Invitation) -> None:
    with pytest.raises(WrongRecipient, match="this is Other"):
        request.check(request.ask(SITE, invitation), keys.new("Other"), STUDY, now=NOW)


def test_expired_keys_are_refused(invitation: request.Invitation) -> None:
    with pytest.raises(ExpiredKey, match="of A expired"):
        request.check(request.ask(SITE, invitation), LEAD, STUDY, now=LATER)


@pytest.mark.parametrize("change", [{"proof": "00"}, {"more": 1}, {"study": "A B"}, {"site": None}, {"coordinator": 1}])
def test_what_is_no_request_is_refused(invitation: request.Invitation, change: dict[str, Any]) -> None:
    with pytest.raises(BadDocument, match="the request"):
        request.check(altered(request.ask(SITE, invitation), SITE, **change), LEAD, STUDY, now=NOW)


def test_a_request_parses_to_what_it_was(invitation: request.Invitation) -> None:
    payload = Signed(request.ask(SITE, invitation), request.REQUEST, "it").unverified
    assert canonical(parse(request.Request, payload, "it")) == payload
