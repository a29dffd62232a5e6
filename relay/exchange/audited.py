"""The privacy audit of a leg at the moment it leaves: whether it is of exactly these weights, and what the policy asks.

Only the record of an audit is read here (:mod:`relay.bundle.audits`); :mod:`relay.privacy` makes it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from relay.bundle import AuditRecord, PrivacyAudit, audits, manifest
from relay.exchange.assembling import sha256_of
from relay.files import read_bytes
from relay.trust import BadDocument, NotAudited, Policy, parse


def audit_of(folder: Path, weights: Collection[str], policy: Policy, leg: int) -> dict[str, Any] | None:
    """The card of a leg's audit as plain values, if it may leave; None if there is none, or the policy lets none.

    Args:
        folder: the leg's handover.
        weights: the names of the files of weights that leave.

    Raises:
        NotAudited: the policy requires an audit that passes, and there is none, or it is of other weights; the
            record is damaged.
    """
    if policy.audit == "none" or (policy.audit == "report" and _guaranteed(folder)):
        return None  # what attacks find has no noise: it would leave beside the guarantee, and outside it
    card = _card(folder, weights, leg, required=policy.audit == "require")
    if why := audits.breach(card, policy):
        best = card.strongest if card else None
        told = f" (strongest attack: {best.name} on {audits.PARTS[best.part]}, AUC {best.auc:.2f})" if best else ""
        raise NotAudited(f"leg {leg} can't leave: {why}{told}", None if card is None else audits.CURE)
    return None if card is None else json.loads(json.dumps(dataclasses.asdict(card)))


def _guaranteed(folder: Path) -> bool:
    """Whether the leg's training guarantees its patients something."""
    return "privacy" in json.loads(read_bytes(folder / manifest.DATA_CARD))


def _card(folder: Path, weights: Collection[str], leg: int, required: bool) -> PrivacyAudit | None:
    path = folder / audits.RECORD
    if not path.is_file():
        return None
    try:
        record: AuditRecord = parse(AuditRecord, read_bytes(path), str(path))
    except BadDocument as error:
        raise NotAudited(f"the audit of leg {leg} can't be read: {error}") from error
    other = [name for name in weights if record.parts.get(name) != sha256_of(folder / name)]
    if other and required:
        raise NotAudited(f"the audit of leg {leg} is of another handover: {', '.join(other)} differs")
    return None if other else record.card
