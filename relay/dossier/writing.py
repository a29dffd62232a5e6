"""Write the papers of a study to a folder, with what is needed to check them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.bundle import manifest
from relay.dossier.annex_iv import ANNEX_IV
from relay.dossier.change_plan import CHANGE_PLAN
from relay.dossier.ethics import ETHICS_SHEET
from relay.dossier.log import event_log
from relay.dossier.model_card import MODEL_CARD
from relay.dossier.software import software_list
from relay.dossier.study import StudyRecord
from relay.errors import UserError
from relay.files import read_bytes
from relay.papers import Page, write_pages


@dataclass(frozen=True)
class Dossier:
    """What was written.

    Attributes:
        files: all of it.
        open: how many gaps are left to people, by paper.
    """

    files: Sequence[Path]
    open: dict[str, int]


def write_dossier(record: StudyRecord, folder: Path, lock: Path | None, receipts: Sequence[Path] = ()) -> Dossier:
    """Write every paper as Markdown and HTML, the lock and receipts, and the digests of all files that they cite.

    Args:
        lock: the pinned versions of packages; None for none.
        receipts: of this study, compared with its ledger.

    Raises:
        UserError: a file exists already, or two would have one name; the lock is not one.
    """
    papers = (MODEL_CARD, CHANGE_PLAN, ANNEX_IV, ETHICS_SHEET, event_log(receipts), software_list(lock))
    pages = [paper.page(record) for paper in papers]
    beside = _digests(pages)
    taken = {f"{page.name}.{end}" for page in pages for end in ("md", "html")}
    for path in (*receipts, *([lock] if lock else [])):
        if path.name in {*beside, *taken}:
            raise UserError(f"two files are named {path.name}", "They are copied to one folder: rename one of them.")
        beside[path.name] = read_bytes(path)
    if there := [folder / name for name in beside if (folder / name).exists()]:
        raise UserError(f"{there[0]} exists already", "Name an empty folder with -o.")
    return Dossier(write_pages(pages, folder, beside), {page.name: page.open for page in pages})


def _digests(pages: Sequence[Page]) -> dict[str, bytes]:
    """For each root the digests of its files, as ``sha256sum -c`` reads them, by the file's name."""
    cited: dict[str, dict[str, str]] = {}
    for file in sorted((file for page in pages for file in page.files), key=lambda file: file.file):
        cited.setdefault(f"{file.root.replace(' ', '-')}.sha256", {})[file.file] = file.sha256
    return {name: manifest.write(digests) for name, digests in cited.items()}
