"""The library of models from the command line: list, show, compare, diff, merge."""

from __future__ import annotations

import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from relay.exchange import sharing
from tests import relays
from tests.cli.typed import Done, typed
from tests.relays import World, weights


class Typed(World):
    """A world whose southern site types."""

    def models(self, *words: str | Path, **env: str) -> Done:
        return typed("models", *words, RELAY_HOME=str(self.folder / "south"), cwd=self.folder, **env)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three legs are done. Commands go by this computer's clock, and so must the world."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relays, "START", datetime.now(timezone.utc).replace(microsecond=0))
        world = Typed(tmp_path_factory.mktemp("made"))
        world.run(3, last=False)
        yield world


@pytest.fixture
def world(made: Typed, tmp_path: Path) -> Typed:
    twin = made.copy(tmp_path)
    twin.__class__ = Typed
    assert isinstance(twin, Typed)
    return twin


def test_a_stick_is_listed_with_scores_and_signatures(world: Typed) -> None:
    done = world.models("list", "stick", COLUMNS="140")
    assert done.code == 0, done.err
    for text in ("3 models", "│ vessels │ 1", "│ vessels │ 3", "not opened", "0.710", "0.500", "leg 3 by east"):
        assert text in done.out
    assert "verified: signed by its site" in done.out
    assert "trained from leg 2 by south (" in done.out
    assert f"{world.bundle(3)}" in done.out.replace("stick/", f"{world.stick}/")


def test_a_narrow_screen_and_many_sites_lose_no_score(world: Typed) -> None:
    done = world.models("list", "stick", COLUMNS="30")
    assert "    1  mean Dice: north 0.710, outside –, south 0.500" in done.out


def test_without_a_folder_runs_and_what_was_received_and_signed_are_listed(world: Typed) -> None:
    shutil.copytree(world.folder / "north" / "handover_1", world.folder / "exps/a/b/checkpoints/task_1/handover")
    done = world.models("list")
    assert "3 models" in done.out
    for text in ("a/b", "received here, and unchanged since", "signed here", "unsigned: the handover of a run"):
        assert text in done.out
    shutil.rmtree(world.folder / "exps")
    nothing = typed("models", "list", "--home", "none", cwd=world.folder)
    nothing.refused(2, "there is neither exps/ here nor a study in none", advice="Name a folder")


def test_an_empty_folder_and_a_missing_one(world: Typed) -> None:
    (world.folder / "empty").mkdir()
    done = world.models("list", "empty")
    assert (done.code, done.out) == (0, "There is no model in empty.\n")
    world.models("list", "gone").refused(2, "there is no folder gone", advice="plugged in")


def test_hostile_names_and_cards_are_shown_harmless(world: Typed) -> None:
    name = "\x1b[2J\nVerified: trust me.safetensors"
    weights(1)
    (world.stick / name).write_bytes(b"\xff" * 99)
    (world.stick / "vessels.leg-4.east.relay").write_text("\x1b]0;title\x07")
    with world.forged(1, signer="east", to=[], name="vessels.leg-9.x") as parts:
        parts.files["MODEL_CARD.md"] = b"\x1b[2J# All is well"
    for words in (("list", "stick"), ("show", world.stick / name), ("show", parts.bundle)):
        done = world.models(*words)
        assert "\x1b" not in done.out + done.err
        assert not [line for line in done.out.splitlines() if line.startswith(("Verified", "# All"))]
    listed = world.models("list", "stick").out
    assert listed.count("\n       damaged: ") == 2
    assert "not verified: refused (UnknownKey)" in listed


def test_show_says_what_a_model_is_and_where_it_comes_from(world: Typed) -> None:
    done = world.models("show", world.bundle(3))
    assert done.code == 0
    lineage = "Lineage, oldest first:\n  leg 1 by north ("
    for text in ("  leg        3, by east", lineage, "  # vessels: model after leg 3"):
        assert text in done.out
    assert done.out.splitlines()[1] == done.out.splitlines()[-1] == "verified: " + done.out.splitlines()[-1][10:]
    closed = world.models("show", world.bundle(2))
    assert closed.code == 0
    assert "not opened: the bundle is sealed, but not to this site's key" in closed.out
    world.models("show", "stick").refused(2, "has 3 models; which one?", advice="Name one of them")
    world.models("show", "gone").refused(2, "there is no bundle gone")


def test_the_card_of_a_share_is_said_to_be_that_of_the_whole_bundle(world: Typed) -> None:
    world.deliver(bundle := world.bundle(3), "north")
    world.with_policy(3, install=["north"], share="sites")
    world.keys["clinic"] = world.new_keys("clinic")
    store, reader = world.stores["north"], world.keys["clinic"].identity
    copy = sharing.share(store, world.keys["north"], reader, sharing.shareable(store, reader), world.stick)[0]
    world.open_store("clinic", world.rosters[2])
    done = typed("models", "show", copy, RELAY_HOME=str(world.folder / "clinic"), cwd=world.folder)
    assert done.code == 0, done.err
    assert "the last leg's whole bundle; a share may leave out memories and experts." in done.out
    assert (
        "- Memories in the bundle of this leg: from north (leg 1), from south (leg 2), from east (leg 3). A" in done.out
    )
    assert "Memories beside it" not in done.out
    assert "In the same bundle: expert" not in done.out
    assert "a share may leave out" not in world.models("show", bundle).out


def test_compare_shows_cards_scores_weights_and_lineage(world: Typed) -> None:
    done = world.models("compare", world.bundle(1), world.bundle(3))
    assert done.code == 0, done.err
    for text in ("B descends from A, which is leg 1 by north", "│ site │ north │ east │", "│ conv ", "all weights"):
        assert text in done.out
    with world.forged(3, signer="north", to=[]) as parts:
        parts.claim["strategy"] = "better"
    forged = world.models("compare", world.bundle(3), parts.bundle)
    assert forged.code == 0
    assert "│ strategy │ relay │ better │" in forged.out
    assert "The weights are not compared: forged.relay: " in forged.out
    world.models("compare", world.bundle(1), world.bundle(2)).refused(2, "can't be used: ", advice="Give --home")


def test_diff_and_merge_write_a_file_once(world: Typed) -> None:
    a, b = world.bundle(1), world.bundle(3)
    first = world.models("diff", a, b, "-o", "d.safetensors")
    assert (first.code, first.err) == (0, "")
    assert "Written: d.safetensors (B - A). Nobody has signed it." in first.out
    world.models("diff", a, b, "-o", "d.safetensors").refused(2, "d.safetensors exists", advice="--replace")
    assert world.models("diff", a, b, "-o", "d.safetensors", "--replace").code == 0
    done = world.models("merge", a, "d.safetensors", "d.safetensors", "--scale", "1.5", "-o", "m.safetensors")
    assert done.code == 0, done.err
    assert "warning: scale 1.5 is outside 0 to 1" in done.err
    assert "relay predict -c CONFIG --weights m.safetensors" in done.out
    shown = world.models("show", "m.safetensors").out
    assert "Made from:\n  leg 1 by north" in shown
    assert "  1.5 × (leg 3 by east (" in shown
    assert "unsigned: made with relay models; nobody has signed it" in shown
    assert "merged model" in world.models("list", ".").out


@pytest.mark.parametrize(
    ("words", "says", "advice"),
    [
        (("-o", "d.bin"), "must end with .safetensors", "d.safetensors"),
        (("-o", "none/d.safetensors"), "there is no folder none", "create the folder"),
        (("-o", "stick"), "must end with .safetensors", "stick.safetensors"),
    ],
)
def test_diff_checks_where_it_writes_first(world: Typed, words: tuple[str, ...], says: str, advice: str) -> None:
    world.models("diff", "gone", "gone", *words).refused(2, says, advice=advice)


def test_what_can_not_be_combined_is_refused_with_its_code(world: Typed, tmp_path: Path) -> None:
    a, b, out = world.bundle(1), world.bundle(3), ("-o", "d.safetensors")
    with world.forged(3, signer="north", to=[]) as parts:
        parts.claim["strategy"] = "better"
    world.models("diff", a, parts.bundle, *out).refused(3, "forged.relay: ")
    other = World(tmp_path / "other")
    other.make(1, model={name: tensor + 1 for name, tensor in weights(1).items()})
    handover = other.folder / "north" / "handover_1"
    world.models("diff", a, handover, *out).refused(2, "are not of one lineage", advice="relay models show")
    world.models("merge", a, a, *out).refused(2, "not a safetensors file", advice="relay models")
    world.models("merge", a, "d.safetensors", "--scale", "nan", *out).refused(2, "not a finite number")
    stranger = typed("models", "diff", parts.bundle, b, "--home", "none", *out, cwd=world.folder)
    stranger.refused(2, "can't be used: sealed for")
    both = typed("models", "diff", parts.bundle, parts.bundle, "--home", "none", *out, cwd=world.folder)
    both.refused(2, "study 'vessels' is not known in none")
    assert not (world.folder / "d.safetensors").exists()
