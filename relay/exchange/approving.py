"""Approving: a person looks at the closed list of what would leave; the ledger keeps who approved it, when and why.

The list is approved by its digest, over the content of every file: what differs in one byte is not what was approved.
Names and reasons stay in the site's ledger. The statement says no more than that a leg was approved, and only where
the policy requires it (docs/decisions/0030).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from relay.bundle import meaning
from relay.config import Field, check, options
from relay.errors import UserError
from relay.exchange.drafting import Draft
from relay.exchange.store import StudyStore
from relay.trust import Claim, NotApproved


@options
class Approver:
    """Who approves what leaves, and why: each one line."""

    name: Annotated[str, Field(max_length=100, pattern=r"^\P{C}+$")]
    reason: Annotated[str, Field(max_length=500, pattern=r"^\P{C}+$")]


@dataclass(frozen=True)
class Approval:
    """An entry of the ledger. ``line``: its number; ``listed``: the digest of the closed list that was approved."""

    line: int
    time: str
    listed: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"approved by {self.name} on {self.time}, in line {self.line} of the ledger: {self.reason}"


def approver(name: str, reason: str) -> Approver:
    """Who approves, checked.

    Raises:
        UserError: a name or reason is missing, too long, or not one line of printable text.
    """
    if not (name.strip() and reason.strip()):
        raise UserError(
            f"it is not said {'why this may leave' if name.strip() else 'who approves what leaves'}; nothing left",
            "Give both: --approved-by NAME and --reason TEXT.",
        )
    found, problems = check(Approver, {"name": name.strip(), "reason": reason.strip()})
    if found is None:
        raise UserError(
            f"{'--approved-by' if problems[0].path == 'name' else '--reason'} can't be kept in the ledger as it is",
            "Use one line of printable text each: at most 100 characters for the name, 500 for the reason.",
        )
    return found


def check_shown(leg: int, listed: str, shown: str | None) -> None:
    """Check that what would leave is the list that a person has seen.

    Args:
        listed: the digest of what would leave now; ``shown``: of the list that was seen; None if it is not known.

    Raises:
        NotApproved: it has changed since.
    """
    if shown is not None and shown.strip().lower() != listed:
        raise NotApproved(
            f"what would leave as leg {leg} is not the list that was shown: its digest is {listed}, not {shown}",
            "Look at the list again (relay send --preview), and approve that.",
        )


def approve(store: StudyStore, leg: int, listed: str, who: Approver) -> None:
    """Write an approval to the ledger."""
    store.ledger.append("approved", store.now(), leg=leg, list=listed, name=who.name, reason=who.reason)


def approval(store: StudyStore, leg: int, listed: str) -> Approval | None:
    """The newest approval of exactly this list; None for none."""
    return next((found for found in _approvals(store, leg) if found.listed == listed), None)


def check_approved(store: StudyStore, claim: Claim, listed: str) -> Approval | None:
    """The approval under which a leg may leave; None if it needs none.

    Args:
        listed: the digest of what would leave now.

    Raises:
        NotApproved: the policy requires an approval and there is none; or what was approved was another list.
    """
    if found := approval(store, claim.leg, listed):
        return found
    if other := next(_approvals(store, claim.leg), None):
        raise NotApproved(f"what would leave as leg {claim.leg} is not the list that was {other}")
    if claim.approved:
        version = claim.roster.version
        raise NotApproved(f"no one has approved leg {claim.leg}; roster {version} requires it before anything leaves")
    return None


def preview(store: StudyStore, drafted: Draft) -> dict[str, Any]:
    """What would leave as plain values: what ``relay send --preview --json`` prints."""
    claim, policy, listed = drafted.claim, store.roster.policy, drafted.digest()
    known = approval(store, claim.leg, listed)
    return {
        "format": 1,
        "study": claim.study,
        "leg": claim.leg,
        "site": claim.site,
        "recipients": [recipient.name for recipient in claim.recipients],
        "sealed": policy.sealed,
        "signed": drafted.signed,
        "files": [{"name": name, "bytes": size, "what": meaning(name)} for name, size in drafted.sizes.items()],
        "disclosed": [{"what": label, "text": text} for label, text in drafted.disclosed(policy)],
        "beside": [{"what": label, "text": text} for label, text in drafted.beside(policy)],
        "sha256": listed,
        "approval": policy.approval,
        "approved": known and {"line": known.line, "time": known.time, "name": known.name, "reason": known.reason},
    }


def _approvals(store: StudyStore, leg: int) -> Iterator[Approval]:
    """Every approval of a leg, newest first."""
    for line in reversed(store.ledger.lines()):
        if line.event == "approved" and line.facts.get("leg") == leg:
            yield Approval(line.n, line.time, *(str(line.facts.get(key)) for key in ("list", "name", "reason")))
