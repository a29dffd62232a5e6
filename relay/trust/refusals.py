"""Why a hand-over was refused: a class a rule, each with what to do about it. All leave with exit code 3.

Nothing of a refused bundle has been parsed as weights, and the site's state is what it was.
"""

from __future__ import annotations

from relay.errors import HandoverError, plain

MAX_MESSAGE = 900
"""Most characters of a message, and of what it quotes."""


class Refused(HandoverError):
    """A hand-over that is not to be trusted."""

    exit_code = 3
    _advice = "Do not use it. Ask the previous site, by telephone, what they sent."

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(plain(message, most=MAX_MESSAGE), advice)


class Incomplete(Refused):
    """A copy that broke off, or a volume that is missing."""

    _advice = "Copy the file again from where it came (all volumes, if it has several), and eject the stick properly."


class BadContainer(Refused):
    """Not the one way in which a bundle of these entries is written."""

    _advice = (
        "Copy the bundle again; if it is still refused, ask the previous site for a new stick, and tell the "
        "coordinator: no honest program writes such a file."
    )


class UnknownFormat(Refused):
    """Of a version, or a kind, that this program does not read."""

    _advice = "Check that you named the right file. If so, update relay at the older of the two sites."


class BadDocument(Refused):
    """A document that can't be read, or that two readers could read differently."""

    _advice = (
        "Check that you named the right file. If so, copy it again; if it is still refused, ask whoever wrote it to "
        "write it again with this version of relay."
    )


class CannotOpen(Refused):
    """Sealed, and not to this site's key."""

    _advice = (
        "Check the bundle's name: it may be meant for another site. If this site's keys were renewed, the previous "
        "site must send again under the roster that names the new ones."
    )


class BadSignature(Refused):
    """Changed after it was signed, or signed by somebody else."""

    _advice = "Do not use it. Telephone whoever is said to have signed it, and tell the coordinator."


class UnknownKey(Refused):
    """Signed with a key that the roster does not give to that site."""

    _advice = "If the site has new keys, install the roster that names them first. Otherwise tell the coordinator."


class RevokedKey(Refused):
    """Signed with a key that the coordinator has revoked."""

    _advice = "The site must ask for new keys (relay keys new, relay request) and send again under the next roster."


class ExpiredKey(Refused):
    """Signed after the key's last day."""

    _advice = "The site must renew its keys (relay keys new, relay request) and send again under the next roster."


class BadRoster(Refused):
    """A roster that contradicts itself, or is not by the coordinator that was pinned."""

    _advice = "Telephone the coordinator and compare fingerprints (relay keys show) before you go on."


class OldRoster(Refused):
    """Made under an older roster than the one installed here."""

    _advice = "Handover the newer roster to that site (relay roster export), install it there, and let it send again."


class RosterPeriod(Refused):
    """Outside the days for which the roster holds."""

    _advice = "Check this computer's clock. If it is right, ask the coordinator for a roster with new dates."


class WrongStudy(Refused):
    """Of another study."""

    _advice = "Check which stick and which study (-s, or handoff.study) you have."


class WrongRecipient(Refused):
    """Signed for other sites than this one."""

    _advice = "Give it to the site it is for; if the order has changed, the sender must send again."


class WrongLeg(Refused):
    """The leg after it is not this site's turn."""

    _advice = "Look up the order (relay roster show): the bundle belongs to the site whose turn it is."


class WrongOrder(Refused):
    """Made by a site whose turn it was not."""

    _advice = "Tell the coordinator: either the roster's order must change, or that leg must be done by its site."


class PredecessorMismatch(Refused):
    """Does not continue the leg that its own chain ends with."""

    _advice = "Ask the previous site to send again; if it persists, tell the coordinator."


class BrokenChain(Refused):
    """The record of the earlier legs is not whole."""

    _advice = "Ask the previous site to send again; if it persists, tell the coordinator."


class Fork(Refused):
    """Two different hand-overs for the same leg."""

    _advice = (
        "Somebody made this leg twice, or rewrote an earlier one. Tell the coordinator; only a new roster can decide "
        "that a leg is done again."
    )


class Replay(Refused):
    """Received before, and already trained on."""

    _advice = "Use the newest bundle. To hand over this site's own leg again, use relay send."


class Rollback(Refused):
    """Older than what this site has already received or sent."""

    _advice = "Use the newest bundle on the stick, and remove old ones."


class UnknownOwnLeg(Refused):
    """A leg signed with this site's own key that its ledger does not know."""

    _advice = (
        "If this site's ledger was lost, rebuild it: relay ledger --rebuild BUNDLE. If it was not, somebody else has "
        "this site's key: tell the coordinator to revoke it."
    )


class Expired(Refused):
    """Past its last day, or from the future."""

    _advice = (
        "Check this computer's clock. If it is right, ask the coordinator for a new roster version: under it, the "
        "previous site can sign and send the leg again."
    )


class ClockSetBack(Refused):
    """This computer's clock shows a time before the newest event in the site's own ledger."""

    _advice = (
        "Set this computer's clock. If it is right now and was ahead before, the ledger has wrong times: relay ledger "
        "--rebuild corrects them."
    )


class DigestMismatch(Refused):
    """A file in it is not the one that was signed for."""

    _advice = "Copy the bundle again; if it is still refused, do not use it, and telephone the previous site."


class PolicyBreach(Refused):
    """Against what the roster allows."""

    _advice = "Ask the coordinator: the policy can only be changed in a new roster."


class ConfigMismatch(Refused):
    """Made with a config that does not fit this site's."""

    _advice = "Use the config that the study agreed on: the same net, classes, channels and intensity_range."


class GateFailed(Refused):
    """Signed and whole, but the weights look wrong."""

    _advice = (
        "Nothing was changed here. Show the figures to the previous site and the coordinator. If all agree that the "
        "weights are good, the coordinator can relax policy.gate in a new roster."
    )


class DamagedLedger(Refused):
    """This site's own record was changed or cut."""

    _advice = (
        "Find out who changed it. Restore it from a backup, or rebuild it from the bundles at hand: "
        "relay ledger --rebuild BUNDLE..."
    )
