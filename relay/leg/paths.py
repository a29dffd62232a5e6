"""Where a run keeps its things: ``exps/<config>/<note>/``.

::

    config.given.yaml  config.resolved.yaml    what was asked for, and what that became
    logs/run.log       tensorboard/task_1/     the log, the curves
    .lock                                      held by the command that trains here
    splits/<site>.json                         who is in train, val and test; stays here
    checkpoints/task_1/last.ckpt               the leg's model (task_1_lap2/: of its second lap)
    checkpoints/task_1/handover/                  what the leg hands over, before it is signed and sealed
    checkpoints/task_1/leg.json  scores.csv    the leg's record (its config, its state) and its test scores
    checkpoints/task_1/data.json               digests of the images and masks that it used; stays here
    handoff/                                   in a simulation: keys to throw away, ledgers, and the stick
    results/                                   what people look at
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
"""What ``leg.json`` must say, and of what type; the digests of its files stand there once a leg is finished."""


@dataclass(frozen=True)
class LegPaths:
    """The folder of one leg."""

    root: Path

    @property
    def checkpoint(self) -> Path:
        """The finished leg's model, for this machine only."""
        return self.root / "last.ckpt"

    @property
    def handover(self) -> Path:
        """What is handed over."""
        return self.root / "handover"

    @property
    def scores(self) -> Path:
        """The leg's test scores, one row a sample and class."""
        return self.root / "scores.csv"

    @property
    def files(self) -> Path:
        """Digests of the files that the leg is trained and tested on; stays here."""
        return self.root / "data.json"

    def rows(self) -> list[dict[str, Any]]:
        """What :attr:`scores` says.

        Raises:
            DataError: the file is lost or damaged.
        """
        try:
            rows = read_rows(self.scores)
            if not rows or any(row["leg"] is None for row in rows):
                raise DataError(f"{self.scores} is damaged: it has no scores of a leg")
        except DataError as error:
            raise DataError(str(error), self.again) from error
        self.check_whole(self.scores)
        return rows

    @property
    def again(self) -> str:
        """What to do where a file of the leg is damaged."""
        return f"Remove {self.root} to train this leg again."

    def check_whole(self, path: Path) -> None:
        """Whether a file of the finished leg is as it was written.

        Raises:
            UserError: it is damaged.
        """
        said = self.record().get("sha256", {}).get(path.name)
        if said is not None and measure(path).sha256 != said:
            raise damaged(path, "it is not what this leg wrote", self.again)

    def phase(self, number: int, name: str) -> Path:
        """The state of an unfinished phase, and of a finished one until the leg ends."""
        return self.root / f"phase_{number}_{name}.ckpt"

    def record(self) -> dict[str, Any]:
        """``leg.json``; empty where the leg has not begun.

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
                raise damaged(path, f"'{key}' is not there, or is something else than it must be", self.again)
        return record

    def write_record(self, **record: Any) -> None:
        """Replace ``leg.json``."""
        write_text(self.root / "leg.json", json.dumps(record, indent=1, default=str) + "\n")

    def check(self, config: Mapping[str, Any], start: str | None = NOT_KNOWN) -> None:
        """Refuse to go on with a leg that was begun otherwise; reads only. One of which no state was saved yet is
        as good as new.

        Args:
            config: the leg's scientific config, flat.
            start: digest of the handover it starts from, None for none; left out where that is not known yet.

        Raises:
            ChangedConfigError: it was begun with another config or from another handover.
        """
        record = self.record()
        if not record or not self.begun:
            return
        old, new = record["config"], json.loads(json.dumps(dict(config), default=str))
        changed = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
        said = [f"{k}: {old.get(k)!r} then, {new.get(k)!r} now" for k in changed]
        if start not in (NOT_KNOWN, record["start"]):
            said.append("the handover it starts from is another one")
        if said:
            raise ChangedConfigError(
                f"{self.root} was {record['state']} with other settings:\n" + "\n".join(f"  - {s}" for s in said),
                f"Use a new note (-n), or remove {self.root} and those of the legs after it to train them again.",
            )

    @property
    def finished(self) -> bool:
        """Whether the leg has been run to its end."""
        return bool(self.record().get("state") == "finished")

    @property
    def begun(self) -> bool:
        """Whether it is finished, or a state of it was saved."""
        return self.finished or any(self.root.glob("phase_*.ckpt"))


@dataclass(frozen=True)
class RunPaths:
    """The folder of one run."""

    root: Path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training in this folder meanwhile.

        Raises:
            UserError: another one is at it.
        """
        with locked(self.root / ".lock", str(self.root), "For another run at the same time: a note of its own (-n)."):
            yield

    def leg(self, folder: str) -> LegPaths:
        """The folder of the leg that saves as ``folder``."""
        return LegPaths(self.root / "checkpoints" / folder)

    def curves(self, folder: str) -> Path:
        """What TensorBoard shows of the leg that saves as ``folder``."""
        return self.root / "tensorboard" / folder

    def split(self, site: str) -> Path:
        """Who is in train, val and test of a site, as first dealt out."""
        return self.root / "splits" / f"{site}.json"
