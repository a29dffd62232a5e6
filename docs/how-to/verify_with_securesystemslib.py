"""Verify the statement and chain of an unpacked bundle without relay, with securesystemslib and the standard library.

    python verify_with_securesystemslib.py FOLDER COORDINATOR_KEY_HEX

Check the files themselves with ``sha256sum -c manifest-sha256.txt`` in that folder. This script doesn't check turns,
revoked keys, dates or the policy: relay verify does.
"""

import hashlib
import json
import sys
from pathlib import Path

from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey


def payload(path: Path, key: str | None = None) -> bytes:
    """The payload of an envelope; if a key is given, its signature is verified first."""
    envelope = Envelope.from_dict(json.loads(path.read_bytes()))
    if key:
        envelope.verify([SSlibKey(key, "ed25519", "ed25519", {"public": key})], 1)
    return envelope.payload


folder, coordinator, before = Path(sys.argv[1]), sys.argv[2], None
rosters = {int(path.name[:4]): json.loads(payload(path, coordinator)) for path in folder.glob("rosters/*.json")}
for leg in [*sorted(folder.glob("chain/*")), folder]:
    claim = json.loads(payload(leg / "statement.dsse.json"))["predicate"]  # not verified yet
    keys = {site["name"]: site["signing"] for site in rosters[claim["roster"]["version"]]["sites"]}
    signed = payload(leg / "statement.dsse.json", keys[claim["site"]])
    manifest = hashlib.sha256((leg / "manifest-sha256.txt").read_bytes()).hexdigest()
    assert json.loads(signed)["subject"][0]["digest"]["sha256"] == manifest, "another manifest was signed"
    assert claim["previous"] == before, "it does not continue the leg before it"
    before = hashlib.sha256(signed).hexdigest()
    print(f"leg {claim['leg']} by {claim['site']}: verified, statement {before}")
