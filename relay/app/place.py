"""What a page is about: a config, a run of it, and a site whose masks are corrected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.app.configs import choices
from relay.app.desk import Desk
from relay.config import fault, locate
from relay.correct import Target
from relay.errors import UserError, shown
from relay.plan import Study, read_config


@dataclass(frozen=True)
class Place:
    """A config, a run of it and a site, as a request names them; checked.

    Attributes:
        config, note: as for ``-c`` and ``-n``.
        root: the folder of the run.
    """

    config: str
    note: str
    study: Study
    root: Path
    target: Target

    @classmethod
    def of(cls, desk: Desk, given: Any) -> Place:
        """From the fields ``config``, ``note`` and ``site``.

        Raises:
            UserError: one is wrong, or the config is outside the folders that may be opened.
        """
        config, note = str(given.get("config") or ""), str(given.get("note") or "run")
        if why := fault(note):
            raise UserError(f"the name of the run {why}: {shown(note)}", "Give a plain name, for example: run")
        path, name = locate(config)
        if config not in choices(desk):
            desk.roots.inside(path, desk.cwd)
        study = read_config(path, name).plan(train=False)
        root = desk.exps / name / note
        return cls(config, note, study, root, Target.of(study, root.parent, str(given.get("site") or "") or None))

    @property
    def words(self) -> list[str]:
        """The options of the commands for it."""
        return ["-c", self.config, "-n", self.note, "--site", self.target.leg.task_name]

    @property
    def query(self) -> dict[str, str]:
        """The fields of a request for it."""
        return {"config": self.config, "note": self.note, "site": self.target.leg.task_name}
