"""Where a run stores its files: ``exps/<config>/<note>/``.

::

    config.given.yaml  config.resolved.yaml    the config as given, and as resolved
    logs/run.log       tensorboard/task_1/     the log, the curves
    logs/validation/                           a few validation images while a leg trains; stays here
    .lock                                      held by the command that trains here
    splits/<site>.json                         which patients are in train, val and test; stays here
    checkpoints/task_1/last.ckpt               the leg's model (task_1_lap2/: of its second lap)
    checkpoints/task_1/handover/               what the leg hands over, before it is signed and sealed
    checkpoints/task_1/leg.json  scores.csv    the leg's record (its config, its state) and its test scores
    checkpoints/task_1/privacy.json            with differential privacy: the account; noise.key: until it is finished
    checkpoints/task_1/data.json               digests of the images and masks it used; stays here
    handoff/                                   in a simulation: temporary keys, ledgers, and the stick
    results/                                   tables, figures and the report
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.bundle import measure
from relay.errors import ChangedConfigError, DataError
from relay.files import damaged, read_json, write_text
from relay.locks import locked
from relay.results import read_rows

NOT_KNOWN = "not known"
RECORD: dict[str, type | tuple[type, ...]] = {"state": str, "config": dict, "start": (str, type(None)), "sha256": dict}
"""The keys of ``leg.json`` and their types; once a leg is finished, it also has the digests of the leg's files."""


def watched_in(run: Path) -> Path:
    """The folder of the validation images that are shown while a leg trains, in a run's folder."""
    return run / "logs" / "validation"


@dataclass(frozen=True)
class LegPaths:
    """The folder of one leg."""

    root: Path

    @property
    def checkpoint(self) -> Path:
        """The finished leg's model, only for this machine."""
        return self.root / "last.ckpt"

    @property
    def handover(self) -> Path:
        """The handover."""
        return self.root / "handover"

    @property
    def scores(self) -> Path:
        """The leg's test scores, one row for each sample and class."""
        return self.root / "scores.csv"

    @property
    def routing(self) -> Path:
        """How many test images of each site the router gave to each expert."""
        return self.root / "routing.json"

    @property
    def privacy(self) -> Path:
        """The account of a training with differential privacy; stays here."""
        return self.root / "privacy.json"

    @property
    def noise_key(self) -> Path:
        """The key of its noise, until the leg is finished."""
        return self.root / "noise.key"

    @property
    def files(self) -> Path:
        """Digests of the files that the leg is trained and tested on; stays here."""
        return self.root / "data.json"

    def rows(self) -> list[dict[str, Any]]:
        """The rows of :attr:`scores`.

        Raises:
            DataError: the file is missing or damaged.
        """
        try:
            rows = read_rows(self.scores)
            if not rows or any(row["leg"] is None for row in rows):
                raise DataError(f"{self.scores} is damaged: it does not contain a leg's scores")
        except DataError as error:
            raise DataError(str(error), self.again) from error
        self.check_whole(self.scores)
        return rows

    @property
    def again(self) -> str:
        """What to do if a file of the leg is damaged."""
        return f"Remove {self.root} to train this leg again."

    def check_whole(self, path: Path) -> None:
        """Check that a file of the finished leg is as it was written.

        Raises:
            UserError: it is damaged.
        """
        said = self.record().get("sha256", {}).get(path.name)
        if said is not None and measure(path).sha256 != said:
            raise damaged(path, "it is not what this leg wrote", self.again)

    def phase(self, number: int, name: str) -> Path:
        """The state of a phase, kept until the leg ends."""
        return self.root / f"phase_{number}_{name}.ckpt"

    def record(self) -> dict[str, Any]:
        """``leg.json``; empty if the leg has not started.

        Raises:
            UserError: the file is damaged.
        """
        path = self.root / "leg.json"
        try:
            record = read_json(path, self.again)
        except FileNotFoundError:
            return {}
        for key, kinds in RECORD.items():
            if not isinstance(record.get(key, {} if key == "sha256" else ...), kinds):
                raise damaged(path, f"'{key}' is missing or has the wrong type", self.again)
        return record

    def write_record(self, **record: Any) -> None:
        """Replace ``leg.json``."""
        write_text(self.root / "leg.json", json.dumps(record, indent=1, default=str) + "\n")

    def check(self, config: Mapping[str, Any], start: str | None = NOT_KNOWN) -> None:
        """Refuse to resume a leg that was started differently; this only reads. A leg without a saved state counts as
        new.

        Args:
            config: the leg's scientific config, flat.
            start: digest of the handover it starts from, None for none; leave it out if not yet known.

        Raises:
            ChangedConfigError: it was started with another config or from another handover.
        """
        record = self.record()
        if not record or not self.begun:
            return
        old, new = record["config"], json.loads(json.dumps(dict(config), default=str))
        changed = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
        said = [f"{k}: {old.get(k)!r} then, {new.get(k)!r} now" for k in changed]
        if start not in (NOT_KNOWN, record["start"]):
            said.append("it starts from a different handover")
        if said:
            raise ChangedConfigError(
                f"{self.root} was {record['state']} with other settings:\n" + "\n".join(f"  - {s}" for s in said),
                f"Use a new note (-n). Or remove {self.root} and the folders of all later legs to train them again.",
            )

    @property
    def finished(self) -> bool:
        """Whether the leg is finished."""
        return bool(self.record().get("state") == "finished")

    @property
    def begun(self) -> bool:
        """Whether the leg is finished or has a saved state."""
        return self.finished or any(self.root.glob("phase_*.ckpt"))


@dataclass(frozen=True)
class RunPaths:
    """The folder of one run."""

    root: Path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training in this folder in the meantime.

        Raises:
            UserError: another process is already doing so.
        """
        with locked(
            self.root / ".lock", str(self.root), "To run another one at the same time, give it its own note (-n)."
        ):
            yield

    def leg(self, folder: str) -> LegPaths:
        """The folder of the leg whose ``save.dir`` is ``folder``."""
        return LegPaths(self.root / "checkpoints" / folder)

    def curves(self, folder: str) -> Path:
        """The TensorBoard folder of the leg whose ``save.dir`` is ``folder``."""
        return self.root / "tensorboard" / folder

    def split(self, site: str) -> Path:
        """The split of a site into train, val and test, as first made."""
        return self.root / "splits" / f"{site}.json"
