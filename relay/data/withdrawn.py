"""Patients who have withdrawn their consent: a list in the site's own folder, which every split leaves out.

``<home>/withdrawn.json`` has no name of a patient: only a keyed hash of the site's name and the patient's. Its key is
in the same file, so that relay can recognise a patient, and nobody without the file can try names. The folder is the
one that ``RELAY_HOME`` names, or ``~/.relay``, whichever study a config is of.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from relay.data.patients import alike
from relay.data.record import Record
from relay.data.splits import Split
from relay.errors import UserError
from relay.files import damaged, make_folder, read_json, write_text
from relay.home import home_of
from relay.locks import locked

NAME = "withdrawn.json"
AGAIN = (
    "Restore it from a backup: without it, patients who have withdrawn would be trained on again. The ledger of each "
    "study has the hashes of its patients, but not the key."
)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Withdrawn:
    """The list of a site's folder.

    Attributes:
        path: its file; it need not exist.
        key: of the hashes, in hex; empty as long as nobody has withdrawn.
        patients: the hashes, oldest first; of each, the folders of the legs that had learned from the patient, and
            whether in ``train`` or in ``val``.
    """

    path: Path
    key: str = ""
    patients: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of_home(cls, home: Path | None = None) -> Withdrawn:
        """The list in a folder; by default, in the usual one.

        Raises:
            UserError: the file is damaged or can't be read: then nobody knows whom to leave out.
        """
        path = home_of(home) / NAME
        try:
            said = read_json(path, AGAIN)
        except (FileNotFoundError, NotADirectoryError):
            return cls(path)
        except OSError as error:
            raise UserError(f"{path} can't be read: {error.strerror}", AGAIN) from error
        key, patients = said.get("key"), said.get("patients")
        if not (isinstance(key, str) and key and isinstance(patients, dict)):
            raise damaged(path, "'key' or 'patients' is missing or has the wrong type", AGAIN)
        if odd := [patient for patient, learned in patients.items() if not isinstance(learned, dict)]:
            raise damaged(path, f"what it says of {odd[0][:12]} has the wrong type", AGAIN)
        return cls(path, key, patients)

    def hash_of(self, site: str, patient: str) -> str:
        """HMAC-SHA256 of a patient at a site, in hex; it is the same for names that are
        :func:`~relay.data.patients.alike`."""
        return hmac.new(self.key.encode(), f"{site}\n{alike(patient)}".encode(), sha256).hexdigest()

    def has(self, site: str, patient: str) -> bool:
        """Whether a patient has withdrawn."""
        return self.hash_of(site, patient) in self.patients

    def learned(self, site: str, patient: str) -> Mapping[str, str]:
        """The folders of the legs that had learned from a patient who then withdrew: ``train`` or ``val`` of each."""
        return self.patients.get(self.hash_of(site, patient), {})

    def add(self, site: str, patient: str, learned: Mapping[str, str]) -> str:
        """Add a patient, or what had learned from one; return the hash."""
        make_folder(self.path.parent)
        with locked(self.path.with_name(f".{NAME}.lock"), str(self.path)):
            now = Withdrawn.of_home(self.path.parent)
            now = now if now.key else replace(now, key=secrets.token_hex(32))
            found = now.hash_of(site, patient)
            patients = {**now.patients, found: {**now.patients.get(found, {}), **learned}}
            write_text(self.path, json.dumps({"format": 1, "key": now.key, "patients": patients}, indent=1) + "\n")
        return found

    def left_out(self, dealt: Split, site: str) -> Split:
        """A split without the patients who have withdrawn. The others stay where they were dealt."""
        if not self.patients:
            return dealt
        gone = {s.patient for part in (dealt.train, dealt.val, dealt.test) for s in part if self.has(site, s.patient)}
        if not gone:
            return dealt
        log.warning("%s: %d patient(s) who have withdrawn are left out", site, len(gone))

        def rest(samples: list[Record]) -> list[Record]:
            return [sample for sample in samples if sample.patient not in gone]

        val = rest(dealt.val)
        return Split(rest(dealt.train), val, val if dealt.stands_in else rest(dealt.test))
