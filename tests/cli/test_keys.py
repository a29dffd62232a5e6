"""Setting up a study from the command line: keys, invitation, requests, rosters."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from relay.exchange.store import StudyStore
from relay.trust import keys, request
from relay.trust.roster import sign_roster
from tests.cli.typed import Done, typed

SECRET = "tulip anvil harbour"
HEAVY = ("torch", "cryptography", "pyrage", "securesystemslib", "rfc8785", "mnemonic", "omegaconf")


class Hospitals:
    """A folder with homes that have keys without a passphrase, and a stick."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder, self.stick = folder, folder / "stick"
        self.stick.mkdir()
        for name in names:
            keys.save(keys.new(name), folder / name, None)

    def at(self, name: str, *words: str | Path, answers: tuple[str, ...] | None = None, **env: str) -> Done:
        return typed(*words, answers=answers, RELAY_HOME=str(self.folder / name), **env)

    def words(self, name: str) -> str:
        return keys.identity(self.folder / name).fingerprint

    def store(self, name: str, study: str = "eyes") -> StudyStore:
        return StudyStore(self.folder / name, study)

    def invite(self, study: str = "eyes") -> Path:
        assert self.at("centre", "invite", study, "-o", self.stick).code == 0
        return self.stick / f"{study}.invitation.json"

    def request(self, *names: str) -> list[Path]:
        invitation, spoken = self.invite(), self.words("centre")
        for name in names:
            done = self.at(name, "request", invitation, "-o", self.stick, "--fingerprint", spoken)
            assert done.code == 0, done.err
        return [self.stick / f"eyes.{name}.request.json" for name in names]

    def roster(self, order: str = "a,b") -> Path:
        requests = self.request(*dict.fromkeys(order.split(",")))
        done = self.at("centre", "roster", "make", *requests, "--order", order, "-o", self.stick, "--yes")
        assert done.code == 0, done.err
        return self.stick / "eyes.roster-1.json"


@pytest.fixture
def world(tmp_path: Path) -> Hospitals:
    return Hospitals(tmp_path, "centre", "a", "b")


# -- keys ------------------------------------------------------------------------------------------------------------


def test_new_keys_are_private_and_under_the_passphrase(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    home = tmp_path / "home"
    done = typed("keys", "new", "--name=north", "--home", home, "--passphrase-file", file)
    assert done.code == 0, done.err
    assert keys.load(home, SECRET).identity.name == "north"
    assert stat.S_IMODE((home / "keys.age").stat().st_mode) == 0o600
    assert " ".join(keys.identity(home).fingerprint.split()[:4]) in done.out
    assert "relay request INVITATION" in done.out
    assert SECRET not in done.out + done.err


def test_keys_without_a_passphrase_or_with_an_old_one_are_refused(world: Hospitals) -> None:
    world.at("new", "keys", "new", "--name", "n").refused(2, "no terminal to ask", advice="--passphrase-file")
    assert not (world.folder / "new").exists()
    again = world.at("a", "keys", "new", "--name", "a", RELAY_PASSPHRASE=SECRET)
    again.refused(2, "already has keys", advice="--replace")
    assert world.at("a", "keys", "new", "--name", "a", "--passphrase", SECRET).code == 2  # there is no such option


def test_replacing_keys_keeps_the_old_ones(world: Hospitals) -> None:
    old = keys.identity(world.folder / "a").signing
    done = world.at("a", "keys", "new", "--name", "a", "--replace", RELAY_PASSPHRASE=SECRET)
    assert done.code == 0
    assert "makes a roster with the new keys" in done.out
    assert keys.identity(world.folder / "a").signing != old
    assert (world.folder / "a" / f"keys.{old[:8]}.json").is_file()


def test_a_lost_or_damaged_public_part_can_be_renewed_as_the_message_says(world: Hospitals) -> None:
    path = world.folder / "a" / "identity.json"
    for left in (None, b"", b"{}"):
        path.unlink() if left is None else path.write_bytes(left)
        world.at("a", "keys", "show").refused(2, str(path), advice="relay keys new --replace")
        assert keys.named(world.folder / "a") is None
    done = world.at("a", "keys", "new", "--name", "a", "--replace", RELAY_PASSPHRASE=SECRET)
    assert done.code == 0
    assert keys.identity(world.folder / "a").name == "a"
    assert len([*(world.folder / "a").glob("keys.*.json")]) == 1, "the old private keys are kept"
    world.at("none", "keys", "new", "--name", "a", "--replace", RELAY_PASSPHRASE=SECRET).refused(2, "there are no keys")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("name", ["identity.json", "keys.json"])
def test_a_pipe_in_a_home_is_not_waited_for(name: str, world: Hospitals) -> None:
    path = world.folder / "a" / name
    path.unlink()
    os.mkfifo(path)
    world.at("a", "invite", "another", "-o", world.folder).refused(2, str(path), advice="backup")


@pytest.mark.parametrize("name", ["../x", "con", "NUL.1", "x" * 300, "Köln", ""])
def test_a_bad_name_is_2(name: str, world: Hospitals) -> None:
    done = world.at("new", "keys", "new", "--name", name, RELAY_PASSPHRASE=SECRET)
    done.refused(2, f"'{name[:60]}", "can't be a site's name", advice="at most 40")
    assert not (world.folder / "new").exists()


def test_show_prints_the_public_part(world: Hospitals) -> None:
    done = world.at("a", "keys", "show")
    identity = keys.identity(world.folder / "a")
    assert identity.signing in done.out
    assert identity.sealing in done.out
    assert "AGE-SECRET" not in done.out
    assert world.at("a", "keys", "show", "--words").out == identity.fingerprint + "\n"
    world.at("no site", "keys", "show").refused(2, "there are no keys", advice="relay keys new")


def test_the_home_is_the_option_then_the_environment(world: Hospitals) -> None:
    done = typed("keys", "show", "--words", RELAY_HOME=str(world.folder / "b"))
    assert done.out.strip() == world.words("b")
    done = typed("keys", "show", "--words", "--home", world.folder / "a", RELAY_HOME=str(world.folder / "b"))
    assert done.out.strip() == world.words("a")


# -- invitation and request ------------------------------------------------------------------------------------------


def test_inviting_pins_the_coordinator_in_its_own_store(world: Hospitals) -> None:
    done = world.at("centre", "invite", "eyes", "-o", world.stick)
    assert done.code == 0
    assert request.read_invitation((world.stick / "eyes.invitation.json").read_bytes()).study == "eyes"
    assert world.store("centre").coordinator.name == "centre"
    assert all(word in done.out for word in world.words("centre").split())


@pytest.mark.parametrize("study", ["Eyes", "../eyes", "-eyes", ""])
def test_a_bad_study_is_2_and_nothing_is_written(world: Hospitals, study: str) -> None:
    world.at("centre", "invite", "-o", world.stick, "--", study).refused(2, "can't be the name of a study")
    assert not list(world.stick.iterdir())
    assert not (world.folder / "centre/studies").exists()


def test_a_folder_that_is_not_there_is_2_and_not_made(world: Hospitals) -> None:
    absent = world.folder / "media"
    world.at("centre", "invite", "eyes", "-o", absent).refused(2, "there is no folder", advice="stick")
    assert not absent.exists()
    assert not world.store("centre").knows_coordinator


def test_a_request_after_the_words_were_given(world: Hospitals) -> None:
    spoken = world.words("centre").upper().replace(" ", ", ")
    done = world.at("a", "request", world.invite(), "-o", world.stick, "--fingerprint", spoken)
    assert done.code == 0, done.err
    assert all(word in done.out for word in world.words("a").split())
    assert world.store("a").coordinator.name == "centre"
    data = (world.stick / "eyes.a.request.json").read_bytes()
    assert request.check(data, keys.load(world.folder / "centre", None), "eyes").name == "a"


def test_a_request_after_the_question(world: Hospitals) -> None:
    done = world.at("a", "request", world.invite(), "-o", world.stick, answers=("y",))
    assert done.code == 0, done.err
    assert done.asked == ("Do they match what the coordinator read out? [y/N] ",)
    assert all(word in done.out for word in world.words("centre").split())
    again = world.at("a", "request", world.invite(), "-o", world.stick, answers=())
    assert (again.code, again.asked) == (0, ())
    assert "compared before" in again.out


def trusts_nobody(world: Hospitals) -> None:
    assert not world.store("a").knows_coordinator
    assert not (world.stick / "eyes.a.request.json").exists()


@pytest.mark.parametrize("answers", [("n",), ("",), ("yes please",), ()])
def test_any_answer_but_yes_trusts_nobody(world: Hospitals, answers: tuple[str, ...]) -> None:
    done = world.at("a", "request", world.invite(), "-o", world.stick, answers=answers)
    done.refused(2, "centre was not confirmed; nothing was changed", advice="tell the coordinator")
    trusts_nobody(world)


def test_the_comparison_can_not_be_skipped(world: Hospitals) -> None:
    done = world.at("a", "request", world.invite(), "-o", world.stick)
    done.refused(2, "no terminal to ask", advice='--fingerprint "12 words"')
    assert world.at("a", "request", world.invite(), "-o", world.stick, "--yes").code == 2
    trusts_nobody(world)


def test_a_wrong_word_is_named(world: Hospitals) -> None:
    spoken = world.words("centre").split()
    true, spoken[2] = spoken[2], "zebra" if spoken[2] != "zebra" else "zero"
    done = world.at("a", "request", world.invite(), "-o", world.stick, "--fingerprint", " ".join(spoken))
    done.refused(3, f"word 3 is '{true}', not '{spoken[2]}'", advice="read out again")
    trusts_nobody(world)


def test_too_few_words_and_another_fingerprint(world: Hospitals) -> None:
    few = world.at("a", "request", world.invite(), "-o", world.stick, "--fingerprint", "zebra zero")
    few.refused(2, "you gave 2 words")
    other = world.at("a", "request", world.invite(), "-o", world.stick, "--fingerprint", world.words("b"))
    other.refused(3, "most of its words differ")
    trusts_nobody(world)


def test_another_coordinator_of_the_same_study_is_refused(world: Hospitals) -> None:
    world.request("a")
    pinned = world.store("a").coordinator
    world.at("b", "invite", "eyes", "-o", world.stick)
    words = world.words("b")
    done = world.at("a", "request", world.stick / "eyes.invitation.json", "-o", world.stick, "--fingerprint", words)
    done.refused(3, "is pinned with the fingerprint", advice="Call the coordinator")
    assert world.store("a").coordinator == pinned


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"payload":"","payloadType":"x","signatures":[]}'])
def test_a_file_that_is_no_invitation_is_3(world: Hospitals, content: bytes) -> None:
    (world.stick / "odd").write_bytes(content)
    world.at("a", "request", world.stick / "odd", "-o", world.stick).refused(3, "the invitation")
    world.at("a", "request", world.stick / "absent", "-o", world.stick).refused(2, "absent can't be read")


def test_a_site_may_not_be_called_as_the_coordinator(world: Hospitals) -> None:
    keys.save(keys.new("Centre"), world.folder / "twin", None)
    world.at("twin", "request", world.invite(), "-o", world.stick).refused(
        2, "has the same name as this site, Centre", advice="keys new"
    )


# -- rosters ---------------------------------------------------------------------------------------------------------


def test_a_roster_after_each_site_was_asked_for(world: Hospitals) -> None:
    requests = world.request("a", "b")
    words = ("roster", "make", *requests, "--order", "a, b,a", "--readers=centre", "-o", world.stick)
    done = world.at("centre", *words, answers=("y", "YES"))
    assert done.code == 0, done.err
    assert [question.split()[1] for question in done.asked] == ["a", "b"]
    roster = world.store("centre").roster
    assert (roster.order, roster.readers, roster.version) == (("a", "b", "a"), ("centre",), 1)
    assert (world.stick / "eyes.roster-1.json").read_bytes() == world.store("centre").trusted.data  # type: ignore[union-attr]


def test_a_site_that_was_not_compared_stops_it(world: Hospitals) -> None:
    requests = world.request("a", "b")
    words = ("roster", "make", *requests, "--order", "a,b", "-o", world.stick)
    world.at("centre", *words, answers=("y", "n")).refused(2, "fingerprint of b was not compared; nothing was signed")
    world.at("centre", *words).refused(2, "no terminal to ask", advice="--yes")
    assert world.store("centre").trusted is None
    assert not list(world.stick.glob("*roster*"))


def test_yes_is_said_to_be_a_risk(world: Hospitals) -> None:
    (one,) = world.request("a")
    done = world.at("centre", "roster", "make", one, "--order=a", "-o", world.stick, "--yes")
    assert done.code == 0
    assert "warning: because of --yes, no one was asked" in done.err


def test_only_the_coordinator_makes_rosters_and_only_one_first(world: Hospitals) -> None:
    requests = world.request("a", "b")
    words = ("roster", "make", *requests, "--order", "a,b", "-o", world.stick, "--yes")
    world.at("a", *words).refused(2, "the coordinator of study eyes is centre", advice="--home")
    assert world.at("centre", *words).code == 0
    world.at("centre", *words).refused(2, "already has roster 1", advice="relay roster amend")


def test_a_forged_request_and_a_wrong_order_are_refused(world: Hospitals) -> None:
    requests = world.request("a", "b")
    words = ("roster", "make", *requests, "-o", world.stick, "--yes")
    world.at("centre", *words, "--order", "a,c").refused(2, "'c' is in the order but is not one of the sites")
    content = json.loads(requests[0].read_bytes())
    content["signatures"] = json.loads(requests[1].read_bytes())["signatures"]
    requests[0].write_bytes(json.dumps(content, separators=(",", ":"), sort_keys=True).encode())
    world.at("centre", *words, "--order", "a,b").refused(3, "the signature of the request")
    assert world.store("centre").trusted is None


def test_a_policy_from_a_file(world: Hospitals) -> None:
    (one,) = world.request("a")
    policy = world.folder / "policy.yaml"
    words = ("roster", "make", one, "--order=a", "-o", world.stick, "--yes", "--policy", policy)
    policy.write_text("min_sample: 3\n")
    world.at("centre", *words).refused(2, "min_sample = 3: unknown key", "did you mean 'min_samples'")
    policy.write_text("min_samples: 3\ngate: {min_score: 0.5}\n")
    assert world.at("centre", *words).code == 0
    assert world.store("centre").roster.policy.gate.min_score == 0.5


def test_installing_for_the_first_time_compares_the_fingerprint(world: Hospitals) -> None:
    roster = world.roster()
    keys.save(keys.new("late"), world.folder / "late", None)
    world.at("late", "roster", "install", roster, answers=("n",)).refused(2, "was not confirmed")
    assert not world.store("late").knows_coordinator
    done = world.at("late", "roster", "install", roster, "--fingerprint", world.words("centre"))
    assert done.code == 0, done.err
    assert world.store("late").roster.version == 1
    again = world.at("late", "roster", "install", roster, "--fingerprint", world.words("a"))
    again.refused(3, "not that of centre")


@pytest.mark.parametrize(
    ("period", "says"),
    [
        (("2999-01-01T00:00:00Z", "2999-07-01T00:00:00Z"), "is only valid from 2999-01-01T00:00:00Z"),
        (("2020-01-01T00:00:00Z", "2020-07-01T00:00:00Z"), "has ended: it was valid until 2020-07-01T00:00:00Z"),
    ],
)
def test_a_roster_that_does_not_hold_today_is_installed_with_a_warning(
    period: tuple[str, str], says: str, world: Hospitals
) -> None:
    path = world.roster()
    signer = keys.load(world.folder / "centre", None)
    made = replace(world.store("centre").roster, not_before=period[0], not_after=period[1])
    path.write_bytes(sign_roster(made, signer))
    done = world.at("b", "roster", "install", path)
    assert done.code == 0, done.err
    assert f"WARNING: roster 1 {says}. You can't receive, train or send under it now." in done.err
    assert "clock" in done.err
    assert world.store("b").roster == made


def test_installing_shows_the_order_and_this_sites_turn(world: Hospitals) -> None:
    done = world.at("b", "roster", "install", world.roster())
    assert "leg 2" in done.out
    assert "The next turn of b: leg 2." in done.out
    assert "nothing has changed" in world.at("b", "roster", "install", world.stick / "eyes.roster-1.json").out


def test_the_next_roster_shows_what_changed_and_never_goes_back(world: Hospitals) -> None:
    first = world.roster("a,b")
    world.at("a", "roster", "install", first)
    keys.save(keys.new("c"), world.folder / "c", None)
    (late,) = world.request("c")
    words = ("roster", "amend", late, "--done=1", "--drop", "b", "--days=10", "-o", world.stick)
    world.at("centre", *words, answers=("y", "n")).refused(2, "not signed")
    assert world.store("centre").roster.version == 1
    done = world.at("centre", *words, answers=("y", "y"))
    assert done.code == 0, done.err
    assert "Legs up to 1 are final." in done.out
    assert "- leg 2          b" in done.out
    assert "+ leg 2          c" in done.out
    second = world.stick / "eyes.roster-2.json"
    installed = world.at("a", "roster", "install", second)
    assert "+ leg 2          c" in installed.out
    assert "site a" not in installed.out  # that line is as it was
    world.at("a", "roster", "install", first).refused(3, "roster 2 is already known here")
    assert world.store("a").roster.order == ("a", "c")


def test_revoking_needs_new_keys_or_a_leave(world: Hospitals) -> None:
    world.roster("a,b")
    words = ("roster", "amend", "--done=0", "-o", world.stick, "--revoke", "b", "--reason", "laptop stolen")
    world.at("centre", *words).refused(2, "the key of b is revoked", advice="Nothing was signed")
    keys.save(keys.new("b"), world.folder / "b", None, replace=True)
    (renewed,) = world.request("b")
    done = world.at("centre", *words, renewed, "--yes")
    assert done.code == 0, done.err
    assert "new keys from b" in done.out
    (revoked,) = world.store("centre").roster.revoked
    assert (revoked.site, revoked.reason) == ("b", "laptop stolen")


def test_withdrawing_an_expert(world: Hospitals) -> None:
    first = world.roster("a,b")
    world.at("a", "roster", "install", first)
    words = ("roster", "amend", "--done=1", "--withdraw-expert", "b", "-o", world.stick, "--yes")
    world.at("centre", *words).refused(2, "b has no expert to withdraw", advice="--done")
    done = world.at("centre", *("a" if word == "b" else word for word in words))
    assert done.code == 0, done.err
    assert "The experts of these legs no longer travel: 1." in done.out
    assert "keeps what it learned" in done.out
    assert "+ experts        withdrawn, no longer travel: leg 1 (a)" in done.out
    assert "leg 1 (a)" in world.at("centre", "roster", "show").out
    assert "leg 1 (a)" in world.at("a", "roster", "install", world.stick / "eyes.roster-2.json").out
    assert world.store("a").roster.withdrawn_experts == (1,)


def test_a_changed_roster_or_one_by_another_is_refused(world: Hospitals) -> None:
    roster = world.roster()
    envelope = json.loads(roster.read_bytes())
    payload = envelope["payload"]
    envelope["payload"] = payload[:-8] + ("AAAA" if payload[-8:-4] != "AAAA" else "BBBB") + payload[-4:]
    roster.write_bytes(json.dumps(envelope, separators=(",", ":"), sort_keys=True).encode())
    done = world.at("a", "roster", "install", roster)
    assert done.code == 3
    assert world.store("a").trusted is None


def test_show_says_whether_it_is_verified(world: Hospitals) -> None:
    roster = world.roster()
    assert world.at("a", "roster", "show", roster).out.startswith("Verified: signed by centre")
    keys.save(keys.new("late"), world.folder / "late", None)
    assert world.at("late", "roster", "show", roster).out.startswith("NOT VERIFIED")
    world.at("a", "roster", "show").refused(2, "no roster of study 'eyes' is installed", advice="roster install")
    world.at("a", "roster", "install", roster)
    shown = world.at("a", "roster", "show").out
    assert "min_samples = 8" in shown
    assert world.words("b").split()[0] in shown


def test_export_writes_the_newest(world: Hospitals) -> None:
    roster = world.roster()
    world.at("a", "roster", "install", roster)
    target = world.folder / "other"
    target.mkdir()
    assert world.at("a", "roster", "export", "-o", target).code == 0
    assert (target / roster.name).read_bytes() == roster.read_bytes()


# -- which study -----------------------------------------------------------------------------------------------------


def test_the_only_study_is_found_and_others_must_be_named(world: Hospitals) -> None:
    world.at("a", "roster", "show").refused(2, "no study is known", advice="relay request")
    world.roster()
    world.at("centre", "invite", "hearts", "-o", world.stick)
    world.at("centre", "roster", "show").refused(2, "several studies are known", "eyes, hearts", advice="-s STUDY")
    assert world.at("centre", "roster", "show", "-s=eyes").code == 0
    world.at("centre", "roster", "show", "-s", "eye").refused(2, "did you mean 'eyes'?")


# -- quick -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["keys", "--help"], ["roster", "amend", "--help"], ["send", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys, atexit; from relay.cli.app import main; "
        f"atexit.register(lambda: print('heavy:', {set(HEAVY)} & set(sys.modules))); main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("heavy: set()")
