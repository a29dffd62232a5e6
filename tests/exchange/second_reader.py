"""A second reader of bundles, written from docs/reference/bundle-format.md alone: nothing of relay is imported.

It takes rules 1 to 4, 6 and 7 of the page, as somebody who looks on without a ledger and a config does.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pyrage
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FULL, SKEW = 0xFFFFFFFF, timedelta(days=1)
MEBI4, KIBI256 = 4194304, 262144
CHAIN = ("statement.dsse.json", "manifest-sha256.txt", "results.json", "data-card.json")
DOCUMENTS = ("MODEL_CARD.md", "handover.json", "config.json", "data-card.json", "results.json")


MEMORY = ("memory.json", "memory.safetensors")
PARTS = ("memory", "cumulative", "expert", "model")


class Bad(Exception):
    """A bundle that breaks a rule of the page."""


def need(holds: object, rule: str) -> None:
    if not holds:
        raise Bad(rule)


# -- documents -------------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """As ECMAScript writes it, which RFC 8785 asks for."""
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, point = "".join(map(str, digits)), len(digits) + int(exponent)
    if len(text) <= point <= 21:
        text += "0" * (point - len(text))
    elif 0 < point <= 21:
        text = text[:point] + "." + text[point:]
    elif -6 < point <= 0:
        text = "0." + "0" * -point + text
    else:
        text = text[0] + ("." + text[1:] if text[1:] else "") + f"e{point - 1:+d}"
    return "-" * sign + text


def canonical(value: Any) -> str:
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: pair[0].encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(key)}:{canonical(item)}" for key, item in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    need(math.isfinite(value) and (isinstance(value, float) or abs(value) < 2**53), "a number out of range")
    return number(value) if isinstance(value, float) else str(value)


def document(data: bytes, limit: int = MEBI4) -> Any:
    need(len(data) <= limit, "a document that is too large")
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise Bad(f"no JSON: {error}") from error
    need(canonical(value).encode() == data, "JSON that is not canonical")
    return value


Form = Callable[[Any], bool]


def text(pattern: str) -> Form:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None


def whole(low: int, high: int = 2**53 - 1) -> Form:
    return lambda value: type(value) is int and low <= value <= high


def real(low: float, high: float, above: bool = False) -> Form:
    return lambda v: type(v) in (int, float) and (low < v if above else low <= v) and v <= high


def maybe(form: Form) -> Form:
    return lambda value: value is None or form(value)


def either(*forms: Form) -> Form:
    return lambda value: any(form(value) for form in forms)


def one_of(*values: object) -> Form:
    return lambda value: any(value == item and type(value) is type(item) for item in values)


def many(form: Form, least: int = 0, most: int = 10**9) -> Form:
    return lambda value: isinstance(value, list) and least <= len(value) <= most and all(map(form, value))


def mapping(key: Form, form: Form) -> Form:
    return lambda v: isinstance(v, dict) and len(v) <= 1000 and all(key(k) and form(i) for k, i in v.items())


def keys(optional: Sequence[str] = (), /, **schemas: Form) -> Form:
    """These keys and no others; those in ``optional`` may be missing."""

    def fits(v: Any) -> bool:
        whole = isinstance(v, dict) and {*v, *optional} == {*schemas}
        return whole and all(f(v[k]) for k, f in schemas.items() if k in v)

    return fits


def a_time(value: Any) -> bool:
    try:
        return text(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")(value) and bool(moment(value))
    except ValueError:
        return False


def plain(value: Any) -> bool:
    if isinstance(value, dict):
        return mapping(a_key, plain)(value)
    if isinstance(value, list):
        return len(value) <= 1000 and all(map(plain, value))
    return not isinstance(value, str) or (len(value) <= 200 and value.isprintable())


def moment(value: str) -> datetime:
    return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


slug = text(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
name = text(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,38}[A-Za-z0-9_-])?")
sha256 = text("[0-9a-f]{64}")
words = text(r"[A-Za-z0-9 _.:+/()-]{1,100}")
kind = text("[A-Za-z0-9_.-]{1,40}")
a_key = text("[A-Za-z0-9_.-]{1,200}")
config = mapping(a_key, plain)
factor = real(0, 1e9, above=True)
value = real(-1e15, 1e15)

identity = keys(
    format=one_of(1), name=name, signing=sha256, sealing=text("age1[a-z0-9]{58}"), created=a_time, expires=a_time
)
limits = {
    "on_failure": one_of("refuse", "warn"),
    "max_relative_change": maybe(factor),
    "max_outlier": maybe(factor),
}
gate = keys(**limits, min_score=maybe(real(-1e9, 1e9)))
policy = keys(
    ("approval", "audit", "audit_limit", "max_training_epsilon"),
    approval=one_of("required"),
    audit=one_of("report", "require"),
    audit_limit=lambda v: real(0.5, 1)(v) and v != 0.6,
    max_training_epsilon=factor,
    sealed=one_of(True, False),
    max_bundle_bytes=whole(1),
    memory=lambda v: v == "any" or many(kind)(v),
    max_epsilon=maybe(factor),
    experts=one_of("none", "full"),
    max_expert_bytes=whole(1),
    sample_counts=one_of("rounded", "exact"),
    min_samples=whole(1),
    same_config=one_of(True, False),
    expires_days=whole(1, 3650),
    gate=gate,
)
revoked = keys(
    key=sha256,
    site=name,
    last_leg=whole(0, 9999),
    reason=lambda v: isinstance(v, str) and 1 <= len(v) <= 200 and v.isprintable(),
    left=one_of(True, False),
)
a_roster = keys(
    format=one_of(1),
    study=slug,
    version=whole(1, 9999),
    issued=a_time,
    not_before=a_time,
    not_after=a_time,
    coordinator=identity,
    sites=many(identity),
    order=many(name, 1, 9999),
    done=many(whole(0, 9999), 1, 9999),
    readers=many(name),
    revoked=many(revoked),
    policy=policy,
    withdrawn_experts=many(whole(1, 9999), 0, 9999),
)
tensors = keys(tensors=whole(0), bytes=whole(0))
a_claim = keys(
    ("approved",),
    approved=one_of(True),
    study=slug,
    leg=whole(1, 9999),
    site=name,
    recipients=many(keys(name=name, sealing=words)),
    previous=maybe(sha256),
    roster=keys(version=whole(1), sha256=sha256),
    config=sha256,
    code=keys(relay=words, torch=words),
    strategy=words,
    samples=whole(1),
    handover=keys(model=tensors, memory=maybe(tensors), cumulative=maybe(tensors), expert=maybe(tensors)),
    result=mapping(name, maybe(either(real(0, 1), mapping(words, maybe(value))))),
    issued=a_time,
    expires=a_time,
)
counts = keys(train=whole(0), val=whole(0), test=whole(0))
classes = many(words, 1, 255)
step = keys(name=words, kwargs=config)
plane = one_of("axial", "coronal", "sagittal")
share = real(0, 1)
a_part = one_of("model", "expert", "difference", "memory", "cumulative")
an_attack = keys(
    part=a_part,
    name=words,
    **dict.fromkeys(("auc", "low", "high", "right", "p"), share),
    **dict.fromkeys(("tpr_1", "tpr_01"), maybe(share)),
)
an_audit = keys(
    members=whole(0),
    others=whole(0),
    shadows=whole(0),
    strength=share,
    attacks=many(an_attack, 0, 500),
    copies=many(keys(part=a_part, by=words, nearest=real(0, 1e15), p=share), 0, 500),
    measurable=one_of(True, False),
    detectable=share,
    p=share,
    epsilon=maybe(real(0, 1e308, above=True)),
    delta=maybe(lambda v: real(0, 1, above=True)(v) and v < 1),
)
SCHEMAS: Mapping[str, Form] = {
    "handover.json": keys(
        format=one_of(1),
        model=keys(name=words, kwargs=config),
        data=keys(
            task=words,
            classes=classes,
            channels=whole(1),
            intensity_range=many(real(-1e308, 1e308), 2, 2),
            steps=maybe(many(step, 0, 1000)),
            slices=maybe(plane),
        ),
    ),
    "config.json": config,
    "data-card.json": keys(
        ("corrected", "privacy", "privacy_audit"),
        privacy=keys(
            epsilon=real(0, 1e308, above=True),
            delta=lambda v: real(0, 1, above=True)(v) and v < 1,
            unit=one_of("patient"),
            accountant=one_of("prv", "rdp"),
            private=one_of(True, False),
            relation=one_of("zero-out"),
        ),
        corrected=whole(0),
        privacy_audit=an_audit,
        format=one_of(1),
        site=name,
        task=words,
        classes=classes,
        channels=whole(1),
        size=maybe(many(whole(1), 2, 3)),
        images=counts,
        patients=counts,
        counts=one_of("rounded", "exact"),
    ),
    "results.json": keys(
        format=one_of(1),
        leg=whole(1),
        trained=name,
        rows=many(keys(site=name, label=words, metric=words, mean=maybe(value))),
        zero_shot=many(keys(model=one_of("generalist", "vote"), mean=maybe(value), images=whole(0))),
    ),
}
card = keys(
    format=one_of(1),
    kind=kind,
    privacy=keys(
        derived=one_of("aggregates", "weights", "generator"),
        patients=whole(0),
        epsilon=maybe(real(0, 1e308, above=True)),
        delta=maybe(lambda v: real(0, 1, above=True)(v) and v < 1),
        unit=one_of("patient"),
    ),
    about=config,
    audit=maybe(config),
)


def signed(data: bytes, payload_type: str, limit: int = MEBI4) -> tuple[bytes, str, Callable[[], None]]:
    """Payload, key's id, and the check of the signature."""
    envelope = document(data, limit)
    need(
        keys(payload=text(".*"), payloadType=one_of(payload_type), signatures=many(bool, 1, 1))(envelope), "no envelope"
    )
    (signature,) = envelope["signatures"]
    need(keys(keyid=sha256, sig=text(".*"))(signature), "no signature")
    payload, sig = (unbase64(part) for part in (envelope["payload"], signature["sig"]))
    said = payload_type.encode()
    message = b"DSSEv1 %d %b %d %b" % (len(said), said, len(payload), payload)

    def check() -> None:
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature["keyid"])).verify(sig, message)
        except InvalidSignature as error:
            raise Bad("the signature is wrong") from error

    return payload, signature["keyid"], check


def unbase64(said: str) -> bytes:
    try:
        data = base64.b64decode(said, validate=True)
    except ValueError as error:
        raise Bad(f"no base64: {error}") from error
    need(base64.b64encode(data).decode() == said, "base64 in another spelling")
    return data


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- seal and container ----------------------------------------------------------------------------------------------


def unsealed(data: bytes, secret: str | None) -> tuple[bytes, int | None]:
    """The container, and how many recipients the seal has; None: it is not sealed."""
    if not data.startswith(b"age-encryption.org/v1\n"):
        return data, None
    head = data[:65536].partition(b"\n--- ")[0]
    stanzas = [line.split(b" ")[1] for line in head.split(b"\n") if line.startswith(b"-> ")]
    stanzas = [one for one in stanzas if not one.endswith(b"-grease")]
    need(set(stanzas) == {b"X25519"} and secret, "a seal that is not only of X25519 stanzas, or no key to open it")
    try:
        return pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(str(secret))]), len(stanzas)
    except pyrage.DecryptError as error:
        raise Bad(f"it can't be unsealed: {error}") from error


def container(data: bytes) -> dict[str, bytes]:
    """Every entry by name, after every other byte was compared with what it must be."""
    file, entries, places = io.BytesIO(data), {}, []
    while data[(at := file.tell()) : at + 4] == b"PK\3\4":
        need(len(places) < 4096 and at + 30 <= len(data), "too many entries, or it breaks off")
        crc, short, length, extra = struct.unpack_from("<14xI4xI2H", data, at)
        called = data[at + 30 : at + 30 + length]
        size = int.from_bytes(data[at + 38 + length + 4 :][:8], "little") if extra else short
        local = header(called, size, crc)
        need(data[at : at + len(local)] == local, "a local header that is not canonical")
        file.seek(at + len(local))
        body = file.read(size)
        need(len(body) == size and zlib.crc32(body) == crc, "an entry that is cut or damaged")
        label = called.decode("ascii", "replace")
        part = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
        need(len(called) <= 100 and re.fullmatch(f"{part}(/{part})*", label), "an entry's name")
        need(label.lower() not in map(str.lower, entries), "a name that is there twice")
        entries[label] = body
        places.append((called, size, crc, at))
    need(data[file.tell() :] == directory(places, file.tell()), "the directory is not that of the entries")
    return entries


def header(called: bytes, size: int, crc: int) -> bytes:
    extra = struct.pack("<2H2Q", 1, 16, size, size) if size >= FULL else b""
    short = min(size, FULL)
    return (
        struct.pack("<4s5H3I2H", b"PK\3\4", 45, 0, 0, 0, 0x21, crc, short, short, len(called), len(extra))
        + called
        + extra
    )


def directory(places: list[tuple[bytes, int, int, int]], start: int) -> bytes:
    out = b""
    for called, size, crc, offset in places:
        big = [n for n in (size, size, offset) if n >= FULL]
        extra = struct.pack(f"<2H{len(big)}Q", 1, 8 * len(big), *big) if big else b""
        short = min(size, FULL)
        out += struct.pack("<4s6H3I", b"PK\1\2", 45, 45, 0, 0, 0, 0x21, crc, short, short)
        out += struct.pack("<5H2I", len(called), len(extra), 0, 0, 0, 0, min(offset, FULL)) + called + extra
    count, end = len(places), b""
    if start >= FULL:
        end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(out), start)
        end += struct.pack("<4sIQI", b"PK\6\7", 0, start + len(out), 1)
    return out + end + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, len(out), min(start, FULL), 0)


def listing(data: bytes) -> dict[str, str]:
    lines = data.decode("ascii", "replace").split("\n")
    need(lines.pop() == "" and lines, "a manifest without its last newline")
    found = [re.fullmatch("([0-9a-f]{64})  ([A-Za-z0-9_][A-Za-z0-9_./-]*)", line) for line in lines]
    need(all(found), "a line of a manifest")
    listed = {line[2]: line[1] for line in found if line}
    need(len(listed) == len(lines), "a name twice in a manifest")
    return listed


def in_order(entries: Mapping[str, bytes], legs: int, kept: Mapping[int, list[str]]) -> list[str]:
    """The one list of entries, as the page has it."""
    own = [f for m in ("memory", "cumulative") if f"{m}.json" in entries for f in (f"{m}.json", f"{m}.safetensors")]
    own += ["expert.safetensors"] if "expert.safetensors" in entries else []
    chain = [f"chain/{leg:04d}/{file}" for leg in range(1, legs + 1) for file in (*CHAIN, *kept[leg])]
    rosters = sorted(file for file in entries if re.fullmatch(r"rosters/\d{4}\.dsse\.json", file))
    need(rosters, "no roster")
    return [*CHAIN[:2], *rosters, *chain, *DOCUMENTS, *own, "model.safetensors"]


# -- weights ---------------------------------------------------------------------------------------------------------


def weights(data: bytes, count: int) -> dict[str, tuple[str, list[int], bytes]]:
    """Type, shape and bytes of every tensor by name."""
    length = int.from_bytes(data[:8], "little")
    need(length <= min(MEBI4, 1024 * (count + 1)) and 8 + length <= len(data), "the header's length")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        need(len(dict(pairs)) == len(pairs), "a key twice in a header")
        return dict(pairs)

    try:
        head = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=once)
    except ValueError as error:
        raise Bad(f"no header: {error}") from error
    item = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "F16": 2, "BF16": 2}
    item |= {"I32": 4, "F32": 4, "I64": 8, "F64": 8, "C64": 8}
    shape = many(whole(0, 2**40), 0, 8)
    entry = keys(dtype=one_of(*item), shape=shape, data_offsets=many(whole(0), 2, 2))
    need(len(head) == count and all(map(entry, head.values())), "a tensor's entry, or their number")
    at, body, out = 0, data[8 + length :], {}
    for called, said in sorted(head.items(), key=lambda pair: pair[1]["data_offsets"]):
        start, end = said["data_offsets"]
        need(start == at and end - start == item[said["dtype"]] * math.prod(said["shape"]), "where a tensor lies")
        out[called] = (said["dtype"], said["shape"], body[start:end])
        need(said["dtype"] != "BOOL" or set(body[start:end]) <= {0, 1}, "a boolean")
        at = end
    need(at == len(body), "bytes that belong to no tensor")
    return out


# -- the rules -------------------------------------------------------------------------------------------------------


def rosters_in(entries: Mapping[str, bytes], study: str, pinned: Mapping[str, Any]) -> dict[int, tuple[Any, str]]:
    """Content and digest of each, by version."""
    found = {}
    for file, data in entries.items():
        if not file.startswith("rosters/"):
            continue
        payload, keyid, check = signed(data, "application/vnd.relay.roster+json")
        need(keyid == pinned["signing"], "a roster by another key")
        check()
        roster = document(payload)
        need(a_roster(roster) and roster["study"] == study, "a roster's form, or study")
        need(
            roster["coordinator"] == pinned and file == f"rosters/{roster['version']:04d}.dsse.json", "a roster's place"
        )
        need(len(roster["done"]) == roster["version"], "a roster that does not say of each version what stood")
        gone = roster["withdrawn_experts"]
        need(len(set(gone)) == len(gone), "an expert that is withdrawn twice")
        need(all(leg <= roster["done"][-1] for leg in gone), "an expert withdrawn of a leg that is not done")
        found[roster["version"]] = (roster, digest(payload))
    for (_, old), (_, new) in pairwise(sorted(found.items())):
        need(old[0]["issued"] <= new[0]["issued"], "a newer roster that was issued earlier")
        need(new[0]["done"][: len(old[0]["done"])] == old[0]["done"], "a roster that rewrites which legs stood")
    return found


def recipients(roster: Mapping[str, Any], leg: int) -> set[tuple[str, str]]:
    """Who the roster says that a leg is for."""
    order, standing = roster["order"], {one["name"]: one for one in roster["sites"]}
    gone = {one["key"] for one in roster["revoked"]}
    sender, following = order[leg - 1], order[leg] if leg < len(order) else None
    to = [following] if following else [n for n, one in standing.items() if one["signing"] not in gone]
    to = [n for n in [*to, *roster["readers"]] if n != sender or following == sender] or [sender]
    everybody = {**standing, roster["coordinator"]["name"]: roster["coordinator"]}
    return {(n, everybody[n]["sealing"]) for n in to}


def lets_travel(roster: Mapping[str, Any], leg: int) -> bool:
    return roster["policy"]["experts"] == "full" and leg not in roster["withdrawn_experts"]


def withdrawn(claims: list[Any], rosters: Mapping[int, tuple[Any, str]]) -> set[int]:
    """The earlier legs whose experts are missing."""
    named = [(claim["leg"], rosters[claim["roster"]["version"]][0]) for claim in claims]
    return {leg for later, roster in named for leg in range(1, later) if not lets_travel(roster, leg)}


def claim_in(
    data: bytes, rosters: Mapping[int, tuple[Any, str]], study: str, last: bool
) -> tuple[dict[str, Any], str, str]:
    """A claim, the digest of its statement, and that of its manifest."""
    payload, keyid, check = signed(data, "application/vnd.in-toto+json", KIBI256)
    said = document(payload)
    need(isinstance(said, dict) and said.keys() == {"_type", "subject", "predicateType", "predicate"}, "no statement")
    kinds = (said["_type"], said["predicateType"])
    need(kinds == ("https://in-toto.io/Statement/v1", "urn:relay-learning:leg:v1"), "another kind of statement")
    subject = keys(name=one_of("manifest-sha256.txt"), digest=keys(sha256=sha256))
    need(many(subject, 1, 1)(said["subject"]) and a_claim(said["predicate"]), "a claim's form")
    claim, newest = said["predicate"], rosters[max(rosters)][0]
    site, leg, named = claim["site"], claim["leg"], claim["roster"]
    need(claim["study"] == study and named["version"] in rosters, "another study, or a roster that is not there")
    under, sha = rosters[named["version"]]
    need(sha == named["sha256"] and (not last or under is newest), "another roster, or an old one")
    need(not any(r["key"] == keyid and leg > r["last_leg"] for r in newest["revoked"]), "a revoked key")
    need(not any(r["key"] == keyid and not r["left"] for r in under["revoked"]), "a key that was revoked before")
    need(not any(done < leg for done in newest["done"][named["version"] :]), "a leg that is void")
    who = [one for one in (newest if last else under)["sites"] if one["name"] == site]
    need(who and who[0]["signing"] == keyid, "another site's key")
    check()
    for roster in (under, newest):
        need(leg <= len(roster["order"]) and roster["order"][leg - 1] == site, "not this site's turn")
    issued = moment(claim["issued"])
    need(claim["issued"] < claim["expires"] and claim["issued"] <= who[0]["expires"], "its dates")
    need(moment(under["not_before"]) - SKEW <= issued <= moment(under["not_after"]) + SKEW, "outside its roster")
    need(len(claim["result"].keys() - {one["name"] for one in under["sites"]}) <= 16, "test sets of nobody")
    return claim, digest(payload), said["subject"][0]["digest"]["sha256"]


def rounded(count: int) -> int:
    return count if count < 1 else 2 ** round(math.log2(count))


def check_documents(files: Mapping[str, bytes], claim: Mapping[str, Any], under: Mapping[str, Any]) -> None:
    """Forms of what lies beside a claim, and what they must say alike."""
    found = {}
    for file, data in files.items():
        found[file] = document(data, MEBI4 if file == "results.json" else KIBI256)
        form = SCHEMAS.get(file, card)
        need(form(found[file]), f"the form of {file}")
    results, data_card = found["results.json"], found["data-card.json"]
    need((results["leg"], results["trained"]) == (claim["leg"], claim["site"]), "results of another leg")
    need(data_card["site"] == claim["site"], "the data card of another site")
    cards = [found[file] for file in ("memory.json", "cumulative.json") if file in found]
    for one in cards:
        need((one["privacy"]["epsilon"] is None) == (one["privacy"]["delta"] is None), "epsilon without delta")
    disclosed = [claim["samples"], *data_card["images"].values(), *data_card["patients"].values()]
    disclosed += [data_card.get("corrected", 0)]
    audit = data_card.get("privacy_audit")
    disclosed += [audit[group] for group in ("members", "others")] if audit else []
    disclosed += [one["privacy"]["patients"] for one in cards]
    disclosed += [score["images"] for score in results["zero_shot"]]
    models = [score["model"] for score in results["zero_shot"]]
    need(len(set(models)) == len(models), "a model that is scored twice")
    if under["policy"]["sample_counts"] == "rounded":
        need(
            data_card["counts"] == "rounded" and all(rounded(n) == n for n in disclosed), "counts that are not rounded"
        )
    if under["policy"].get("audit") == "require":
        need(audit is not None and passes(audit, under["policy"].get("audit_limit", 0.6)), "no audit that passes")
    if (limit := under["policy"].get("max_training_epsilon")) is not None:
        promise = data_card.get("privacy")
        kept = promise is not None and promise["private"] and promise["epsilon"] <= limit and promise["delta"] <= 1e-3
        need(kept, "no guarantee")


def passes(audit: Any, limit: float) -> bool:
    told = any(one["p"] < 0.01 and one["auc"] > limit for one in audit["attacks"])
    copied = any(one["p"] < 0.01 and one["nearest"] < 0.5 for one in audit["copies"])
    return audit["measurable"] and not told and not copied


def check_memory(said: Mapping[str, Any], rule: Mapping[str, Any]) -> None:
    usual, derived = ("style", "ewc", "si", "owm", "fedavg"), said["privacy"]["derived"]
    need(rule["memory"] == "any" or said["kind"] in rule["memory"], "a kind of memory that may not travel")
    need(not (said["kind"] in usual and derived == "generator"), "a usual memory that is a generator")
    epsilon = said["privacy"]["epsilon"]
    if rule["max_epsilon"] is not None and derived != "weights":
        need(epsilon is not None and epsilon <= rule["max_epsilon"], "its epsilon")


def read(
    data: bytes, study: str, pinned: Mapping[str, Any], now: datetime, secret: str | None = None
) -> tuple[list[dict[str, Any]], list[str], dict[str, Any]]:
    """Claims and statements' digests of all legs, oldest first, and the tensors of every file of weights.

    Args:
        pinned: the coordinator's Identity.
        secret: an age secret key.

    Raises:
        Bad: the first rule that is broken.
    """
    bare, stanzas = unsealed(data, secret)
    entries = container(bare)
    rosters = rosters_in(entries, study, pinned)
    need(rosters, "no roster")
    newest = rosters[max(rosters)][0]
    need(moment(newest["not_before"]) - SKEW <= now <= moment(newest["not_after"]) + SKEW, "the roster's days")
    need("statement.dsse.json" in entries, "no statement")
    own, own_digest, own_manifest = claim_in(entries["statement.dsse.json"], rosters, study, last=True)
    wanted = recipients(newest, own["leg"])
    need({(r["name"], r["sealing"]) for r in own["recipients"]} == wanted, "its recipients")
    need(moment(own["issued"]) <= now + SKEW and now <= moment(own["expires"]), "too early, or too late")
    claims, digests, experts, kept = [], [], {}, {}
    for leg in range(1, own["leg"]):
        files = {file: entries.get(f"chain/{leg:04d}/{file}") for file in (*CHAIN, *MEMORY, "expert.safetensors")}
        there = {file: data for file, data in files.items() if data is not None}
        need(all(file in there for file in CHAIN), "a chain with a hole")
        claim, made, of = claim_in(there[CHAIN[0]], rosters, study, last=False)
        need(claim["leg"] == leg and digest(there[CHAIN[1]]) == of, "an earlier leg's number, or manifest")
        listed = listing(there[CHAIN[1]])
        for file in (*CHAIN[2:], *MEMORY):
            need(listed.get(file) == (digest(there[file]) if file in there else None), "an earlier leg's file")
        copied = {file: there[file] for file in (*CHAIN[2:], "memory.json") if file in there}
        check_documents(copied, claim, rosters[claim["roster"]["version"]][0])
        claims.append(claim)
        digests.append(made)
        experts[leg] = (listed.get("expert.safetensors"), there.get("expert.safetensors"))
        kept[leg] = [file for file in (*MEMORY, "expert.safetensors") if file in there]
    claims.append(own)
    digests.append(own_digest)
    for claim, before in zip(claims, [None, *digests], strict=False):
        need(claim["previous"] == before, "a leg that does not continue the one before")
    for old, new in pairwise(claims):
        need(old["roster"]["version"] <= new["roster"]["version"], "roster versions that go down")
    gone = withdrawn(claims, rosters)
    for leg, (value, data_there) in experts.items():
        need(leg not in gone or data_there is None, "an expert that was withdrawn")
        need(leg in gone or value == (data_there and digest(data_there)), "an earlier leg's expert")
    need(list(entries) == in_order(entries, own["leg"] - 1, kept), "the list of entries")
    need(digest(entries["manifest-sha256.txt"]) == own_manifest, "the manifest")
    listed = listing(entries["manifest-sha256.txt"])
    need(list(listed) == list(entries)[2:], "what the manifest lists")
    need(all(digest(entries[file]) == value for file, value in listed.items()), "a file's digest")
    need(listed["config.json"] == own["config"], "the config's digest")
    cards = [file for file in ("memory.json", "cumulative.json") if file in entries]
    check_documents({file: entries[file] for file in (*DOCUMENTS[1:], *cards)}, own, newest)
    need(own["handover"]["expert"] is None or lets_travel(newest, own["leg"]), "an expert that may not travel")
    check_policy(data, stanzas, entries, claims, newest["policy"], len(wanted))
    return claims, digests, tensors_in(entries, claims, gone)


def check_policy(
    data: bytes, stanzas: int | None, entries: Mapping[str, bytes], claims: list[Any], rule: Any, wanted: int
) -> None:
    own = claims[-1]
    need(not rule["sealed"] or stanzas == wanted, "not sealed, or to others than were signed for")
    need("approval" not in rule or "approved" in own, "not approved")
    need(len(data) <= rule["max_bundle_bytes"], "its size")
    least = rule["min_samples"] if rule["sample_counts"] == "exact" else rounded(rule["min_samples"])
    need(own["samples"] >= least, "too few samples")
    need(moment(own["expires"]) - moment(own["issued"]) <= timedelta(days=rule["expires_days"]), "good for too long")
    need(not rule["same_config"] or len({claim["config"] for claim in claims}) == 1, "different configs")
    for file, content in entries.items():
        if file.endswith(("memory.json", "cumulative.json")):
            check_memory(json.loads(content), rule)
        if file.endswith("expert.safetensors"):
            need(len(content) <= rule["max_expert_bytes"], "the size of an expert")


def tensors_in(entries: Mapping[str, bytes], claims: list[Any], gone: set[int]) -> dict[str, Any]:
    """The tensors of every file of weights; as many, and as large, as its statement says."""
    said = {f"chain/{claim['leg']:04d}/memory.safetensors": claim["handover"]["memory"] for claim in claims[:-1]}
    for claim in claims[:-1]:
        expert = None if claim["leg"] in gone else claim["handover"]["expert"]
        said[f"chain/{claim['leg']:04d}/expert.safetensors"] = expert
    said |= {f"{part}.safetensors": claims[-1]["handover"][part] for part in PARTS}
    for file, carried in said.items():
        need((file in entries) == (carried is not None), "a file that its statement does not know")
        need(carried is None or len(entries[file]) == carried["bytes"], "the size of a file of weights")
    return {file: weights(entries[file], carried["tensors"]) for file, carried in said.items() if carried}
