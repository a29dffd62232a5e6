"""Differences and combined models as files: where they come from, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from relay import tensorfile
from relay.bundle import manifest
from relay.errors import RelayError, UserError
from relay.models import compared, comparing, entries_of, handover, make_difference, make_model, read_made
from relay.models.made import Combined, Difference, Made, write
from relay.models.weights import weights_of
from relay.trust import DigestMismatch
from tests.models.test_library import place
from tests.relays import At, World


def difference(world: World, a: Path, b: Path, site: str = "south", name: str = "d") -> Path:
    here, path = place(world, site), world.folder / f"{name}.safetensors"
    one, other = entries_of([a, b], here)
    make_difference(one, other, path, here, pytest.fail)
    return path


def merged(world: World, base: Path, *changes: Path, scale: float = 1.0, site: str = "south") -> Path:
    here, path = place(world, site), world.folder / "m.safetensors"
    (entry,) = entries_of([base], here)
    make_model(entry, changes, scale, path, here, pytest.fail)
    return path


def test_the_difference_of_two_bundles_leads_from_one_to_the_other(at: At) -> None:
    world = at(3)
    a, b = world.bundle(1), world.bundle(3)
    here = place(world, "south")
    first, third = (weights_of(entry, here) for entry in entries_of([a, b], here))
    change = difference(world, a, b)
    about = read_made(change)
    assert isinstance(about, Difference)
    assert ((about.before.leg, about.before.site), (about.after.leg, about.after.site)) == ((1, "north"), (3, "east"))
    assert (about.signed, about.made, [link.leg for link in about.lineage]) == (False, "2026-03-02T09:30:00Z", [1])
    for scale, wanted in ((0.0, first), (1.0, third)):
        made = load_file(merged(world, a, change, scale=scale))
        assert made.keys() == wanted.keys()
        assert all(
            torch.equal(made[name], tensor) and made[name].dtype == tensor.dtype for name, tensor in wanted.items()
        )
    told = read_made(world.folder / "m.safetensors")
    assert isinstance(told, Combined)
    assert (told.scale, told.differences[0].after, told.lineage[-1].leg) == (1.0, about.after, 1)


def test_a_difference_is_added_to_another_model_of_the_lineage_and_that_again_compared(at: At) -> None:
    world = at(3)
    change = difference(world, world.bundle(1), world.folder / "south" / "handover_2")
    half = merged(world, world.bundle(3), change, change, scale=0.25)
    entry, third = entries_of([half, world.bundle(3)], place(world, "south"))
    assert (entry.kind, entry.trust.level, len(entry.told.lineage)) == ("made", "unsigned", 4)
    assert entry.told.parents[0] == third.told.link.text
    assert entry.told.parents[1].startswith("0.25 × (leg 2 by south")
    again = difference(world, world.bundle(3), half, name="again")
    assert read_made(again).lineage[-1] == third.told.link
    inside = handover(half)
    assert (inside.facts["model"]["name"], inside.legs[0]["site"]) == ("U-Net", "east")
    assert inside.model.keys() == tensorfile.check(half, metadata=True).keys()
    with pytest.raises(UserError, match="is a difference of two models, not a model"):
        handover(again)


def test_models_of_two_lineages_are_not_combined(at: At, tmp_path: Path) -> None:
    world, other = at(2), World(tmp_path / "other", study="fundus")
    other.run(1)
    change = difference(world, world.bundle(1), world.folder / "south" / "handover_2")
    stranger = other.folder / "north" / "handover_1"
    (stranger / "digests.json").unlink()
    weights = tensorfile.load(stranger / manifest.MODEL)
    write_model(stranger / manifest.MODEL, {name: tensor + 1 for name, tensor in weights.items()})
    for how in (
        lambda: difference(world, world.bundle(1), stranger),
        lambda: merged(world, stranger, change),
    ):
        with pytest.raises(UserError, match="are not of one lineage") as caught:
            how()
        assert caught.value.exit_code == 2
        assert "relay models show" in caught.value.advice()


def write_model(path: Path, weights: dict[str, torch.Tensor]) -> None:
    save_file(weights, path)


def test_what_fails_verification_is_never_read(at: At) -> None:
    world = at(1)
    here = place(world, "south")
    with world.forged(1) as parts:
        parts.files[manifest.MODEL] = parts.files[manifest.MODEL][:-1] + b"\1"
    own = world.folder / "north" / "handover_1"
    bad, good = entries_of([parts.bundle, own], here)
    with pytest.raises(DigestMismatch):
        make_difference(bad, good, world.folder / "d.safetensors", here, [].append)
    assert not (world.folder / "d.safetensors").exists()
    (good,) = entries_of([world.bundle(1)], here)
    world.bundle(1).write_bytes(parts.bundle.read_bytes())  # the stick changes after it was listed
    with pytest.raises(DigestMismatch):
        weights_of(good, here)


def test_weights_that_are_gone_or_that_nobody_vouches_for_are_refused(at: At) -> None:
    world = at(3)
    folder = world.stores["south"].received(1)
    elsewhere, here = (entries_of([folder], place(world, site))[0] for site in ("east", "south"))
    with pytest.raises(UserError, match="only its own site's ledger vouches for it"):
        weights_of(elsewhere, place(world, "east"))
    assert weights_of(here, place(world, "south"))
    world.stores["south"].forget_weights(1)
    with pytest.raises(UserError, match="were removed") as caught:
        weights_of(here, place(world, "south"))
    assert "Use the bundle" in caught.value.advice()


def test_a_difference_is_no_model_and_a_model_no_difference(at: At) -> None:
    world = at(2)
    change = difference(world, world.bundle(1), world.folder / "south" / "handover_2")
    model = merged(world, world.bundle(1), change)
    with pytest.raises(UserError, match="is a model, not a difference"):
        merged(world, world.bundle(1), model)
    for how in (lambda: merged(world, change, change), lambda: difference(world, change, model)):
        with pytest.raises(UserError, match="is a difference of two models, not a model"):
            how()


def test_what_is_legal_but_suspicious_is_said(at: At) -> None:
    world = at(2)
    here, path = place(world, "south"), world.folder / "d.safetensors"
    one, same = entries_of([world.bundle(1), world.folder / "north" / "handover_1"], here)
    said: list[str] = []
    make_difference(one, same, path, here, said.append)
    make_model(one, [path], -2, world.folder / "m.safetensors", here, said.append)
    assert said == [
        "A and B are the same model: their difference is zero",
        "scale -2 is outside 0 to 1: it goes beyond both models",
    ]


def test_what_is_lost_and_what_is_only_approximate_is_said(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    norm = {"bn.running_mean": torch.tensor([1.0, 2.0])}
    world.deliver(world.make(1, model=norm, expert=None), "south", None)
    after = world.train(2, model={"bn.running_mean": torch.tensor([1e-20, 3.0])}, expert=None)
    here, path = place(world, "south"), world.folder / "d.safetensors"
    one, other = entries_of([world.bundle(1), after], here)
    said: list[str] = []
    make_difference(one, other, path, here, said.append)
    make_model(one, [path], 0.5, world.folder / "m.safetensors", here, said.append)
    lost, norms = said
    assert lost.startswith("1 value(s) of B come back only approximately")
    assert "batch normalisation" in norms


def changed(world: World, **values: object) -> Path:
    """A difference whose metadata says something else."""
    path = difference(world, world.bundle(1), world.folder / "south" / "handover_2")
    about: Made = replace(read_made(path), **values)  # type: ignore[arg-type]
    write(path, tensorfile.load(path, metadata=True), about)
    return path


def test_a_difference_for_another_net_is_refused(at: At) -> None:
    world = at(2)
    head = read_made(difference(world, world.bundle(1), world.folder / "south" / "handover_2")).head
    for other, says in (
        (replace(head, model=replace(head.model, name="V-Net")), "different nets"),
        (replace(head, data=replace(head.data, classes=["background", "cup"])), "different images or classes"),
    ):
        with pytest.raises(UserError, match=says):
            merged(world, world.bundle(1), changed(world, head=other))


def test_files_that_are_damaged_after_they_were_made_are_refused(at: At) -> None:
    world = at(2)
    path = difference(world, world.bundle(1), world.folder / "south" / "handover_2")
    data = path.read_bytes()
    for spoiled in (data[:100], data[:-1], data.replace(b'\\"format\\":1', b'\\"format\\":2'), b""):
        path.write_bytes(spoiled)
        with pytest.raises(RelayError, match="is damaged") as caught:
            merged(world, world.bundle(1), path)
        assert str(path) in str(caught.value)
        assert "relay models" in caught.value.advice()


def test_cards_and_weights_are_compared(at: At) -> None:
    world = at(3)
    here = place(world, "south")
    one, other = entries_of([world.bundle(1), world.bundle(3)], here)
    found = compared(one, other, here)
    assert list(found.facts) == [("leg", "1", "3"), ("site", "north", "east")]
    assert found.scores[0] == ("north", 0.71, None)
    whole, *layers = found.distances
    assert (whole.layer, whole.values, [layer.layer for layer in layers]) == ("all weights", 112, ["conv", "norm"])
    assert whole.relative is not None
    assert whole.relative > 0.5
    with world.forged(3, to=[]) as parts:
        parts.files[manifest.MODEL] = parts.files[manifest.MODEL][:-1] + b"\1"
    (bad,) = entries_of([parts.bundle], here)
    unread = compared(one, bad, here)
    assert (unread.distances, "not the file that was signed" in unread.why) == ([], True)
    zero = {"w": torch.zeros(2)}
    assert comparing.distances(zero, zero)[0].relative is None
    assert comparing.distances(zero, {})[0].values == 0
