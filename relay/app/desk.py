"""What the pages share: the site's home, the folders that may be opened, where commands run, and their jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from relay.app.jobs import Job, Jobs
from relay.app.roots import Roots


@dataclass(frozen=True)
class Desk:
    """One site's page.

    Attributes:
        home: the site's own folder, with its keys and studies.
        cwd: where commands run: it has ``configs/`` and ``exps/``.
        roots: the folders that may be opened.
        config: the config that the page was started with, as for ``-c``; None for none.
    """

    home: Path
    cwd: Path
    roots: Roots
    config: str | None = None

    @cached_property
    def jobs(self) -> Jobs:
        """The jobs of this home."""
        return Jobs(self.home / "page" / "jobs", self.home)

    @property
    def has_keys(self) -> bool:
        """Whether this site's keys were made."""
        return (self.home / "identity.json").is_file()

    def run(self, words: Sequence[str], title: str, passphrase: str | None = None, light: bool = False) -> Job:
        """Queue a command.

        Args:
            words: the words after ``relay``; never a passphrase.
            title: what it does, in a few words.
            light: it is quick, and need not wait for a running training.
        """
        return self.jobs.start(words, title, self.cwd, passphrase, light)

    @property
    def exps(self) -> Path:
        """Where runs are."""
        return self.cwd / "exps"
