"""The patient of each image, from a file's name or a table; names of patients and images are normalised.

A patient whose name is written in two ways would count as two, and could be in both training and test. So names are
cleaned on reading, names that mean "not known" are refused, and names that may belong to one person stay together.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from relay.data.problems import refuse
from relay.data.record import Record

MISSING: Final = frozenset(
    {
        "",
        "na",
        "n/a",
        "n.a.",
        "#n/a",
        "#na",
        "#nv",
        "#n/v",
        "<na>",
        "nan",
        "none",
        "null",
        "nil",
        "missing",
        "unknown",
        "unbekannt",
        "inconnu",
        "k.a.",
        "?",
        ".",
        "nat",
    }
)
"""What tables contain for a missing value, in lower case; a cell of only dashes means the same."""
PERSON: Final = frozenset({"patient", "patientid", "patientname", "patientnumber", "subject", "subjectid", "mrn"})
"""Columns that say whose image it is, without what may be between the words."""
ADVICE = "Give every image a patient, or remove it. All images of one patient must have the same patient name."


MINUS = "\N{MINUS SIGN}"


def clean(text: str) -> str:
    """A name as used for comparison: composed (NFC), trimmed, with single spaces and no invisible characters."""
    seen = "".join(c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c) != "Cf")
    return " ".join(seen.split())


@lru_cache(maxsize=1 << 17)  # splitting, grouping and checking each ask for every image
def alike(name: str) -> str:
    """A key that is equal for names that differ only in case, width or kind of dash (``P-1``, ``p–1``) or that are the
    same number (``7``, ``007``)."""
    folded = clean(unicodedata.normalize("NFKC", clean(name)).casefold())
    folded = "".join("-" if unicodedata.category(c) == "Pd" or c == MINUS else c for c in folded)
    number = re.fullmatch(r"0*(\d+)(\.0*)?", folded, re.ASCII)
    return number[1] if number else folded


def is_missing(name: str) -> bool:
    """Whether a name means a missing value, or is a spreadsheet error (``#REF!``, ``#WERT!``, ``#NAME?``)."""
    folded = clean(name).casefold()
    broken = folded.startswith("#") and folded.endswith(("!", "?"))
    return folded in MISSING or broken or not folded.strip("-–—−_")


def by_regex(pattern: str, stem: str) -> str | None:
    """The patient in a file's stem: the pattern's first group, or its whole match; None if it does not match."""
    match = re.search(unicodedata.normalize("NFC", pattern), clean(stem))
    if match is None:
        return None
    return match[1] if match.re.groups else match[0]


def named(samples: Iterable[Record], who: str) -> list[Record]:
    """Samples with their ids and patients :func:`clean`.

    Raises:
        DataError: images have no patient; the error lists them.
    """
    cleaned = [dataclasses.replace(s, id=clean(s.id), patient=clean(s.patient)) for s in samples]
    # if each image is its own patient, the patient has the name of the file
    unknown = [
        f"{s.image}: patient {s.patient!r}" for s in cleaned if is_missing(s.patient) and s.patient != (s.id or None)
    ]
    refuse(unknown, f"{who}: images without a known patient", ADVICE)
    return cleaned


def people(names: Iterable[str]) -> list[str]:
    """For each name, the first of those that are :func:`alike`, which may be one person's: to count patients, and to
    hide each of them."""
    names = list(names)
    first: dict[str, str] = {}
    for name in sorted(set(names)):
        first.setdefault(alike(name), name)
    return [first[alike(name)] for name in names]


def doubtful(names: Iterable[str]) -> list[list[str]]:
    """Different names that are :func:`alike`, in groups."""
    groups = defaultdict(set)
    for name in names:
        groups[alike(name)].add(name)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def of_person(columns: Iterable[str]) -> list[str]:
    """The columns that probably say whose image it is: to overlook one would put a patient into several splits."""
    return [name for name in columns if re.sub(r"[\W_]", "", alike(name)) in PERSON]
