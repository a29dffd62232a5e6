"""The systems that a kit can be made for, and what differs between them. Nothing else in the room knows of systems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from relay.errors import UserError, nearest

OLDEST_GLIBC, NEWEST_GLIBC = 5, 28
"""Wheels for these minor versions of glibc 2 run on every Linux that PyTorch supports."""


@dataclass(frozen=True)
class Platform:
    """A system.

    Attributes:
        tags: its wheel platforms, as ``pip download --platform`` takes them.
        markers: what its Python says about itself in the environment markers of requirements (PEP 508).
    """

    name: str
    tags: tuple[str, ...]
    markers: Mapping[str, str]

    def environment(self, python: str) -> dict[str, str]:
        """All environment markers of CPython of a version (``3.11``) there."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{python}.9",
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_version": "",
            "python_full_version": f"{python}.9",
            "python_version": python,
            **self.markers,
        }


def _linux(machine: str) -> Platform:
    glibc = [f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)]
    older = [f"manylinux{year}_{machine}" for year in ("2014", "2010", "1")]
    words = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": machine}
    return Platform(f"linux_{machine}", (*glibc, *older, f"linux_{machine}"), words)


_MAC = {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"}
_WINDOWS = {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64"}
PLATFORMS = {
    made.name: made
    for made in (
        _linux("x86_64"),
        _linux("aarch64"),
        Platform("win_amd64", ("win_amd64",), _WINDOWS),
        Platform("macosx_arm64", ("macosx_14_0_arm64",), _MAC),  # pip adds the older versions
    )
}


def find(names: Iterable[str]) -> list[Platform]:
    """The systems of these names.

    Raises:
        UserError: there is no such one.
    """
    found = []
    for name in names:
        if name not in PLATFORMS:
            near = nearest(name, list(PLATFORMS))
            hint = f"; did you mean '{near}'?" if near else ""
            raise UserError(
                f"--platform {name}: must be one of {', '.join(PLATFORMS)}{hint}",
                "Several are separated by commas: --platform linux_x86_64,win_amd64",
            )
        found.append(PLATFORMS[name])
    return found
