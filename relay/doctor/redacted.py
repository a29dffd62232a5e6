"""A report that can be sent to someone who helps: every finding, but no path, no name and no host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import relay
from relay.doctor.finding import Finding
from relay.files import read_bytes, write_text

BEGIN = "relay doctor, version "
HEAD = """{begin}{version}
Paths, names and messages that may quote them are left out. A word in brackets stands for what was left out: [path],
[home] and [folder] for paths; [offset] for a time zone, which tells a country; [error: why] for a message, with its
kind. Read this before you send it.
"""


def text_of(findings: Sequence[Finding]) -> str:
    """The report, in plain text."""
    lines = [HEAD.format(begin=BEGIN, version=relay.__version__)]
    for found in findings:
        lines.append(f"{found.level:<8} {found.subject}: {found.redacted(found.text)}")
        if found.cure:
            lines.append(f"{'':<8} what to do: {found.redacted(found.cure)}")
    return "\n".join(lines) + "\n"


def is_report(file: Path) -> bool:
    """Whether a file is such a report, which a new one may replace."""
    return file.is_file() and read_bytes(file).startswith(BEGIN.encode())


def write_report(findings: Sequence[Finding], file: Path) -> None:
    """Write the report to a file.

    Raises:
        OSError: it can't be written.
    """
    write_text(file, text_of(findings))
