"""The two pages for the data protection officer say what files say, cite them, and leave the rest open."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from relay.bundle import meanings, measure
from relay.config import Handoff
from relay.errors import UserError
from relay.exchange import sharing
from relay.papers import write_pages
from relay.plan import Study
from relay.protection import pages
from relay.trust import Policy, canonical
from tests.cli.typed import typed
from tests.relays import STUDY, At, World
from tests.studies import finished, given, study


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (path := tmp_path / "tiny.yaml").write_text("x: 1\n")
    return path


def deployed(**changes: object) -> Study:
    """A leg of a real study."""
    return dataclasses.replace(study(**changes), handoff=Handoff(study=STUDY))


def audited(root: Path, wrong: bool = False) -> None:
    """An audit of what the first leg hands over."""
    folder = root / "checkpoints/task_1/handover"
    attack = {"part": "model", "name": "lira", "auc": 0.53, "low": 0.41, "high": 0.64, "right": 0.5, "p": 0.7}
    card = {
        "members": 16,
        "others": 8,
        "shadows": 4,
        "strength": 1.0,
        "attacks": [{**attack, "tpr_1": 0.25, "tpr_01": 0}],
    }
    card |= {"copies": [], "measurable": True, "detectable": 0.8, "p": 0.7, "epsilon": None, "delta": None}
    parts = {"model.safetensors": "0" * 64 if wrong else measure(folder / "model.safetensors").sha256}
    (folder / "audit.json").write_bytes(canonical({"format": 1, "parts": parts, "card": card}))


def test_the_pages_cite_what_they_say_and_leave_open_what_nobody_here_knows(
    at: At, tmp_path: Path, config: Path
) -> None:
    root = finished(tmp_path / "exps/tiny/run")
    audited(root)
    store = at(2).stores["north"]
    annex, flow = pages(deployed(), config, root, store)
    text, said = annex.markdown(), flow.markdown()
    assert "Draft for the data protection officer" in text
    assert f"Annex to the data protection impact assessment: {STUDY}" in text
    assert f"| Study | {STUDY} |" in text
    card = root / "checkpoints/task_1/handover/data-card.json"
    assert "patients 6 to train, 2 to validate, 2 to test" in text
    assert "means over 2 patients, which tell much about each of them" in text
    assert measure(card).sha256 in text
    assert "| Attacks on what leaves: task_1 | passed: no attack does clearly better than a coin" in text
    assert (
        "lira on the model; of a patient who was trained on and one who was not it picks the right one 53 times" in text
    )
    assert "| Attacks on what leaves: task_2 | not measured: there is no audit.json |" in text
    assert "| Training with differential privacy: task_1 | no: there is no privacy.json |" in text
    assert f"| Coordinator | {store.roster.coordinator.name} |" in text
    assert re.search(r"\| Legal basis, consent \| \[to be filled in", text)
    assert "| Leg 1 left | 2026-03-02, as vessels.leg-1.north.relay.age, sealed for south |" in said
    assert "| model.safetensors | the weights of the model |" in said
    assert annex.open > 10
    html = annex.html()
    assert not re.findall(r'<script|https?:|src=|href=(?!"(#|data:,"))', html)
    written = write_pages((annex, flow), tmp_path)
    assert [path.name for path in written] == ["dpia-annex.md", "dpia-annex.html", "data-flow.md", "data-flow.html"]
    with pytest.raises(UserError, match="exists already"):
        write_pages((annex, flow), tmp_path)
    audited(root, wrong=True)
    assert (
        "not measured: the audit that is here is of other weights"
        in pages(deployed(), config, root, store)[0].markdown()
    )
    card.with_name("audit.json").write_text("{}")
    with pytest.raises(UserError, match=r"audit\.json is damaged"):
        pages(deployed(), config, root, store)


def test_before_anything_is_here_nearly_everything_is_open(tmp_path: Path, config: Path) -> None:
    annex, flow = pages(deployed(), config, tmp_path / "exps/tiny/run", None)
    text = annex.markdown()
    assert "| Policy | [to be filled in by the site: this site has not joined the study yet] |" in text
    for gap in ("Data of this site", "Attacks on what leaves", "Training with differential privacy"):
        assert f"| {gap} | [to be filled in by the site: no finished leg is in the run] |" in text
    assert "| Memory beside the model | [to be filled in by the site: the config names none" in text
    assert "| Bundles and copies | none |" in flow.markdown()


def test_a_simulation_is_called_one(tmp_path: Path, config: Path) -> None:
    annex, flow = pages(study(), config, tmp_path / "exps/tiny/run", None)
    text, said = annex.markdown(), flow.markdown()
    assert "# Data-flow statement: simulation of config tiny" in said
    assert "| Study | none: a simulation of the config tiny |" in text
    assert "A simulation: this computer trains all legs, one after another. Nothing leaves it." in text
    assert "| Policy | [to be filled in by the site: a simulation has no roster] |" in text
    assert "| Transport, accountability | none: a simulation sends nothing;" in text
    assert "signed, and checked" not in text
    assert "no ledger: a simulation" in said


def test_one_test_patient_is_warned_of(tmp_path: Path, config: Path) -> None:
    root = finished(tmp_path / "exps/tiny/run")
    card = root / "checkpoints/task_1/handover/data-card.json"
    said = json.loads(card.read_text())
    said["patients"]["test"] = 1
    card.write_text(json.dumps(said))
    text = pages(deployed(), config, root, None)[0].markdown()
    assert "| Scores of task_1 on its own test images | the result of one patient, since there is no other" in text
    assert "scores leave as means over test patients: over one patient, the mean is that patient's result" in text
    assert "no result of a single patient" not in text
    assert "It doesn't know folders named with relay predict -o" in text


def test_a_memory_is_told_with_what_it_is_made_from(tmp_path: Path, config: Path) -> None:
    root = finished(tmp_path / "exps/tiny/run")
    told = {"about": {}, "audit": None, "format": 1}
    for leg, kind, name in ((1, "style", "memory.json"), (2, "owm", "cumulative.json")):
        privacy = {"derived": ("aggregates", "weights")[leg - 1], "patients": (6, 0)[leg - 1], "unit": "patient"}
        card = {**told, "kind": kind, "privacy": {**privacy, "epsilon": None, "delta": None}}
        (root / f"checkpoints/task_{leg}/handover" / name).write_bytes(canonical(card))
    text = pages(deployed(), config, root, None)[0].markdown()
    assert "| Memory beside the model | style, owm |" in text
    assert re.search(
        r"\| Memory that travels, of task_1 \| style, made from the training patients of this leg: aggregates; fewest "
        r"patients 6; no formal guarantee \|",
        text,
    )
    all_legs = (
        "owm, made from the training patients of all legs so far: weights; patients not counted; no formal guarantee"
    )
    assert f"| Memory of all legs so far, of task_2 | {all_legs} |" in text
    assert "patients 0" not in text
    named = {"common.strategy": {"name": "relay", "kwargs": {"memory": {"name": "style"}}}}
    early = pages(deployed(**named), config, tmp_path / "exps/tiny/none", None)[0].markdown()
    assert "| Memory beside the model | style |" in early


def test_an_account_without_secret_noise_is_no_guarantee(tmp_path: Path, config: Path) -> None:
    root = finished(tmp_path / "exps/tiny/run")
    path = root / "checkpoints/task_1/privacy.json"
    for private, said in ((True, "ε = 3.0, δ = 1e-05 for each training patient"), (False, "no guarantee: anyone who")):
        path.write_text(json.dumps({"epsilon": 3.0, "delta": 1e-5, "unit": "patient", "private": private}))
        text = pages(deployed(), config, root, None)[0].markdown()
        assert f"| Training with differential privacy: task_1 | {said}" in text


def test_what_has_left_is_told_whole(at: At, tmp_path: Path, config: Path) -> None:
    world = at(2)
    south = pages(deployed(), config, tmp_path / "none", world.stores["south"])[1].markdown()
    world.deliver(world.bundle(2), "east")
    world.with_policy(2, install=["north", "south", "east"], share="sites")
    world.deliver(world.make(3), "north")
    store, reader = world.stores["north"], world.new_keys("clinic").identity
    sharing.share(store, world.keys["north"], reader, sharing.shareable(store, reader), world.stick)
    north = pages(deployed(), config, tmp_path / "none", store)[1].markdown()
    for name, what in meanings.listed():
        assert f"| {name} | {what} |" in north
    own = "of leg 1: statement, manifest, results, data card, card of the memory, memory, expert |"
    assert re.search(rf"\| Bundle of leg 2, 2026-03-02: files \| statement, .*, model; {re.escape(own)}", south)
    assert "| Leg 2, of leg 1: expert | " in south
    assert "| Leg 2, training images | 16 (12 to 22); counts are rounded |" in south
    assert "| Leg 2, scores | outside not measured, south 0.72 |" in south
    copy = (
        r"\| Copy of leg 3 for clinic, 2026-03-02: files \| share, statement, manifest, roster 1, roster 2, .*, model; "
    )
    assert re.search(copy, north)
    assert "| Leg 3, of leg 1: expert" not in north, "it stayed"
    assert "| Can open every bundle but the last | the site of the next leg, and the readers |" in north
    assert "| Can open the last bundle | north, south |" in north
    assert (
        "| Can open a copy for outside the study | any hospital that a site gives one to, sealed to it alone |" in north
    )
    gone = "sealed for clinic, outside the study; left out: card of the memory, memory, expert; of leg 1: "
    assert f"| A copy of leg 3 left | 2026-03-02, as vessels.leg-3.share-clinic.relay.age, {gone}" in north
    for event in ("Roster 2 was installed", "Leg 1 was signed", "Leg 3 came in"):
        assert f"| {event} | 2026-03-02" in north


def test_a_leg_that_was_signed_again_does_not_speak_for_what_was_sent(at: At, tmp_path: Path, config: Path) -> None:
    world = at(1)
    store = world.stores["north"]
    world.amend(0, ["north"])
    world.put(1, world.folder / "north/handover_1")
    text = pages(deployed(), config, tmp_path / "none", store)[1].markdown()
    assert "| Bundle of leg 1, 2026-03-02: files | [to be filled in by the site: its files are no longer here" in text
    assert "relay.age, recipients not known |" in text
    assert "relay.age, sealed for south |" in text


@pytest.mark.parametrize(
    ("damage", "why"), [(None, "No such file or directory"), (b"no manifest\n", "line 1: 'no manifest' is not")]
)
def test_a_damaged_manifest_is_named(at: At, tmp_path: Path, config: Path, damage: bytes | None, why: str) -> None:
    store = at(1).stores["north"]
    path = store.signed(1) / "manifest-sha256.txt"
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(UserError, match=rf"leg_0001/manifest-sha256\.txt is damaged: .*{why}") as caught:
        pages(deployed(), config, tmp_path / "none", store)
    assert caught.value.exit_code == 2
    assert "Restore the folder from a backup" in caught.value.advice()


def test_bundles_that_are_not_sealed_are_called_so(tmp_path: Path, config: Path) -> None:
    sites = ("st.agerich", "south")  # the file's name has ".age", too
    world = World(tmp_path / "world", sites, policy=Policy(sealed=False, sample_counts="exact"))
    world.make(1)
    store = world.stores["st.agerich"]
    annex, flow = (page.markdown() for page in pages(deployed(), config, tmp_path / "none", store))
    assert "| Can read a bundle | anybody who has the file: bundles are not sealed |" in flow
    assert "as vessels.leg-1.st.agerich.relay, NOT SEALED, for south |" in flow
    assert "a bundle is NOT sealed, as the policy says, signed" in annex
    assert "counts are exact, as the policy says" in annex
    world.amend(1, ["st.agerich"])
    (store.folder / "rosters/0001.dsse.json").unlink()
    flow = pages(deployed(), config, tmp_path / "none", store)[1].markdown()
    assert "as vessels.leg-1.st.agerich.relay, for south; whether it was sealed is not known here |" in flow


def test_a_run_that_is_named_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(json.dumps(given()))
    finished(Path("exps/tiny/first")).joinpath("config.given.yaml").write_text("x: 1\n")
    typed("dpia", "-c", "tiny.yaml", "-n", "frist", "-o", ".").refused(
        2, "there is no run exps/tiny/frist; did you mean 'first'?", advice="Runs of this config: first."
    )
    assert not list(Path().glob("*.md"))
    done = typed("dpia", "-c", "tiny.yaml", "-o", ".")
    assert done.code == 0, done.err
    assert "There is no run exps/tiny/run yet: what only a run can say is left open." in done.out
    text = Path("dpia-annex.md").read_text()
    assert "| Attacks on what leaves | [to be filled in by the site: no finished leg is in the run] |" in text
