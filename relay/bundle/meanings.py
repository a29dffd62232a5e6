"""What each entry of a bundle is, in plain words: for the person who approves what leaves."""

from __future__ import annotations

from relay.bundle import manifest

OWN = {
    manifest.STATEMENT: "what this site signs: who made the leg, from what, for whom, and its scores",
    manifest.MANIFEST: "the digest of every file",
    manifest.MODEL_CARD: "the model card, for people: the net, the sites, their scores, known limits",
    manifest.HANDOVER: "the net and the kind of images it reads",
    manifest.CONFIG: "the settings of the training, without paths and file names",
    manifest.DATA_CARD: "counts of images and patients, no names",
    manifest.RESULTS: "mean scores by class and test set; no image and no patient is named",
    manifest.card_of(manifest.MEMORY): "what the memory is: its kind, and how private it is",
    manifest.MEMORY: "what is remembered of this site's images, for later legs; its card says how",
    manifest.card_of(manifest.CUMULATIVE): "what the memory of all legs is: its kind, and how private it is",
    manifest.CUMULATIVE: "what is remembered of the images of all sites so far",
    manifest.EXPERT: "the weights of the model that is best at this site",
    manifest.MODEL: "the weights of the model",
}


def meaning(entry: str) -> str:
    """What an entry is; those of earlier legs say whose they are."""
    folder, _, name = entry.partition("/")
    if folder == "rosters":
        return f"roster {int(name[:4])} of the study: the sites, their keys and the policy"
    if folder == "chain":
        leg, _, name = name.partition("/")
        return f"of leg {int(leg)}, as received: {OWN[name].replace('this site', 'its site')}"
    return OWN[entry]
