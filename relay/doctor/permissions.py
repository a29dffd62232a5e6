"""Who can read this site's keys, and write to its home."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from relay.bundle import FAT, file_system
from relay.doctor.finding import Finding, fault, ok, warning
from relay.errors import typed
from relay.home import command
from relay.trust import keys

ICACLS = "icacls {home} /inheritance:r /grant:r %USERNAME%:(OI)(CI)F"
"""Windows: give a folder to its user alone."""
PASSPHRASES = ("RELAY_PASSPHRASE", "RELAY_PASSPHRASE_FILE")


def check_permissions(home: Path) -> Iterator[Finding]:
    """The home and the secret files in it, and where the passphrase comes from."""
    if not home.is_dir():
        yield ok("keys", "none yet in {home}", home=home)
        return
    if sys.platform == "win32":
        yield warning(
            "permissions",
            "Windows keeps them in access lists, which relay does not read",
            f"Let only your user open the folder of the keys: {ICACLS}. Check it with: icacls {{home}}",
            home=home,
        )
    else:
        yield from _modes(home) or [ok("permissions", "only you can open {home} and the keys in it", home=home)]
    yield from _keys(home)
    yield from _passphrase()


def _modes(home: Path) -> list[Finding]:
    """What others can do with the home and its secret files, by their POSIX modes."""
    secrets = [path for path in (home / keys.SEALED, home / keys.PLAIN) if path.exists()]
    found = [finding for path in (home, *secrets) if (finding := _mode(path))]
    if found and (kind := file_system(home)) in (*FAT, "exfat", "ntfs", "ntfs3", "fuseblk"):
        cure = "Move it to a folder on a disk of this computer, and name that with --home or RELAY_HOME."
        return [
            fault(
                "permissions", f"{{home}} is on {kind}, which keeps no permissions: others can read it", cure, home=home
            )
        ]
    return found


def _mode(path: Path) -> Finding | None:
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    wanted = "700" if path.is_dir() else "600"
    if hasattr(os, "geteuid") and found.st_uid not in (os.geteuid(), 0):
        return fault(
            "permissions",
            "{path} belongs to another user of this computer",
            "Log in as that user, or let an administrator give it to you: {chown}",
            path=path,
            chown=typed("chown", "-R", os.geteuid(), path),
        )
    if not mode & 0o077:
        return None
    can = "change" if mode & 0o022 else "read"
    return fault(
        "permissions",
        f"others can {can} {{path}} (mode {mode:o})",
        "Check whether anything was changed there. Then run: {chmod}" if mode & 0o022 else "Run: {chmod}",
        path=path,
        chmod=typed("chmod", wanted, path),
    )


def _keys(home: Path) -> Iterator[Finding]:
    sealed, plain, public = (home / name for name in (keys.SEALED, keys.PLAIN, keys.PUBLIC))
    if sealed.exists() and public.exists():
        yield ok("keys", "there, under a passphrase")
    elif plain.exists() and public.exists():
        yield warning(
            "keys",
            "there, but without a passphrase, as in a simulation: whoever copies {path} can sign as this site",
            "For a deployed study, make keys with a passphrase: {command}",
            path=plain,
            command=command(home, "keys", "new", "--replace", "--name", "NAME"),
        )
    elif sealed.exists() or plain.exists() or public.exists():
        gone = keys.PUBLIC if not public.exists() else keys.SEALED
        yield fault("keys", f"{gone} is missing", "Restore it from a backup of {home}.", home=home)
    else:
        yield ok("keys", "none yet in {home}", home=home)


def _passphrase() -> Iterator[Finding]:
    given, named = (os.environ.get(name) for name in PASSPHRASES)
    if given:
        yield warning(
            "passphrase",
            f"it is in the environment variable {PASSPHRASES[0]}, which your other programs can read",
            f"Put it in a file that only you can read, and name that in {PASSPHRASES[1]}. Then: unset {PASSPHRASES[0]}",
        )
    elif named and sys.platform != "win32":
        path = Path(named).expanduser()
        if not path.is_file():
            yield fault(
                "passphrase",
                f"there is no file {{path}}, which {PASSPHRASES[1]} names",
                f"Correct the path, or: unset {PASSPHRASES[1]}",
                path=path,
            )
        elif found := _mode(path):
            yield found
