"""The files of a bundle: the claim of a leg, and everything beside it, collected from its handover."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import relay
from relay.bundle import (
    FACTS,
    TRAVELLING,
    WEIGHTS,
    Facts,
    Measured,
    audits,
    cards,
    documents,
    layout_of,
    link,
    manifest,
    measure,
)
from relay.config import check
from relay.errors import UserError
from relay.exchange.store import StudyStore
from relay.files import read_bytes, write_bytes
from relay.trust import (
    BadDocument,
    Claim,
    DigestMismatch,
    Policy,
    Statement,
    TrustedRoster,
    canonical,
    digest,
    moment,
    read,
    stamp,
    written,
)

UNKNOWN_YET = ("issued", "expires")
"""What a claim says only once it is signed."""


def claim_of(
    store: StudyStore, facts: Facts, folder: Path, trusted: TrustedRoster, earlier: tuple[Statement, ...]
) -> Claim:
    """What the site will sign about its leg.

    Args:
        folder: the leg's handover.
        earlier: the statements of the earlier legs, oldest first.

    Raises:
        UserError: a statement can't hold one of the leg's names or scores.
    """
    roster, now = trusted.roster, store.now()
    files = {key: folder / f"{key}.safetensors" for key in facts.tensors}
    if not roster.lets_travel(facts.leg) or not (folder / manifest.EXPERT).is_file():
        files.pop("expert", None)  # not there in what was signed under such a roster
    sizes = {key: {"tensors": facts.tensors[key], "bytes": path.stat().st_size} for key, path in files.items()}
    until = min(now + timedelta(days=roster.policy.expires_days), moment(roster.not_after))
    content = {
        "study": store.study,
        "leg": facts.leg,
        "site": store.identity.name,
        "recipients": [{"name": name, "sealing": sealing} for name, sealing in roster.recipients(facts.leg)],
        "previous": earlier[-1].digest if earlier else None,
        "roster": {"version": roster.version, "sha256": trusted.digest},
        "config": digest(read_bytes(folder / manifest.CONFIG)),
        "code": {"relay": relay.__version__, "torch": facts.torch},
        "strategy": facts.strategy,
        "samples": documents.disclosed(facts.samples, roster.policy),
        "handover": sizes,
        "result": facts.result,
        "issued": stamp(now),
        "expires": stamp(until),
        "approved": roster.policy.approval == "required",  # without an approval, it can't be signed
    }
    claim, problems = check(Claim, content)
    if claim is None:
        raise UserError(
            f"leg {facts.leg} can't go into a statement: {'; '.join(map(str, problems))}",
            "Names of test sets and strategies must be ASCII letters and digits; scores must be from 0 to 1.",
        )
    return claim


def gather(
    store: StudyStore,
    folder: Path,
    part: Path,
    claim: Claim,
    earlier: tuple[Statement, ...],
    trusted: TrustedRoster,
    audit: Mapping[str, Any] | None = None,
) -> None:
    """Assemble the bundle's files in ``part``; ``audit``: the card of the leg's privacy audit, if it leaves."""
    policy = trusted.roster.policy
    contents = documents_of(folder, claim, policy, audit)
    for name, data in contents.items():
        write_bytes(part / name, data)
    for name in (*WEIGHTS, FACTS, audits.RECORD):  # with its facts, the leg can be signed again from here
        if (folder / name).is_file() and (name != manifest.EXPERT or claim.handover.expert):
            link(folder / name, part / name)
    for version in {trusted.roster.version, *(made.claim.roster.version for made in earlier)}:
        write_bytes(part / manifest.roster(version), read_bytes(store.folder / manifest.roster(version)))
    source = store.received(claim.leg - 1)
    for made in earlier:
        leg = made.claim.leg
        _copy_leg(source, part, leg, last=made is earlier[-1], expert=trusted.roster.lets_travel(leg))
    names = (manifest.HANDOVER, manifest.CONFIG, manifest.DATA_CARD)
    head, config, data = (documents.read(name, contents[name]) for name in names)
    claims, sizes = [*(made.claim for made in earlier), claim], sizes_in(part)
    text = cards.model_card(
        claims, head, config, policy.sample_counts, sizes, documents.stated(data), data.privacy_audit
    )
    write_bytes(part / manifest.MODEL_CARD, text.encode())


def documents_of(
    folder: Path, claim: Claim, policy: Policy, audit: Mapping[str, Any] | None = None
) -> dict[str, bytes]:
    """The documents beside the claim, by name, as the next site expects them.

    Raises:
        UserError: something in them must not leave.
    """
    handover = {key for key, part in vars(claim.handover).items() if part}
    cards = [name for name in documents.CARDS if name.removesuffix(".json") in handover]
    try:
        content = {name: read(read_bytes(folder / name), name) for name in (*TRAVELLING, *cards)}
        content[manifest.DATA_CARD].pop("privacy_audit", None)  # of what was signed before: the record says it anew
        content[manifest.DATA_CARD] |= {"privacy_audit": audit} if audit else {}
        content[manifest.DATA_CARD] = documents.disclosed_card(content[manifest.DATA_CARD], policy)
        content[manifest.RESULTS] = documents.disclosed_results(content[manifest.RESULTS], policy)
        content |= {name: documents.disclosed_memory(name, content[name], policy) for name in cards}
        contents = {name: canonical(value) for name, value in content.items()}
        documents.check(contents, claim, policy)
    except BadDocument as error:
        raise UserError(f"leg {claim.leg} can't be sent: {error}", documents.ADVICE) from error
    return contents


def _copy_leg(source: Path, part: Path, leg: int, last: bool, expert: bool) -> None:
    """Copy what is kept of an earlier leg from the folder of the previous leg.

    Args:
        expert: whether the leg's expert may travel. It does if it has come this far.

    Raises:
        DigestMismatch: a memory or an expert is no longer the one that was received.
    """
    received = manifest.parse(read_bytes(source / manifest.MANIFEST))
    came = (manifest.EXPERT if last else manifest.earlier(leg, manifest.EXPERT)) in received
    weights = (*manifest.KEPT, *((manifest.EXPERT,) if expert and came else ()))
    paths = {name: source / (name if last else manifest.earlier(leg, name)) for name in (*manifest.CHAIN, *weights)}
    for name in manifest.CHAIN:
        write_bytes(part / manifest.earlier(leg, name), read_bytes(paths[name]))
    listed = manifest.parse(read_bytes(paths[manifest.MANIFEST]))
    for name in weights:
        if listed.get(name) != sha256_of(paths[name]):
            raise DigestMismatch(f"{paths[name]} is not what was received", "Receive that bundle again.")
        if name in listed:
            link(paths[name], part / manifest.earlier(leg, name))


def sizes_in(folder: Path) -> dict[str, int]:
    """Size in bytes of every file of a bundle in a folder, by entry; other files in it are ignored."""
    return {name: (folder / name).stat().st_size for name in layout_of(folder).names() if (folder / name).is_file()}


def sha256_of(path: Path) -> str | None:
    """The SHA-256 of a file, in hex; None if there is no such file."""
    return measure(path).sha256 if path.is_file() else None


def list_digest(claim: Claim, files: Mapping[str, Measured]) -> str:
    """SHA-256 of the closed list: what the leg claims, and every file that leaves with its size and digest.

    Args:
        files: of the bundle, by entry. Statement and manifest don't count: they are made from the others.
    """
    said = {key: value for key, value in written(claim).items() if key not in UNKNOWN_YET}
    made = (manifest.STATEMENT, manifest.MANIFEST)
    listed = {name: {"bytes": f.size, "sha256": f.sha256} for name, f in files.items() if name not in made}
    return digest(canonical({"format": 1, "claim": said, "files": listed}))
