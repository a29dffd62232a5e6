"""A config as somebody wrote it: read, and planned with every problem at its path in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.config import Reading
from relay.errors import ConfigError, Problem

if TYPE_CHECKING:
    from relay.plan.legs import Study


@dataclass(frozen=True)
class Config:
    """A config as read, its short name, which names the folder of its results, and where it was read from.

    Attributes:
        text: what was read in the place of the file; None for the file.
    """

    reading: Reading
    name: str
    path: Path | None = None
    overrides: Sequence[str] = ()
    text: str | None = None

    def plan(self, extra: Sequence[Problem] = (), blocks: Mapping[str, Any] | None = None, train: bool = True) -> Study:
        """The checked study; for the arguments see :func:`relay.plan.plan`.

        Args:
            blocks: the config's blocks with changes; None to use them as they are.

        Raises:
            ConfigError: it lists every problem, with its path in the user's own file.
        """
        from relay.config import with_files
        from relay.plan.planner import plan

        read = self.reading
        try:
            return plan(read.config if blocks is None else blocks, self.name, [*extra, *read.problems], train=train)
        except ConfigError as error:
            problems = [read.in_file(problem) for problem in error.problems]
            problems = with_files(problems, self.path, self.overrides, self.text) if self.path else problems
            raise ConfigError(problems, self.name) from error


def read_config(path: Path, name: str, overrides: Sequence[str] = (), text: str | None = None) -> Config:
    """A config from its file, translated if it was written for the published code.

    Args:
        name: its short name, as :func:`relay.config.locate` gives it.
        text: what to read in the place of the file, as it may be saved there; None for the file.

    Raises:
        ConfigError: it can't be read.
    """
    from relay.config import read, translate

    return Config(translate(read(path, overrides, text)), name, path, overrides, text)
