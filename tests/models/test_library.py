"""Models in a folder: what each says, whether it can be trusted, where it comes from; damaged and hostile ones, too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import save_file

from relay.bundle import manifest, measure
from relay.config import flat, parse
from relay.errors import UserError
from relay.models import Entry, Place, entries_of, library, recovered
from relay.models.about import of_folder
from relay.models.finding import located, search
from relay.models.lineage import Link, relation, shared
from relay.models.weights import weights_of
from relay.results import write_rows
from relay.trust import canonical, keys
from tests.relays import At, World, weights


def place(world: World, site: str, locked: bool = False) -> Place:
    unlock = None if locked else lambda: keys.load(world.folder / site, None)
    return Place(world.folder / site, unlock, lambda: world.now)


def listed(world: World, site: str, *folders: Path) -> dict[str, Entry]:
    """By the name of file or folder."""
    found = library(folders or [world.stick], place(world, site))
    return {entry.path.name: entry for entry in found.entries}


def test_a_stick_is_listed_as_far_as_this_site_may_see_it(at: At) -> None:
    world = at(3)
    found = listed(world, "south")
    first, third, closed = found.values()
    assert [entry.trust.level for entry in found.values()] == ["verified", "verified", "not opened"]
    about = third.told
    assert (about.study, about.leg, about.site, about.net) == ("vessels", 3, "east", "U-Net")
    assert (about.task, about.date[:10], about.score_name) == ("segmentation", "2026-03-02", "mean Dice")
    assert [(link.leg, link.site) for link in about.lineage] == [(1, "north"), (2, "south"), (3, "east")]
    assert about.lineage[0] == first.told.link
    assert closed.path == world.bundle(2)
    assert "not to this site's key" in closed.trust.why
    with pytest.raises(UserError, match="can't be used") as caught:
        _ = closed.told
    assert "--home" in caught.value.advice()


def test_a_config_is_recovered_from_a_bundle(at: At) -> None:
    world = at(1)
    about = listed(world, "south")[world.bundle(1).name].told
    text = recovered(about, "stick\ncommon: {random_seed: 5}")
    found = parse(text, "recovered.yaml")
    assert found["common"]["model"] == {"name": "U-Net", "kwargs": _without(about.head.model.kwargs)}
    assert found["common"]["dataset"]["kwargs"]["class_names"] == list(about.head.data.classes)
    assert found["current_tasks"] == {"task_ids": [1]}
    trained = {key: value for key, value in about.config.items() if key.startswith(("train.", "strategy."))}
    assert trained.items() <= flat(found["common"]).items()


def _without(kwargs: dict[str, object]) -> dict[str, object]:
    """Without what the data say."""
    return {key: value for key, value in kwargs.items() if key not in ("in_channels", "num_classes")}


def test_without_keys_a_sealed_bundle_stays_closed_and_says_so(at: At) -> None:
    world = at(1)
    (entry,) = library([world.stick], place(world, "south", locked=True)).entries
    assert (entry.trust.level, entry.about) == ("not opened", None)
    assert "opening it needs a site's keys" in entry.trust.why


def test_what_was_received_and_signed_here_is_checked_against_the_ledger(at: At) -> None:
    world = at(3)
    world.stores["south"].forget_weights(1)
    found = library([world.folder / "south" / "studies"], place(world, "south")).entries
    assert [(e.path.parent.name, e.trust.level) for e in found] == [("received", "verified"), ("signed", "verified")]
    assert not (found[0].path / manifest.MODEL).exists()  # removed once the next leg was signed; that is no damage
    elsewhere = library([world.folder / "south" / "studies"], place(world, "east")).entries
    assert {entry.trust.level for entry in elsewhere} == {"not verified"}
    (found[1].path / manifest.MODEL).write_bytes(b"other")
    damaged = library([world.folder / "south" / "studies"], place(world, "south")).entries[1]
    assert damaged.trust.level == "damaged"
    assert "is not what was signed" in damaged.trust.why


def test_a_score_on_arrival_counts_as_one_at_the_next_site(at: At) -> None:
    world = at(3)
    found = library([world.stick], place(world, "south"))
    by_leg = {entry.told.leg: found.scores(entry) for entry in found.entries if entry.about}
    assert by_leg[1] == {"north": 0.71, "outside": None, "south": 0.5}
    assert by_leg[3] == {"east": 0.73, "outside": None}
    with world.forged(3, signer="north", to=[], name="vessels.leg-3.z") as parts:
        parts.claim["strategy"] = "better"
    (world.stick / "vessels.leg-3.east.relay.age").unlink()
    forged = library([world.stick], place(world, "south"))  # what isn't verified says nothing about other models
    assert [e.trust.level for e in forged.entries] == ["verified", "not verified", "not opened"]
    assert forged.scores(forged.entries[0]) == {"north": 0.71, "outside": None}
    assert forged.scores(forged.entries[2]) == {}


def test_a_stranger_reads_and_trusts_nothing(at: At) -> None:
    world = at(1)
    with world.forged(1, to=[]):
        pass
    stranger = Place(world.folder / "nobody", None, lambda: world.now)
    entry = entries_of([world.stick / "forged.relay"], stranger)[0]
    assert entry.trust.level == "not verified"
    assert "there is no one to trust" in entry.trust.why
    assert entry.told.site == "north"


@pytest.mark.parametrize(
    ("spoil", "level", "says"),
    [
        (lambda data: data[:900], "damaged", "ends early"),
        (lambda data: b"", "damaged", "ends early"),
        (lambda data: b"\0" * 5000, "damaged", "neither a sealed nor an unsealed bundle"),
        (lambda data: data[:-40] + b"x" * 40, "damaged", ""),
    ],
)
def test_a_damaged_bundle_is_listed_as_such(at: At, spoil: object, level: str, says: str) -> None:
    world = at(1)
    path = world.bundle(1)
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    (entry,) = listed(world, "south").values()
    assert (entry.trust.level, entry.about) == (level, None), entry.trust
    assert says in entry.trust.why


def test_a_forged_bundle_says_what_it_likes_but_is_not_verified(at: At) -> None:
    world = at(1)
    with world.forged(1, signer="east") as parts:
        parts.files["MODEL_CARD.md"] = b"\x1b[2J<script>alert(1)</script>"
    entry = entries_of([parts.bundle], place(world, "south"))[0]
    assert entry.trust.level == "not verified"
    assert "UnknownKey" in entry.trust.why
    with world.forged(1, signer="north", name="hostile") as parts:
        head = parts.json("handover.json")
        head["data"]["classes"] = ["background", "\x1b[2Jvessel"]
        parts.put("handover.json", head)
    entry = entries_of([parts.bundle], place(world, "south"))[0]
    assert (entry.trust.level, entry.about) == ("damaged", None)
    assert entry.trust.why.isprintable()


def test_runs_are_found_and_their_lineage_goes_back_to_what_was_received(at: At) -> None:
    world = at(3)
    run = world.folder / "exps" / "fundus" / "first"
    for leg, site in ((1, "north"), (2, "south")):
        shutil.copytree(world.folder / site / f"handover_{leg}", run / "checkpoints" / f"task_{leg}" / "handover")
    (run / "handoff" / "stick").mkdir(parents=True)
    shutil.copy(world.bundle(1), run / "handoff" / "stick")  # the same models again, which are passed over
    (run / "checkpoints" / "task_1" / "last.ckpt").touch()
    entries = library([world.folder / "exps"], place(world, "east")).entries
    assert [(e.told.study, e.told.leg, e.trust.level) for e in entries] == [
        ("fundus/first", 1, "unsigned"),
        ("fundus/first", 2, "unsigned"),
    ]
    first, second = (entry.told for entry in entries)
    assert second.lineage == (*first.lineage, second.link)
    assert relation(first.lineage, second.lineage).startswith("B descends from A, which is leg 1 by north")
    assert located(run / "checkpoints" / "task_1" / "last.ckpt") == located(run / "checkpoints" / "task_1")
    shutil.rmtree(run / "checkpoints" / "task_1")
    (alone,) = entries_of([run / "checkpoints" / "task_2"], place(world, "south"))  # it has received leg 1
    assert alone.told.lineage == second.lineage
    (stranger,) = entries_of([run / "checkpoints" / "task_2"], place(world, "nobody"))
    assert [(link.id, link.leg) for link in stranger.told.lineage] == [(first.link.id, None), (second.link.id, 2)]


def test_a_model_that_was_adopted_descends_from_the_handover_it_came_from(at: At) -> None:
    world = at(1)
    run = world.folder / "exps" / "a" / "b"
    shutil.copytree(world.folder / "north" / "handover_1", run / "checkpoints" / "task_1" / "handover")
    folder = run / "adopted" / "north"
    folder.mkdir(parents=True)
    save_file(weights(2), folder / "tuned.safetensors")
    row = {"study": "a", "strategy": "relay", "leg": 1, "trained": "north", "model": "adopted", "site": "north"}
    row |= {"patient": "p", "sample": "s", "metric": "dice"}
    write_rows(folder / "scores.csv", [{**row, "class": c, "value": v} for c, v in (("background", 0.9), ("cup", 0.8))])
    (first,) = library([run / "checkpoints"], place(world, "south")).entries
    record = {"site": "north", "model": "tuned", "why": "", "from": "", "handover": first.told.link.id}
    sums = {name: measure(folder / name).sha256 for name in ("tuned.safetensors", "scores.csv")}
    (folder / "adopted.json").write_text(json.dumps(record | {"sha256": sums, "candidates": {"tuned": {}}}))
    adopted = library([run], place(world, "south")).entries[1]
    assert (adopted.path, adopted.trust.level, adopted.told.scores) == (folder, "unsigned", {"north": 0.8})
    assert adopted.told.lineage == (first.told.link, adopted.told.link)
    assert adopted.told.link.text.startswith("a model of north (")
    assert located(folder / "tuned.safetensors") == located(folder)
    assert weights_of(adopted, place(world, "south")).keys() == weights(2).keys()
    save_file(weights(3), folder / "tuned.safetensors")
    damaged = library([folder], place(world, "south")).entries[0]
    assert (damaged.trust.level, damaged.about) == ("damaged", None)
    assert "is not what relay adopt wrote" in damaged.trust.why


def test_a_run_that_names_itself_as_its_start_ends_its_lineage(at: At) -> None:
    folder = shutil.copytree(at(1).folder / "north" / "handover_1", at(1).folder / "exps" / "handover")
    (folder / "digests.json").unlink()
    facts = json.loads((folder / "facts.json").read_text())
    (entry,) = entries_of([folder], Place(folder / "nobody"))
    facts["start"] = entry.told.link.id
    (folder / "facts.json").write_text(json.dumps(facts, separators=(",", ":"), sort_keys=True))
    (entry,) = entries_of([folder], Place(folder / "nobody"))
    assert len(entry.told.lineage) == 1


def test_a_damaged_run_is_listed_as_such(at: At) -> None:
    world = at(1)
    folder = world.folder / "north" / "handover_1"
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    for name in ("facts.json", "handover.json", "config.json", "results.json", manifest.MODEL, "digests.json"):
        (folder / name).write_bytes(b"{}")
        (entry,) = library([folder], place(world, "south")).entries
        assert entry.trust.level == "damaged", name
        assert name in entry.trust.why
        for path, data in whole.items():
            path.write_bytes(data)
    (folder / manifest.MODEL).unlink()
    assert library([folder], place(world, "south")).entries[0].trust.level == "damaged"


def test_only_what_says_it_was_made_here_is_taken_for_a_model(tmp_path: Path) -> None:
    save_file(weights(1), tmp_path / "other.safetensors")
    save_file(weights(1), tmp_path / "lying.safetensors", {"relay.model": "{}"})
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 50)
    (tmp_path / "leg-1.relay.txt").write_text("no bundle")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    found = library([tmp_path], Place(tmp_path / "nobody")).entries
    assert [(entry.path.name, entry.trust.level) for entry in found] == [
        ("broken.safetensors", "damaged"),
        ("lying.safetensors", "damaged"),
    ]
    with pytest.raises(UserError, match="was not made with relay models"):
        located(tmp_path / "other.safetensors")


def test_a_path_must_lead_to_one_model(at: At) -> None:
    world = at(3)
    with pytest.raises(UserError, match=r"has 3 models; which one\?") as caught:
        located(world.stick)
    assert str(world.bundle(1)) in str(caught.value)
    (world.folder / "empty").mkdir()
    with pytest.raises(UserError, match="there is no model in"):
        located(world.folder / "empty")
    with pytest.raises(UserError, match="there is no folder"):
        search([world.folder / "nowhere"])
    with pytest.raises(UserError, match="there is no bundle"):
        entries_of([world.folder / "nowhere"], place(world, "south"))
    twice = search([world.stick, world.folder / "stick"]).models
    assert len(twice) == 3


def test_lineages_meet_by_their_digests() -> None:
    def link(name: str, model: str | None = None) -> Link:
        return Link(id=name * 64, model=model and model * 64, leg=1, site="north")

    root, a, b = link("0"), link("a", "d"), link("b")
    assert (
        relation((root, a), (root, b)) == "A and B are of one lineage: both descend from leg 1 by north (000000000000)."
    )
    assert relation((root, a), (root,)).startswith("A descends from B")
    assert relation((root, a), (root, link("c", "d"))) == "A and B are the same model."  # its expert does not travel
    assert "not of one lineage" in relation((a,), (b,))
    assert shared((root, a), (a, b)) == (a,)


def test_the_card_says_what_an_audit_found(at: At) -> None:
    folder = at(2).stores["south"].signed(2)
    assert "None: whether its model, expert and memories tell" in str(of_folder(folder).card)
    audit = {"members": 16, "others": 8, "shadows": 4, "strength": 1.0, "attacks": [], "copies": [], "measurable": True}
    audit |= {"detectable": 0.8, "p": 0.7, "epsilon": None, "delta": None}
    path = folder / manifest.DATA_CARD
    path.write_bytes(canonical({**json.loads(path.read_text()), "privacy_audit": audit}))
    text = str(of_folder(folder).card)
    assert "Passed: no attack does clearly better than a coin" in text
    assert "whether its model, expert and memories tell" not in text
