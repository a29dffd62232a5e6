"""Handing over from the command line: receive, send, verify, inspect, receipt, ledger."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from relay.bundle import opening
from relay.bundle.audits import PrivacyAudit
from relay.bundle.manifest import DATA_CARD, HANDOVER, MODEL, MODEL_CARD, STATEMENT
from relay.cli import top
from relay.exchange.store import StudyStore
from relay.plan import plan
from relay.trust import keys, statement
from relay.trust.document import canonical
from relay.trust.policy import Policy
from tests import relays
from tests.cli.typed import Done, typed
from tests.relays import World, contents
from tests.studies import given


class Typed(World):
    """A world whose sites type."""

    def at(self, site: str, *words: str | Path, answers: tuple[str, ...] | None = None, **env: str) -> Done:
        return typed(*words, answers=answers, RELAY_HOME=str(self.folder / site), **env)


@pytest.fixture(scope="module")
def start() -> Any:
    """Commands go by this computer's clock, and so must the world."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relays, "START", datetime.now(timezone.utc).replace(microsecond=0))
        yield


@pytest.fixture(scope="module")
def made(start: None, tmp_path_factory: pytest.TempPathFactory) -> Typed:
    """Two legs are done; east has not received the second one."""
    world = Typed(tmp_path_factory.mktemp("made"))
    world.run(2, last=False)
    return world


@pytest.fixture
def world(made: Typed, tmp_path: Path) -> Typed:
    twin = made.copy(tmp_path)
    twin.__class__ = Typed
    assert isinstance(twin, Typed)
    return twin


def unchanged(world: World, site: str, before: dict[str, bytes]) -> None:
    assert contents(world.folder / site) == before


# -- receive ---------------------------------------------------------------------------------------------------------


def test_receiving_from_a_stick_takes_the_right_bundle(world: Typed) -> None:
    done = world.at("east", "receive", world.stick)
    assert done.code == 0, done.err
    assert "Received: leg 2 of vessels, by south, verified." in done.out
    assert str(world.bundle(2)) in done.out
    assert "│ 1   │ north │" in done.out
    assert "0.720" in done.out
    assert "weights are finite" in done.out
    assert (
        "without -c CONFIG, nothing checks whether the bundle matches this site's net, classes and images" in done.err
    )
    assert "relay receipt --leg 2" in done.out
    assert "Next: train leg 3" in done.out
    assert (world.stores["east"].received(2) / MODEL).is_file()
    assert "It was received before" in world.at("east", "receive", world.bundle(2)).out


def test_a_refused_bundle_is_3_and_leaves_nothing(world: Typed) -> None:
    with world.forged(2) as parts:
        parts.files[MODEL] += b"x"
    before = contents(world.folder / "east")
    done = world.at("east", "receive", parts.bundle)
    done.refused(3, "not the file that was signed: model.safetensors", advice="call the previous site")
    unchanged(world, "east", before)


def test_a_bundle_for_another_site_is_3(world: Typed) -> None:
    world.at("east", "receive", world.bundle(1)).refused(3, "not to this site's key", advice="another site")


def test_receiving_without_a_bundle_is_2(world: Typed) -> None:
    world.at("east", "receive").refused(2, "no bundle to receive is given", advice="relay receive FOLDER")
    world.at("east", "receive", world.stick, world.stick).refused(2, "give one path, not 2")
    world.at("east", "receive", "common.train.batch_size=4").refused(2, "KEY=VALUE overrides a config")
    world.at("east", "receive", world.folder / "absent.relay").refused(2, "there is no bundle")
    world.at("north", "receive", world.stick).refused(2, "has no bundle of leg 3 (by east)", "vessels.leg-2.south")


# -- send ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(world: Typed) -> Path:
    world.deliver(world.bundle(2), "east")
    return world.train(3)


def test_sending_shows_what_will_leave_and_asks(world: Typed, trained: Path) -> None:
    done = world.at("east", "send", trained, "-o", world.stick, answers=("y",))
    assert done.code == 0, done.err
    assert done.asked == ("Send it? [y/N] ",)
    shown = done.out.partition("Written and read back")[0]
    files = set(world.opened(3)) - {"statement.dsse.json", "manifest-sha256.txt"}
    assert all(f"B  {name}\n" in shown for name in files)
    assert "statement and the manifest" in shown
    assert "north, south" in shown
    assert "16 (rounded, as the policy says)" in shown
    assert "east 0.730, outside –" in shown
    assert "version 1" in shown
    assert "carry it to north, south." in done.out
    world.deliver(world.bundle(3), "north")


@pytest.mark.parametrize("answers", [("n",), (), None])
def test_without_a_yes_nothing_is_signed(world: Typed, trained: Path, answers: tuple[str, ...] | None) -> None:
    before, stick = contents(world.folder / "east"), contents(world.stick)
    done = world.at("east", "send", trained, "-o", world.stick, answers=answers)
    done.refused(2, "no terminal" if answers is None else "nothing was signed")
    unchanged(world, "east", before)
    assert contents(world.stick) == stick


def test_a_preview_shows_the_list_and_needs_no_key(world: Typed, trained: Path) -> None:
    (world.folder / "east/keys.json").unlink()
    before = contents(world.folder / "east")
    done = world.at("east", "send", trained, "--preview")
    assert done.code == 0, done.err
    assert "B  model.safetensors\n" in done.out
    said = json.loads(world.at("east", "send", trained, "--preview", "--json").out)
    assert f"sha256 {said['sha256']}\n" in done.out
    assert {
        "name": "model.safetensors",
        "bytes": said["files"][-1]["bytes"],
        "what": "the weights of the model",
    } == said["files"][-1]
    assert {"what": "samples", "text": "16 (rounded, as the policy says)"} in said["disclosed"]
    assert any("was not measured" in line["text"] for line in said["beside"])
    assert (said["approval"], said["approved"], said["signed"]) == ("optional", None, False)
    unchanged(world, "east", before)
    world.at("east", "send", trained, "-o", world.stick, "--json").refused(2, "--json is given without --preview")


def test_who_approves_is_in_the_ledger(world: Typed, trained: Path) -> None:
    given = ("-o", world.stick, "--yes", "--approved-by", "Ada", "--reason", "reviewed")
    shown = json.loads(world.at("east", "send", trained, "--preview", "--json").out)["sha256"]
    before = contents(world.folder / "east")
    world.at("east", "send", trained, *given, "--approved-list", "0" * 64).refused(
        3, "is not the list that was shown", advice="--preview"
    )
    world.at("east", "send", trained, *given[:5]).refused(2, "why this may leave", advice="--reason TEXT")
    unchanged(world, "east", before)
    done = world.at("east", "send", trained, *given, "--approved-list", shown)
    assert done.code == 0, done.err
    ledger = world.at("east", "ledger").out
    assert "by Ada: reviewed" in ledger
    assert ", approved in line " in ledger


def test_an_approval_that_is_required_is_asked_for(start: None, tmp_path: Path) -> None:
    world = Typed(tmp_path, policy=Policy(approval="required"))
    folder = world.train(1)
    send = ("send", folder, "-o", world.stick)
    world.at("north", *send, "--yes").refused(2, "who approves what leaves", advice="--approved-by NAME")
    done = world.at("north", *send, answers=("y", "Ada", "reviewed"))
    assert done.code == 0, done.err
    assert done.asked == ("Send it? [y/N] ", "Who approves it? ", "Why may it leave? ")
    done = world.at("north", "send", "-o", world.stick, "--yes")
    assert done.code == 0, done.err
    assert "It was approved by Ada on " in done.out


def test_what_was_signed_is_sent_again_without_a_handover_or_a_key(world: Typed, trained: Path) -> None:
    assert world.at("east", "send", trained, "-o", world.stick, "--yes").code == 0
    first = world.opened(3)
    world.bundle(3).unlink()
    (world.folder / "east/keys.json").unlink()
    done = world.at("east", "send", "-o", world.stick, "--yes")
    assert done.code == 0, done.err
    assert "already signed" in done.out
    assert world.opened(3) == first


def test_sending_in_volumes(world: Typed, trained: Path) -> None:
    folder = world.folder / "other"
    folder.mkdir()
    assert world.at("east", "send", trained, "-o", folder, "--yes", "--volume=100").code == 2  # below a megabyte
    assert world.at("east", "send", trained, "-o", folder, "--yes", "--volume", str(2**20)).code == 0
    assert [path.name for path in folder.iterdir()] == ["vessels.leg-3.east.relay.age"]


def test_sending_to_nowhere_or_nothing_is_2(world: Typed, trained: Path) -> None:
    world.at("east", "send", trained).refused(2, "no folder to send to is given", advice="-o FOLDER")
    world.at("east", "send", trained, "-o", world.folder / "media").refused(2, "there is no folder")
    world.at("east", "send", "-o", world.stick, "--yes").refused(2, "no leg of study vessels was signed")
    world.at("east", "send", world.stick, "-o", world.stick).refused(2, "no handover in")


def test_an_unsealed_study_and_exact_counts_are_said(start: None, tmp_path: Path) -> None:
    world = Typed(tmp_path, policy=Policy(sealed=False, sample_counts="exact"))
    done = world.at("north", "send", world.train(1), "-o", world.stick, "--yes")
    assert done.code == 0, done.err
    assert "NOT SEALED" in done.out
    assert "19 (exact, as the policy says)" in done.out


# -- with a config ---------------------------------------------------------------------------------------------------


def config(folder: Path, site: int = 2, **handoff: Any) -> Path:
    """A deployment's config of the tiny study, for the second site."""
    current = {"mode": "deployment", "task_ids": [site], "handoff": {"study": "vessels", **handoff}}
    path = folder / "deploy.yaml"
    path.write_text(json.dumps(given(current_tasks=current)))  # JSON is YAML
    return path


@pytest.fixture
def clinics(start: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Two sites, a stick with the first one's leg: of the net and the images of :func:`config`."""
    from relay.leg.transport import expected_config

    leg = plan(given(), "tiny").legs[1]
    fit = expected_config(leg)
    monkeypatch.setattr(relays, "NET", fit.model)
    monkeypatch.setattr(relays, "DATA", fit.data)
    world = Typed(tmp_path, sites=("clinic_a", "clinic_b"))
    torch.manual_seed(0)
    world.make(1, model=leg.net.build().state_dict())
    return world


def test_home_study_and_sticks_come_from_the_config(clinics: Typed) -> None:
    key, stick = str(clinics.folder / "clinic_b"), str(clinics.stick)
    path = config(clinics.folder, key=key, receive=stick, send=stick)
    done = typed("receive", "-c", path)
    assert done.code == 0, done.err
    assert "not compared" not in done.out
    handover = clinics.train(2)
    place = clinics.folder / "exps/deploy/first/checkpoints/task_2/handover"
    place.parent.mkdir(parents=True)
    handover.rename(place)
    done = typed("send", "-c=deploy.yaml", "-n=first", "--yes", cwd=clinics.folder)
    assert done.code == 0, done.err
    clinics.deliver(clinics.bundle(2), "clinic_a", fit=None)
    typed("send", "-c=deploy.yaml", "-n=second", "--yes", cwd=clinics.folder).refused(
        2, "second/checkpoints/task_2/handover"
    )


def test_a_bundle_must_fit_the_config(clinics: Typed) -> None:
    path = config(clinics.folder, key=str(clinics.folder / "clinic_b"))
    done = typed("receive", clinics.stick, "common.model.kwargs.features=[8,8,8,8,16]", "-c", path)
    done.refused(3, "does not match this site's config: model.kwargs", advice="the same net")
    assert typed("receive", clinics.stick, "-c", path).code == 0


def changed(model: dict[str, torch.Tensor], how: str) -> None:
    name = "final_conv.weight"
    match how:
        case "float64":
            model[name] = model[name].double()
        case "another shape":
            model[name] = model[name][..., 0]
        case "missing":
            del model[name]
        case "extra":
            model["more"] = model[name].clone()
        case "one of 3e38":
            model[name].view(-1)[3] = 3e38
        case "all times 1e30":
            model.update({key: tensor * 1e30 for key, tensor in model.items()})


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("float64", "final_conv.weight: (3, 8, 1, 1) torch.float64, but the net has (3, 8, 1, 1) torch.float32"),
        ("another shape", "final_conv.weight: (3, 8, 1) torch.float32, but the net has (3, 8, 1, 1) torch.float32"),
        ("missing", "final_conv.weight: missing"),
        ("extra", "more: not in the net"),
        ("one of 3e38", "final_conv.weight: its largest value is 3e+38"),
        ("all times 1e30", "the weights look wrong: "),
    ],
)
def test_what_train_would_refuse_is_not_received(clinics: Typed, how: str, says: str) -> None:
    """And the good bundle is received afterwards."""
    path, home = config(clinics.folder, key=str(clinics.folder / "clinic_b")), clinics.folder / "clinic_b"
    with clinics.forged(1, signer="clinic_a") as parts:
        model = load(parts.files[MODEL])
        changed(model, how)
        parts.files[MODEL] = save(model)
        parts.claim["handover"]["model"]["tensors"] = len(model)
    before = contents(home)
    typed("receive", parts.bundle, "-c", path).refused(3, says)
    unchanged(clinics, "clinic_b", before)
    done = typed("receive", clinics.bundle(1), "-c", path)
    assert done.code == 0, done.err
    assert "their outputs are finite for 4 images of this site" in done.out


def test_options_come_before_the_config(clinics: Typed) -> None:
    path = config(clinics.folder, key=str(clinics.folder / "no site"))
    home = clinics.folder / "clinic_b"
    typed("receive", clinics.stick, "-c", path).refused(2, "study 'vessels' is not known")
    typed("receive", clinics.stick, "-c", path, "--home", home, "-s=eyes").refused(2, "study 'eyes' is not known")
    assert typed("receive", clinics.stick, "-c", path, "--home", home).code == 0


def test_a_simulation_has_no_hand_over(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(given()))
    typed("receive", tmp_path, "-c", path).refused(2, "has no current_tasks.handoff", advice="--home and --study")


# -- verify ----------------------------------------------------------------------------------------------------------


def test_verifying_says_what_was_held_against_what_and_keeps_nothing(world: Typed) -> None:
    before = contents(world.folder / "east")
    done = world.at("east", "verify", world.bundle(2))
    assert done.code == 0, done.err
    assert "Verified: leg 2 of vessels, by south" in done.out
    assert "Judged as east" in done.out
    assert "leg 1  north" in done.out
    receipt = world.at("south", "receipt", "--leg=2").out
    words = next(line for line in receipt.splitlines() if line.startswith("in words:")).split()[2:]
    assert " ".join(words[:6]) in done.out
    assert " ".join(words[6:]) in done.out
    for leg, site in ((1, "north"), (2, "south")):
        assert f"memory of leg {leg}, by {site}: style, 148 B in 2 tensors" in done.out
    unchanged(world, "east", before)


def test_looking_on_does_not_ask_whose_turn_it_is(start: None, tmp_path: Path) -> None:
    world = Typed(tmp_path, policy=Policy(sealed=False))
    bundle = world.make(1)
    world.at("east", "verify", bundle).refused(3, "is for south; this is east")
    done = world.at("east", "verify", bundle, "--look-on")
    assert done.code == 0, done.err
    assert "as an observer" in done.out
    (tmp_path / "auditor").mkdir(mode=0o700)
    auditor = StudyStore(tmp_path / "auditor", world.study)  # no keys at all
    auditor.pin(world.coordinator.identity)
    auditor.install(world.rosters[1])
    assert world.at("auditor", "verify", bundle, "--look-on").code == 0


def test_a_changed_bundle_is_3_in_verify(world: Typed) -> None:
    data = bytearray(world.bundle(2).read_bytes())
    data[len(data) // 2] ^= 1
    world.bundle(2).write_bytes(data)
    world.at("east", "verify", world.bundle(2)).refused(3, "is damaged", advice="Copy the file again")
    world.at("east", "verify").refused(2, "nothing to verify is given")


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_what_is_no_bundle_is_told_before_anything_is_asked_of_the_site(command: str, tmp_path: Path) -> None:
    """Nobody knows a study here."""
    here = {"RELAY_HOME": str(tmp_path / "home")}
    typed(command, tmp_path / "gone", **here).refused(2, "there is no bundle", advice="Check the name")
    (folder := tmp_path / "folder").mkdir()
    typed(command, folder, **here).refused(2, "is not an export, a kit or a bundle: it has no statement.json")
    (folder / "vessels.leg-2.south.relay").touch()
    typed(command, folder, **here).refused(2, "is a folder with bundles: vessels.leg-2", advice="Name one: ")
    (folder / "MANIFEST.json").touch()
    typed(command, folder, **here).refused(2, "is a kit, not a bundle", advice="relay kit verify")


def test_an_export_is_verified_and_not_inspected(tmp_path: Path) -> None:
    (tmp_path / "statement.json").touch()
    typed("inspect", tmp_path).refused(2, "is an export, not a bundle", advice=f"relay verify {tmp_path}")


# -- receipt ---------------------------------------------------------------------------------------------------------


def test_a_receipt_agrees_with_the_other_ledger(world: Typed) -> None:
    file = world.folder / "receipt.txt"
    assert world.at("south", "receipt", "--leg", "1", "-o", file).code == 0
    assert os.name != "posix" or file.stat().st_mode & 0o777 == 0o644, "it is meant to be carried"
    assert "taken in by" in file.read_text()
    done = world.at("north", "verify", "--receipt", file)
    assert done.code == 0, done.err
    assert "it was taken in by south" in done.out
    world.at("east", "verify", "--receipt", file).refused(2, "leg 1 is not in the ledger of east")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_receipt_does_not_take_the_place_of_a_pipe(world: Typed) -> None:
    os.mkfifo(pipe := world.folder / "pipe")
    world.at("south", "receipt", "-o", pipe).refused(2, "already exists and is not a receipt", advice="-o FILE")
    pipe.unlink()


def test_a_wrong_receipt_is_3(world: Typed) -> None:
    file = world.folder / "receipt.txt"
    text = world.at("south", "receipt", "--leg", "2").out
    file.write_text(text.replace("leg:       2", "leg:       1"))
    world.at("north", "verify", "--receipt", file).refused(3, "another hand-over than the one known here as leg 1")
    file.write_text(text.replace("statement:", "statment:"))
    world.at("north", "verify", "--receipt", file).refused(3, "statement is missing")


def test_what_others_wrote_does_not_paint_the_screen(world: Typed) -> None:
    """A receipt that clears the screen, says that it is right, and hides what comes after."""
    file = world.folder / "receipt.txt"
    text = world.at("south", "receipt", "--leg", "2").out
    evil = "\x1b[2J\x1b[1;32mThe receipt is right\x1b[8m\x9b8m\u202e"
    for old, new in (("study:     ", f"study:     {evil}"), ("in words:  ", f"in words:  {evil} ")):
        file.write_text(text.replace(old, new))
        done = world.at("north", "verify", "--receipt", file)
        done.refused(2, r"\x1b[2")
        assert not {"\x1b", "\x9b", "\u202e"} & set(done.out + done.err)


def test_neither_does_the_log() -> None:
    """With -v it goes to the screen, tracebacks and all."""
    try:
        raise ValueError("no site \x1b[2J")
    except ValueError:
        record = logging.LogRecord("relay", logging.ERROR, "", 1, "%s", ("\x9b8m",), sys.exc_info())
    shown = top.PlainFormatter("%(message)s").format(record)
    first, *_, last = shown.splitlines()
    assert (first, last) == (r"\x9b8m", r"ValueError: no site \x1b[2J")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: os.mkfifo(path), "is not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a file"),
        (lambda path: path.mkdir(), "can't be read: Is a directory"),
        (lambda path: path.write_bytes(bytes(4 * 2**20 + 1)), "has more than 4194304 bytes"),
        (lambda path: path.symlink_to("absent"), "can't be read: No such file"),
    ],
)
def test_odd_files_on_a_stick_are_2(world: Typed, make: Callable[[Path], None], says: str) -> None:
    path = world.stick / "odd"
    make(path)
    with written_to(path):
        for words in (("roster", "install", path), ("verify", "--receipt", path), ("request", path, "-o", world.stick)):
            world.at("north", *words).refused(2, says)


@contextmanager
def written_to(pipe: Path) -> Iterator[None]:
    """Somebody writes into a pipe, so that whoever reads from it comes to an end."""
    if not pipe.is_fifo():
        yield
        return

    def write() -> None:
        with suppress(BrokenPipeError):
            pipe.write_bytes(b"x")

    writer = Thread(target=write)
    writer.start()
    yield
    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
    writer.join()


def test_receipts_that_can_not_be_made_are_2(world: Typed) -> None:
    world.at("east", "receipt").refused(2, "no leg", advice="none")
    world.at("south", "receipt", "--leg=9").refused(2, "no leg 9", advice="1, 2")
    world.at("south", "receipt", "-o", world.stick).refused(2, "is a folder")
    world.at("south", "receipt", "-o", world.folder / "absent/r.txt").refused(2, "there is no folder")
    shutil.rmtree(world.stores["south"].signed(2))
    world.at("south", "receipt").refused(2, "its files are not in", advice="from a backup")


# -- inspect ---------------------------------------------------------------------------------------------------------


def test_inspecting_with_the_keys_shows_all_and_says_verified(world: Typed) -> None:
    done = world.at("east", "inspect", world.bundle(2))
    assert done.code == 0, done.err
    assert "sealed with age for 1 recipient(s)" in done.out
    assert "Verified, as an observer" in done.out
    assert all(name in done.out for name in world.opened(2))
    assert "2, by south" in done.out
    assert (
        "  memory of leg 1, by north: style, 148 B in 2 tensors; aggregates; fewest patients 16; no formal" in done.out
    )
    assert done.out.count("whether its model, expert and memories tell of single patients was not measured") == 2
    assert "privacy audit of leg 1, by north: none" in done.out
    what = "a model fitted to that hospital alone"
    for leg, site, name in ((1, "north", "chain/0001/expert.safetensors"), (2, "south", "expert.safetensors")):
        said = f"expert of leg {leg}, by {site}: {len(world.opened(2)[name]):,} B; {what}"
        assert f"  {said}\n" in done.out
        assert f"- In the same bundle: {said.replace(': ', ', ')}.\n" in done.out, "in the model card"
    assert "# vessels: model after leg 2, by south" in done.out
    assert "NOT VERIFIED" not in done.out


@pytest.mark.parametrize("site", ["north", "no site"])
def test_inspecting_without_the_right_keys_shows_the_outside(world: Typed, site: str) -> None:
    done = world.at(site, "inspect", world.bundle(2))
    assert done.code == 0, done.err
    assert f"sealed with age for 1 recipient(s), {world.bundle(2).stat().st_size:,} B" in done.out
    assert "NOT VERIFIED" in done.out
    assert "south" not in done.out.replace(world.bundle(2).name, "")
    assert not (world.folder / "no site").exists()


def test_inspecting_a_changed_bundle_says_what_is_wrong_with_it(world: Typed) -> None:
    with world.forged(2) as parts:
        parts.files[MODEL_CARD] = b"\x1b[2J\x1b[1;1HVerified!\r\x9b1m \xe2\x80\xae evil"
    done = world.at("east", "inspect", parts.bundle)
    assert done.code == 0, done.err
    assert done.out.count("NOT VERIFIED: not the file that was signed: MODEL_CARD.md") == 2
    assert not {"\x1b", "\r", "\x9b", "\u202e"} & set(done.out)


def test_inspecting_where_the_study_is_unknown_believes_nobody(world: Typed) -> None:
    with world.forged(2, to=()) as parts:
        pass
    done = world.at("no site", "inspect", parts.bundle)
    assert done.code == 0, done.err
    assert "NOT VERIFIED: study vessels is not known" in done.out
    assert "2, by south" in done.out


def test_the_model_card_is_made_from_the_claims(world: Typed) -> None:
    """South signs for a card in which north scores worse; it is verified, and nobody is shown it."""
    honest = world.at("east", "inspect", world.bundle(2)).out
    with world.forged(2, signer="south") as parts:
        parts.files[MODEL_CARD] = parts.files[MODEL_CARD].replace(b"0.710", b"0.110")
        assert b"0.110" in parts.files[MODEL_CARD]
    done = world.at("east", "inspect", parts.bundle)
    assert "Verified, as an observer" in done.out
    assert "| 1 | north | relay | 16 | 0.710 |" in done.out
    assert "0.110" not in done.out
    assert done.out.partition("Model card")[2] == honest.partition("Model card")[2]


def test_inspecting_documents_of_another_form_says_that_no_card_can_be_made(world: Typed) -> None:
    with world.forged(2, signer="south") as parts:
        parts.put(HANDOVER, {"format": 1, "model": "\x1b[2J", "data": 5})
    done = world.at("east", "inspect", parts.bundle)
    assert done.code == 0, done.err
    assert done.out.count("NOT VERIFIED: handover.json of leg 2 does not match its schema") == 2
    assert "it can't be made: handover.json does not match its schema" in done.out
    assert "\x1b" not in done.out


def test_inspecting_shows_the_audits_of_earlier_legs(world: Typed) -> None:
    name = f"chain/0001/{DATA_CARD}"
    said: Any = {"members": 16, "others": 8, "shadows": 4, "strength": 1.0, "attacks": [], "copies": []}
    found = PrivacyAudit(**said, measurable=True, detectable=0.8, p=1.0, epsilon=None, delta=None)
    with world.forged(2, signer="south") as parts:
        parts.put(name, {**parts.json(name), "privacy_audit": dataclasses.asdict(found)})
    done = world.at("east", "inspect", parts.bundle)
    assert "privacy audit of leg 1, by north: passed: no attack does clearly better than a coin" in done.out
    with world.forged(2, signer="south") as parts:
        parts.put(name, {"format": "\x1b[2J"})
    done = world.at("east", "inspect", parts.bundle)
    assert done.code == 0, done.err
    assert f"Not shown: {name}: {DATA_CARD} " in done.out
    assert "\x1b" not in done.out


def test_inspecting_a_memorys_card_that_can_not_be_read(world: Typed) -> None:
    with world.forged(2, signer="south") as parts:
        parts.files["memory.json"] = b'{"\x1b[2J":1}'
    done = world.at("east", "inspect", parts.bundle)
    assert done.code == 0, done.err
    assert "Not shown: memory.json is not" in done.out
    assert "memory of leg 1, by north: style" in done.out
    assert "\x1b" not in done.out


def test_inspecting_what_is_no_bundle_is_3(world: Typed) -> None:
    odd = world.stick / "odd.relay"
    odd.write_bytes(b"PK\x03\x04 and so on")
    assert world.at("east", "inspect", odd).code == 3
    world.at("east", "inspect", world.stick / "absent").refused(2, "there is no bundle")


def test_a_passphrase_is_needed_only_to_open_the_seal(world: Typed) -> None:
    keys.save(world.keys["east"], world.folder / "east", "tulip anvil", replace=True)
    done = world.at("east", "inspect", world.bundle(2))
    assert "no terminal to ask for it" in done.out
    world.at("east", "verify", world.bundle(2)).refused(2, "a passphrase is needed", advice="--passphrase-file")
    world.at("east", "receive", world.stick, RELAY_PASSPHRASE="wrong one").refused(2, "wrong passphrase")
    assert world.at("east", "receive", world.stick, RELAY_PASSPHRASE="tulip anvil").code == 0


# -- ledger ----------------------------------------------------------------------------------------------------------


def test_the_ledger_is_shown_and_checked(world: Typed) -> None:
    done = world.at("south", "ledger")
    assert done.code == 0, done.err
    assert [line.split()[2] for line in done.out.splitlines()[1:-1]] == ["roster", "received", "signed", "sent"]
    assert "Intact: 4 line(s)" in done.out
    world.at("south", "ledger", world.bundle(1)).refused(2, "only used with --rebuild", advice="--rebuild")
    world.at("south", "ledger", "--rebuild").refused(2, "nothing to rebuild")


def test_a_damaged_ledger_is_3_and_can_be_rebuilt(world: Typed) -> None:
    path = world.stores["south"].ledger.path
    before = world.stores["south"].ledger.record()
    path.write_bytes(path.read_bytes().replace(b'"event":"signed"', b'"event":"sent"'))
    world.at("south", "ledger").refused(3, "line", advice="relay ledger --rebuild BUNDLE...")
    done = world.at("south", "ledger", "--rebuild", world.bundle(1))
    assert done.code == 0, done.err
    assert "moved aside" in done.out
    assert "signed in the name of south: 2" in done.out
    assert "(rebuilt)" in done.out
    assert world.stores["south"].ledger.record() == before


def test_an_empty_ledger_is_said(world: Typed) -> None:
    store = StudyStore(world.folder / "late", world.study)
    store.pin(world.coordinator.identity)
    assert "is empty" in world.at("late", "ledger").out


def test_gate_failures_say_whom_to_show_the_figures(start: None, tmp_path: Path) -> None:
    strict = dataclasses.replace(Policy().gate, max_outlier=1.5)
    world = Typed(tmp_path, policy=dataclasses.replace(Policy(), gate=strict))
    world.make(1)
    before = contents(world.folder / "south")
    world.at("south", "receive", world.stick).refused(3, "the weights look wrong", advice="Nothing was changed here")
    unchanged(world, "south", before)


def many_legs(world: Typed, legs: int, names: int) -> Path:
    """A bundle, signed by nobody, of so many earlier legs, each with so many test sets; none of them anybody's."""
    with world.forged(2, to=()) as parts:
        for name in [name for name in parts.files if name.startswith("chain/")]:
            for leg in range(1, legs + 1):
                parts.files[f"chain/{leg:04d}/{name[11:]}"] = parts.files[name]
        for leg in range(1, legs + 1):
            claim = {**parts.claim, "leg": leg, "result": {f"set{leg}_{n}": 0.5 for n in range(names)}}
            payload = canonical({**parts.payload, "predicate": claim})
            parts.files[f"chain/{leg:04d}/{STATEMENT}"] = world.keys["north"].sign(payload, statement.KIND)
    return parts.bundle


def test_inspecting_looks_at_a_few_legs_and_cuts_its_tables(world: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = opening.Opened.read
    monkeypatch.setattr(opening.Opened, "read", lambda self, name: (read.append(name), whole(self, name))[1])
    done = world.at("no site", "inspect", many_legs(world, 100, 50))
    assert done.code == 0, done.err
    assert "NOT VERIFIED" in done.out
    looked = {name for name in read if name.startswith("chain/") and name.endswith(STATEMENT)}
    assert looked == {f"chain/{leg:04d}/{STATEMENT}" for leg in range(81, 101)}
    assert "and the 80 leg(s) before leg 81, not shown" in done.out
    assert "and 972 more test sets, not shown" in done.out  # 20 legs of 50, two of the own one, less 30 columns
    assert "more files, not shown" in done.out
    assert len(done.out) < 100_000


def test_a_bundle_with_test_sets_of_nobody_is_refused(world: Typed) -> None:
    with world.forged(2, signer="south") as parts:
        parts.claim["result"].update({f"set{n}": 0.5 for n in range(17)})
    done = world.at("east", "receive", parts.bundle)
    done.refused(3, "names 18 test sets that are not sites of roster 1", "the limit is 16", advice="write it again")
