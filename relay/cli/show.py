"""What the hand-over commands print about bundles, chains and ledgers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import ndiff
from itertools import islice
from typing import TYPE_CHECKING, Any

from relay.cli import ask

if TYPE_CHECKING:
    from relay.bundle import MemoryCard
    from relay.exchange import StudyStore, Verified
    from relay.trust import Claim, Line, Roster, Share, Statement

STEPS = {
    "rosters": "signed by the coordinator pinned here; none is older than the one known here",
    "statement": "signed by the site whose turn it was, with a valid key; its recipients and dates are right",
    "chain": "every earlier leg is present, signed, and continued by the next one",
    "standing": "agrees with this site's ledger",
    "contents": "every file has the digest that was signed",
    "policy": "size, seal, memories, experts and sample count comply with the roster",
}
"""The rules, in words, for when a bundle passes them."""


def _print(table: Any) -> None:
    """Print a table as wide as it needs to be: a truncated name identifies no one."""
    from rich.console import Console

    width = Console(width=10_000).measure(table).maximum
    Console(emoji=False, highlight=False, markup=False, width=width).print(table)


ROWS = 60
"""Maximum number of rows shown for what a bundle contains or says: its author may have written thousands."""


def _more(count: int, what: str) -> str:
    return f"and {count:,} more {what}, not shown" if count > 0 else ""


def matrix(claims: Sequence[Claim]) -> None:
    """The newest legs of a chain, one row each: who, how, and the signed score at each site.

    If the sites are too wide for the screen, show only the leg's own site and the worst result.
    """
    from rich.console import Console

    from relay.bundle import test_sets
    from relay.numbers import number
    from relay.screen import Column, fits, show_table

    console, shown = Console(), claims[-ROWS:]
    sites, more = test_sets(claims)
    columns = [Column("leg", left=True), Column("site", left=True), Column("date", 3, left=True)]
    columns += [Column("strategy", 2, left=True), Column("samples", 1)]
    about = [[str(c.leg), c.site, c.issued[:10], ask.printable(c.strategy), str(c.samples)] for c in shown]
    every = [[*row, *(number(c.scores.get(site)) for site in sites)] for row, c in zip(about, shown, strict=True)]
    if fits(console, [*columns, *map(Column, sites)], every):
        columns += map(Column, sites)
    else:
        columns += [Column("own site"), Column("worst", 1)]
        every = [[*row, number(c.scores.get(c.site)), _worst(c)] for row, c in zip(about, shown, strict=True)]
    show_table(console, f"{claims[-1].score_name} of each leg, as signed by its site", columns, every)
    if cut := [text for text in (_more(len(claims) - ROWS, "earlier legs"), _more(more, "test sets")) if text]:
        ask.say(f"  {', '.join(cut)}")


def _worst(claim: Claim) -> str:
    from relay.numbers import MISSING, number
    from relay.results import worst

    there = {site: value for site, value in claim.scores.items() if value is not None}
    found = worst(there, claim.task) if claim.task else {"site": None}
    return MISSING if found["site"] is None else f"{number(found['value'])} {found['site']}"


def custody(statements: Sequence[Statement]) -> None:
    """Who had it when, and each statement's digest in words."""
    ask.say("Custody, oldest first, with the words that appear on the receipt of each leg:")
    for made in statements:
        claim = made.claim
        words = ask.in_words(made.digest).split()
        ask.say(f"  leg {claim.leg}  {claim.site}  {claim.issued}  roster {claim.roster.version}")
        ask.say(f"         {' '.join(words[:6])}", f"         {' '.join(words[6:])}")


def entries(sizes: Mapping[str, int]) -> None:
    """Names and sizes of what is in a bundle."""
    *shown, last = sizes.items()
    for name, size in [*shown[: ROWS - 1], last]:
        ask.say(f"  {size:>15,} B  {name}")
    if cut := _more(len(shown) - ROWS + 1, "files"):
        ask.say(f"  {cut}")
    ask.say(f"  {sum(sizes.values()):>15,} B  in {len(sizes)} files")


def claim_lines(claim: Claim) -> list[tuple[str, str]]:
    """A claim as labelled lines."""
    more = _more(len(claim.recipients) - ROWS, "recipients")
    carried = [
        f"{name}: {part.tensors} tensors, {part.bytes:,} B"
        for name, part in vars(claim.handover).items()
        if part is not None
    ]
    return [
        ("study", claim.study),
        ("leg", f"{claim.leg}, by {claim.site}"),
        ("for", ", ".join([*(r.name for r in claim.recipients[:ROWS]), *([more] if more else [])])),
        ("valid", f"{claim.issued} to {claim.expires}"),
        ("roster", str(claim.roster.version)),
        ("strategy", claim.strategy),
        ("samples", f"{claim.samples} for training, as disclosed"),
        ("handover", "; ".join(carried)),
        ("made with", f"relay {claim.code.relay}, torch {claim.code.torch}"),
        ("config", f"sha256 {claim.config}"),
    ]


def claim(said: Claim) -> None:
    """What a site claims about its leg."""
    for label, text in claim_lines(said):
        ask.say(f"  {label:<10} {text}")


def memories(cards: Mapping[str, MemoryCard], claims: Sequence[Claim]) -> None:
    """What is said about every memory in a bundle, one line each. ``cards``: by the entry of its tensors."""
    from relay.bundle import memory_card

    ask.say("Memories:" if cards else "Memories: none.")
    for label, text in islice(memory_card.lines(cards, claims), ROWS):
        ask.say(f"  {label}: {text}")
    if cut := _more(len(cards) - ROWS, "memories"):
        ask.say(f"  {cut}")


def experts(claims: Sequence[Claim], sizes: Mapping[str, int]) -> None:
    """Every expert in a bundle, one line each. ``sizes``: of the bundle's entries."""
    from relay.bundle import experts as found

    lines = [*found.lines(claims, sizes)]
    ask.say("Experts:" if lines else "Experts: none.")
    for label, text in lines[-ROWS:]:
        ask.say(f"  {label}: {text}")
    if cut := _more(len(lines) - ROWS, "experts"):
        ask.say(f"  {cut}")


def share(said: Share) -> list[str]:
    """Who gave a copy to whom."""
    return [
        f"A copy of the final model for {said.reader.name}, which is not a site of the study, given by {said.site} on "
        f"{said.issued[:10]}; it can be received until {said.expires[:10]}."
    ]


def copied(done: Verified) -> list[str]:
    """What a copy has brought beside the model, and what of the leg is still not here."""
    from relay.bundle import meanings

    told = {"New with this copy": done.added, "Not here": done.without}
    return [f"{label}: {meanings.in_short(names)}." for label, names in told.items() if names]


def ledger(lines: Sequence[Line]) -> None:
    """The events of a ledger, one row each."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("n", "time", "event", "leg", "what"):
        table.add_column(column, justify="right" if column in ("n", "leg") else "left", no_wrap=column != "what")
    for line in lines:
        table.add_row(str(line.n), line.time, line.event, str(line.facts.get("leg", "")), _what(line.event, line.facts))
    _print(table)


def _what(event: str, facts: Mapping[str, Any]) -> str:
    again = " (rebuilt)" if facts.get("rebuilt") else ""
    if event == "roster":
        return f"version {facts['version']}{again}"
    if event == "approved":
        return f"by {facts['name']}: {facts['reason']}"
    if event == "charged":
        return f"epsilon {facts['epsilon']:g}, delta {facts['delta']:g}, before it was trained"
    if event == "withdrawn":
        legs = ", ".join(map(str, facts["legs"])) or "none"
        return f"a patient of {facts['site']}, {facts['patient'][:12]}…; legs that learned from the images: {legs}"
    if event == "sent":
        under = f", approved in line {facts['approval']}" if "approval" in facts else ""
        return f"{', '.join(facts['files'])}{under}"
    if event == "shared":
        under = f", approved by {facts['approved_by']}" if "approved_by" in facts else ""
        return f"with {facts['reader']}: {', '.join(facts['files'])}{under}"
    made = ask.in_words(facts["chain"][str(facts["leg"])][0]).split()
    by = f"by {facts['site']}, " if "site" in facts else ""
    return f"{by}{' '.join(made[:3])} …{again}"


def _roster_lines(roster: Roster) -> list[str]:
    from relay.trust import describe

    return [f"{label:<14} {text}" for label, text in describe(roster)]


def roster(content: Roster) -> None:
    """Sites and fingerprints, order, policy."""
    from rich.table import Table

    from relay.trust import describe

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for label, text in describe(content):
        table.add_row(label, text)
    _print(table)


def roster_change(old: Roster | None, new: Roster) -> None:
    """The new roster; or, if there was one before, what was removed (-) and added (+)."""
    if old is None:
        roster(new)
        return
    if old == new:
        ask.say("It was already installed; nothing has changed.")
        return
    ask.say(f"Changes since roster {old.version}:")
    for line in ndiff(_roster_lines(old), _roster_lines(new)):
        if line[0] in "+-":
            ask.say(f"  {line}")


def ending(store: StudyStore) -> None:
    """Warn if the newest roster is about to end."""
    from relay.trust import ending as of

    if (warning := of(store.roster, store.now())) is not None:
        ask.say(f"warning: {warning}", err=True)


def turn(store: StudyStore) -> None:
    """Whose home this is, when its turn is, and whether the roster is about to end."""
    from relay.trust import keys

    ending(store)
    if not (store.home / keys.PUBLIC).is_file():
        return
    name = store.identity.name
    site = next((site for site in store.roster.sites if site.name == name), None)
    if site is None:
        return
    if site.signing != store.identity.signing:
        ask.say(f"Note: the keys in {store.home} are not those that the roster lists for {name}.")
    leg = store.next_turn()
    ask.say(f"The next turn of {name}: " + (f"leg {leg}." if leg else "none; its turns are over."))
