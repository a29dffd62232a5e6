"""What each entry of a bundle is, in plain words: for the person who approves what leaves, and for those who ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from relay.bundle import manifest

OWN = {
    manifest.SHARE: "only in a copy for a hospital outside the study: who gives it to whom, and until when",
    manifest.STATEMENT: "what this site signs: who made the leg, from what, for whom, how many training images it "
    "had, and its scores",
    manifest.MANIFEST: "the digest of every other file but the statement and the share",
    manifest.MODEL_CARD: "the model card, for people: the net, the sites, their scores, known limits",
    manifest.HANDOVER: "the net and the kind of images it reads",
    manifest.CONFIG: "the settings of the training, without paths and file names",
    manifest.DATA_CARD: "counts of images and patients, no names; the guarantee of the training and what an audit "
    "found, if there are any",
    manifest.RESULTS: "mean scores by class and test set, without names; over one patient, the mean is that "
    "patient's result",
    manifest.card_of(manifest.MEMORY): "what the memory is: its kind, and how private it is",
    manifest.MEMORY: "what is remembered of this site's images, for later legs; its card says how",
    manifest.card_of(manifest.CUMULATIVE): "what the memory of all legs is: its kind, and how private it is",
    manifest.CUMULATIVE: "what is remembered of the images of all sites so far",
    manifest.EXPERT: "the weights of the model that is best at this site",
    manifest.MODEL: "the weights of the model",
}
SHORT = {
    manifest.SHARE: "share",
    manifest.STATEMENT: "statement",
    manifest.MANIFEST: "manifest",
    manifest.MODEL_CARD: "model card",
    manifest.HANDOVER: "description of the net",
    manifest.CONFIG: "settings",
    manifest.DATA_CARD: "data card",
    manifest.RESULTS: "results",
    manifest.card_of(manifest.MEMORY): "card of the memory",
    manifest.MEMORY: "memory",
    manifest.card_of(manifest.CUMULATIVE): "card of the memory of all legs",
    manifest.CUMULATIVE: "memory of all legs",
    manifest.EXPERT: "expert",
    manifest.MODEL: "model",
}
"""What a file is called in a list."""


def meaning(entry: str) -> str:
    """What an entry is; those of earlier legs say whose they are."""
    folder, _, name = entry.partition("/")
    if folder == "rosters":
        return _roster(f"roster {int(name[:4])}")
    if folder == "chain":
        leg, _, name = name.partition("/")
        return _earlier(f"leg {int(leg)}", name)
    return OWN[entry]


def listed() -> Iterator[tuple[str, str]]:
    """Every entry that a bundle can hold, in its order, with what it is. ``NNNN`` is a roster's version, or the number
    of an earlier leg: a bundle has these entries once for each."""
    everything = manifest.Layout(
        rosters=[1], legs=1, memory=True, cumulative=True, remembered=[1], expert=True, experts=[1], share=True
    )
    for entry in everything.names():
        folder, _, name = entry.partition("/")
        if folder == "rosters":
            yield entry.replace("0001", "NNNN"), _roster("a roster")
        elif folder == "chain":
            yield entry.replace("0001", "NNNN"), _earlier("an earlier leg", name.partition("/")[2])
        else:
            yield entry, OWN[entry]


def _roster(which: str) -> str:
    return f"{which} of the study: the sites, their keys and the policy"


def _earlier(leg: str, name: str) -> str:
    return f"of {leg}, as received: {OWN[name].replace('this site', 'its site')}"


def in_short(entries: Iterable[str]) -> str:
    """Entries as a list for people: this leg's own, the rosters, and those of each earlier leg."""
    groups: dict[str, list[str]] = {"": []}
    for entry in entries:
        folder, _, name = entry.partition("/")
        if folder == "rosters":
            groups[""].append(f"roster {int(name[:4])}")
        elif folder == "chain":
            leg, _, name = name.partition("/")
            groups.setdefault(f"of leg {int(leg)}: ", []).append(SHORT.get(name, name))
        else:
            groups[""].append(SHORT.get(entry, entry))
    return "; ".join(f"{of}{', '.join(names)}" for of, names in groups.items() if names)
