"""Names for files and folders: plain ones that mean the same on every system."""

from __future__ import annotations

MAX_LENGTH = 100
"""Maximum length of a name in UTF-8 bytes: some systems allow 255, including everything appended to it."""
FORBIDDEN = '/\\:*?"<>|'
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")}
"""Reserved device names on Windows, with any extension."""


SITE_NAME = r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,38}[A-Za-z0-9_-])?$"
"""A site's: its ``task_name`` in a config, its name in a roster."""
WORDS = r"^[A-Za-z0-9_.:+/() -]{1,100}$"
"""A word or two that other sites read, in a table of the model card, too."""


def fault(name: str) -> str | None:
    """Why ``name`` can't name a file or folder here; None if it can."""
    if not name or not name.strip():
        return "is empty"
    if bad := [c for c in name if c in FORBIDDEN or not c.isprintable()]:
        return f"has {bad[0]!a}, which folder names can't contain"
    if name[0] in ".-" or name[0].isspace():
        return f"begins with {name[0]!a}"
    if name[-1] == "." or name[-1].isspace():
        return f"ends with {name[-1]!a}"
    if name.split(".")[0].strip().lower() in RESERVED:
        return "is the name of a device on Windows"
    if len(name.encode()) > MAX_LENGTH:
        return f"has more than {MAX_LENGTH} bytes"
    return None


def plain_name(name: str) -> str:
    """``name``, unchanged.

    Raises:
        ValueError: it can't name a file or folder.
    """
    if why := fault(name):
        raise ValueError(f"must be a plain name: it {why}")
    return name
