"""A site's own folder, and commands printed for people to type there."""

from __future__ import annotations

import os
from pathlib import Path

from relay.errors import typed
from relay.files import expanded

HOME = "RELAY_HOME"


def home_of(given: str | Path | None) -> Path:
    """A site's own folder: as given, else ``$RELAY_HOME``, else ``~/.relay``."""
    return expanded(given or os.environ.get(HOME) or "~/.relay")


def command(home: Path, *words: object, study: str | None = None) -> str:
    """``relay WORDS`` as you would type it for this home, or for one of its studies: pasted unchanged, it refers to the
    same folder."""
    of_study = ["-s", study] if study else []
    at_home = ["--home", home] if home != home_of(None) else []
    return typed("relay", *words, *of_study, *at_home)
