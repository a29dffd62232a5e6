"""Why a hand-over was refused: one class for each rule, with advice on what to do. All exit with code 3.

When a bundle is refused, none of it has been parsed as weights, and the site's state is unchanged.
"""

from __future__ import annotations

from relay.errors import HandoverError, plain

MAX_MESSAGE = 900
"""Maximum length of a message, and of what it quotes, in characters."""


class Refused(HandoverError):
    """A hand-over that must not be trusted."""

    exit_code = 3
    _advice = "Don't use it. Call the previous site and ask what they sent."

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(plain(message, most=MAX_MESSAGE), advice)


class Incomplete(Refused):
    """An incomplete copy, or a missing volume."""

    _advice = "Copy the file again from its source (all volumes, if it has several), and eject the stick properly."


class BadContainer(Refused):
    """Not in the only form in which a bundle with these entries can be written."""

    _advice = (
        "Copy the bundle again. If it is still refused, ask the previous site for a new stick and tell the "
        "coordinator: relay does not write such a file."
    )


class UnknownFormat(Refused):
    """A version, or a kind, that this program does not read."""

    _advice = "Check that you named the right file. If so, update relay at the site with the older version."


class BadDocument(Refused):
    """A document that can't be read, or that two readers could interpret differently."""

    _advice = (
        "Check that you named the right file. If so, copy it again. If it is still refused, ask its author to "
        "write it again with this version of relay."
    )


class CannotOpen(Refused):
    """Sealed, but not to this site's key."""

    _advice = (
        "Check the bundle's name: it may be for another site. If this site's keys were renewed, the previous "
        "site must send again under the roster that lists the new keys."
    )


class BadSignature(Refused):
    """Changed after it was signed, or signed by someone else."""

    _advice = "Don't use it. Call the person who supposedly signed it, and tell the coordinator."


class UnknownKey(Refused):
    """Signed with a key that the roster does not list for that site."""

    _advice = "If the site has new keys, first install the roster that lists them. Otherwise, tell the coordinator."


class RevokedKey(Refused):
    """Signed with a key that the coordinator has revoked."""

    _advice = "The site must ask for new keys (relay keys new, relay request) and send again under the next roster."


class ExpiredKey(Refused):
    """Signed after the key had expired."""

    _advice = "The site must renew its keys (relay keys new, relay request) and send again under the next roster."


class BadRoster(Refused):
    """A roster that contradicts itself, or is not signed by the pinned coordinator."""

    _advice = "Call the coordinator and compare fingerprints (relay keys show) before you continue."


class OldRoster(Refused):
    """Made under an older roster than the one installed here."""

    _advice = "Give that site the newer roster (relay roster export). It must install it and send again."


class RosterPeriod(Refused):
    """Outside the period in which the roster is valid."""

    _advice = "Check this computer's clock. If it is right, ask the coordinator for a roster with new dates."


class WrongStudy(Refused):
    """From another study."""

    _advice = "Check that you have the right stick and the right study (-s, or handoff.study)."


class WrongRecipient(Refused):
    """Signed for other sites, not this one."""

    _advice = "Give it to the site it is for. If the order has changed, the sender must send again."


class WrongLeg(Refused):
    """The next leg is not this site's turn."""

    _advice = "Check the order (relay roster show): the bundle belongs to the site whose turn it is."


class WrongOrder(Refused):
    """Made by a site when it was not its turn."""

    _advice = "Tell the coordinator: either the roster's order must change, or the right site must do that leg."


class PredecessorMismatch(Refused):
    """Does not continue the last leg in its own chain."""

    _advice = "Ask the previous site to send again; if it persists, tell the coordinator."


class BrokenChain(Refused):
    """The record of the earlier legs is incomplete."""

    _advice = "Ask the previous site to send again; if it persists, tell the coordinator."


class Fork(Refused):
    """Two different hand-overs for the same leg."""

    _advice = (
        "Someone did this leg twice, or rewrote an earlier one. Tell the coordinator: only a new roster can "
        "allow a leg to be repeated."
    )


class Replay(Refused):
    """Already received, and already trained on."""

    _advice = "Use the newest bundle. To hand over this site's own leg again, run relay send."


class Rollback(Refused):
    """Older than what this site has already received or sent."""

    _advice = "Use the newest bundle on the stick, and remove the old ones."


class UnknownOwnLeg(Refused):
    """A leg signed with this site's own key that is not in its ledger."""

    _advice = (
        "If this site's ledger was lost, rebuild it: relay ledger --rebuild BUNDLE. Otherwise, someone else has "
        "this site's key: ask the coordinator to revoke it."
    )


class Expired(Refused):
    """Expired, or dated in the future."""

    _advice = (
        "Check this computer's clock. If it is right, ask the coordinator for a new version of the roster. Under it, "
        "the previous site can sign and send the leg again."
    )


class ClockSetBack(Refused):
    """This computer's clock is behind the newest event in the site's own ledger."""

    _advice = (
        "Set this computer's clock. If it is right now but was ahead before, the ledger has wrong times: relay ledger "
        "--rebuild corrects them."
    )


class DigestMismatch(Refused):
    """A file in it is not the one that was signed."""

    _advice = "Copy the bundle again. If it is still refused, don't use it, and call the previous site."


class PolicyBreach(Refused):
    """Not allowed by the roster's policy."""

    _advice = "Ask the coordinator: only a new roster can change the policy."


class NotApproved(Refused):
    """What would leave is not what a person at the site approved."""

    _advice = (
        "Look at the list (relay send --preview). Then send it with --approved-by NAME and --reason TEXT, which "
        "stay in this site's ledger."
    )


class NotAudited(Refused):
    """What would leave was not audited, or the audit did not pass."""

    _advice = "Audit exactly this leg: relay audit -c CONFIG, with the leg's note (-n). Then send it again."


class ConfigMismatch(Refused):
    """Made with a config that does not match this site's."""

    _advice = "Use the study's agreed config: the same net, classes, channels, intensity_range and steps."


class GateFailed(Refused):
    """Signed and intact, but the weights look wrong."""

    _advice = (
        "Nothing was changed here. Show these numbers to the previous site and the coordinator. If you all agree that "
        "the weights are good, the coordinator can relax policy.gate in a new roster."
    )


class DamagedLedger(Refused):
    """This site's own record was changed or truncated."""

    _advice = (
        "Find out who changed it. Restore it from a backup, or rebuild it from the bundles at hand: "
        "relay ledger --rebuild BUNDLE..."
    )
