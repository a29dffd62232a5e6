"""The data of each site of a run, and who is in which split of it."""

from __future__ import annotations

import json
from typing import Any

from relay.data import SplitName
from relay.data.problems import refuse
from relay.data.site import SiteData, prepare
from relay.data.splits import SPLITS
from relay.files import damaged, read_json, write_text
from relay.leg.place import RunPlace
from relay.leg.processes import is_first


class Sites:
    """The data of each site, looked up and decoded once for all legs of a run.

    Who is in which split is recorded, and may not change in the run once a state has been saved: an
    image that was trained on must never be tested on.
    """

    def __init__(self, seed: int, run: RunPlace) -> None:
        self._seed, self._run = seed, run
        self._made: dict[int, SiteData] = {}

    def __call__(self, dataset: Any, train: bool = False) -> SiteData:
        """A data set's site.

        Raises:
            DataError: a split that is needed (test; with ``train`` also train) is empty or not whole, or the
                data set, or what deals it out, is not what it was when the run recorded its split.
        """
        key = dataset.options.task_id
        if key not in self._made:
            splits: tuple[SplitName, ...] = ("train", "test") if train else ("test",)
            site = prepare(dataset, self._seed, self._run.root / "spool", splits=splits)
            self._check_split(site)
            self._made[key] = site
        return self._made[key]

    def _check_split(self, site: SiteData) -> None:
        path, now = self._run.split(site.dataset.options.task_name), site.split.to_json()
        begun = any(self._run.root.glob("checkpoints/*/*.ckpt"))  # before that, images may still be mended or removed
        if not (begun and path.is_file()):
            if is_first():
                write_text(path, json.dumps(now, indent=1) + "\n")
            return
        again = f"Remove {path}: it is written again, the same as before if images, seed and options are."
        then = read_json(path, again)
        for name in SPLITS:
            if not isinstance(then.get(name), list) or not all(isinstance(sample, str) for sample in then[name]):
                raise damaged(path, f"'{name}' is no list of samples", again)
        moved = sorted({name for part in now for name in set(now[part]) ^ set(then.get(part, []))})
        refuse(
            moved,
            f"{site.dataset}: images that are new, gone or in another split than {path} says",
            "Restore the data set and the options that deal it out (seed, fractions, regular expressions), or use a "
            "new note (-n).",
        )
