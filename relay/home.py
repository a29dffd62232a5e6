"""A site's own folder, and commands that are printed to be typed there."""

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
    """``relay WORDS`` as it is typed for this home, and for one of its studies: pasted as it stands, it means the same
    folder again."""
    of_study = ["-s", study] if study else []
    at_home = ["--home", home] if home != home_of(None) else []
    return typed("relay", *words, *of_study, *at_home)
