"""Which predictions a person should look at: those about which there is more doubt than about images like the site's.

The threshold is chosen on validation images, never on the images that are predicted: their doubt is measured in the
same way, and of n such numbers, the threshold is the one at rank ⌈0.95 (n + 1)⌉ (split conformal prediction:
Papadopoulos et al. 2002, 10.1007/3-540-36755-1_29). If the new images are like the validation images, at most 5 % of
them are flagged. With fewer than 19 validation images, it is the largest of the numbers, and the share that is flagged
is up to 1 / (n + 1).
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from relay.bulk.looking import look
from relay.bulk.predictor import Predictor
from relay.bulk.usual import evenly, samples
from relay.data import Dataset, Record
from relay.errors import UserError
from relay.files import read_record, write_text
from relay.leg import Progress, digests
from relay.plan import Study

FLAGGED = 0.05
"""The share of images like the validation images that is flagged at most."""
MOST = 100
"""How many validation images are predicted at most, of all sites together: they are to be like the new images."""
KEPT = "validation.json"
Warn = Callable[[str], None]


@dataclass(frozen=True)
class Threshold:
    """Above which doubt an image is to be reviewed.

    Attributes:
        images: how many validation images it was chosen on.
        share: the share of images like them that is flagged at most.
    """

    value: float
    images: int
    share: float

    @property
    def about(self) -> dict[str, Any]:
        """As in ``about.json``."""
        return {"threshold": self.value, "validation images": self.images, "flagged at most": self.share}


def threshold_of(doubts: Sequence[float]) -> Threshold:
    """The threshold from the doubts of validation images, at least one."""
    n = len(doubts)
    rank = min(n, math.ceil((n + 1) * (1 - FLAGGED)))
    return Threshold(sorted(doubts)[rank - 1], n, round(1 - rank / (n + 1), 4))


def chosen(predictor: Predictor, study: Study | None, folder: Path, progress: Progress, warn: Warn) -> Threshold | None:
    """The threshold from the validation images of a study that are on this machine; None if there are none.

    Their doubts are kept in ``validation.json``, so that a run that is resumed does not measure them again.
    """
    try:
        found = [] if study is None else list(samples(study, "val"))
        some = evenly(found, MOST)
        if not some:
            return None
        progress.expect(progress.pace.total + len(some))
        files = digests.digests([sample for _, sample in some])
        named = json.dumps([predictor.digest, [sample.id for _, sample in some], files], sort_keys=True)
        key = sha256(named.encode(errors="surrogateescape")).hexdigest()
        if (doubts := _kept(folder / KEPT, key)) is None:
            doubts = [_doubt(predictor, *each) for each in progress.counted(some, "measuring")]
            write_text(folder / KEPT, json.dumps({"of": key, "doubts": doubts}) + "\n")
    except UserError as error:
        warn(f"no threshold: the validation images can't be used: {error}")
        return None
    return threshold_of(doubts) if doubts else None


def _doubt(predictor: Predictor, dataset: Dataset, sample: Record) -> float:
    """Of an image; of one that is read slice by slice, that of its most doubtful slice."""
    case = dataset.read(sample)
    return max(look(predictor, predictor.ready(case, sample.image), sample.image, doubts=True).doubts)


def _kept(path: Path, key: str) -> list[float] | None:
    try:
        record = read_record(path, {"of": str, "doubts": list}, "")
    except UserError:
        return None  # it is measured again
    if record is None or record["of"] != key or not all(isinstance(doubt, float) for doubt in record["doubts"]):
        return None
    return record["doubts"]  # type: ignore[no-any-return]


def reviewed(rows: Sequence[dict[str, Any]], threshold: Threshold | None) -> None:
    """Add to each row with a doubt the rank of its image, 1 for the most doubtful; with a threshold, also whether the
    image is above it. Of an image that is read slice by slice, its most doubtful slice counts."""
    doubts: dict[str, float] = {}
    for row in rows:
        if "uncertainty" in row:
            doubts[row["file"]] = max(row["uncertainty"], doubts.get(row["file"], row["uncertainty"]))
    order = sorted(doubts.values())
    for row in (row for row in rows if "uncertainty" in row):
        mine = doubts[row["file"]]
        row["rank"] = 1 + len(order) - bisect_right(order, mine)
        if threshold is not None:
            row["review"] = "yes" if mine > threshold.value else "no"
