"""A model that another site made: as it was received, and out of its bundle, verified both times."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
import yaml

from relay.bundle.stick import find
from relay.errors import ChangedConfigError, HandoverError, UserError
from relay.leg import checkpoint
from relay.leg.simulated_transport import STUDY
from relay.plan import Study, plan
from relay.predict.choice import Given
from relay.predict.models import Model, bundled, finished, received, store_of
from relay.predict.settings import check_test_sets
from relay.simulate import Simulation
from relay.trust.refusals import DigestMismatch, Refused
from tests.leg.test_transport import Sites
from tests.studies import study


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sites, Simulation, Study]:
    """A leg at the first hospital, its bundle on the stick, and the second one's study."""
    sites = Sites(tmp_path_factory.mktemp("one"))
    handoff = {"study": STUDY, "key": str(sites.study.root / "clinic_b")}
    deploy = {"current_tasks.mode": "deployment", "current_tasks.task_ids": [2], "current_tasks.handoff": handoff}
    return sites, sites.leg(1), study(**{**deploy, "common.strategy.name": "relay"})


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sites, Simulation, Simulation]:
    """Two legs at two hospitals, the second started from the bundle of the first."""
    sites = Sites(tmp_path_factory.mktemp("two"))
    return sites, sites.leg(1), sites.leg(2)


def bundle_of(sites: Sites, leg: int) -> Path:
    return next(found.path for found in find(sites.study.stick) if found.leg == leg)


def holds(model: Model, first: Simulation) -> None:
    (own,) = finished(first.study, first.run_paths.root)
    assert (model.number, model.site, model.outside) == (1, "clinic_a", True)
    assert model.weights.keys() == own.weights.keys()
    assert all(torch.equal(model.weights[name], own.weights[name]) for name in own.weights)


def test_a_bundle_holds_what_the_other_site_trained_and_looking_keeps_nothing(
    one: tuple[Sites, Simulation, Study],
) -> None:
    sites, first, there = one
    store = store_of(there)
    before = sorted(path.relative_to(store.folder) for path in store.folder.rglob("*"))
    given = Given(there, *bundled(there, bundle_of(sites, 1), sites.study.keys("clinic_b")))
    holds(given.inside["generalist"], first)
    assert sorted(path.relative_to(store.folder) for path in store.folder.rglob("*")) == before


@pytest.mark.parametrize("key", ["dataset.kwargs.img_size", "model.kwargs.features"])
def test_a_model_from_elsewhere_is_not_tested_with_other_settings(
    one: tuple[Sites, Simulation, Study], key: str
) -> None:
    sites, _, there = one
    blocks = copy.deepcopy(dict(there.given))
    *parents, last = key.split(".")
    node = blocks["common"]
    for part in parents:
        node = node[part]
    trained, node[last] = node[last], [value // 2 for value in node[last]]
    changed = plan(blocks, "tiny")
    given = Given(changed, *bundled(changed, bundle_of(sites, 1), sites.study.keys("clinic_b")))
    with pytest.raises(ChangedConfigError, match=f"{key}: ") as refused:
        given.everything(pytest.fail)
    assert f"'common.{key}={json.dumps(trained, separators=(',', ':'))}'" in refused.value.advice()


def test_a_test_set_is_read_as_when_the_run_began(tmp_path: Path) -> None:
    """Of a site that no leg trains on; one that the run did not know is new."""
    given = tmp_path / "config.given.yaml"
    then = study(**{"current_tasks.task_ids": [1]})
    given.write_text(yaml.safe_dump(dict(then.given)))
    check_test_sets(then, given)
    now = study(**{"current_tasks.task_ids": [1], "all_tasks_datasets.1.kwargs.camera": "clinic_a"})
    with pytest.raises(ChangedConfigError, match=r"clinic_b was read .*\n.*camera: 'clinic_b' then, 'clinic_a' now"):
        check_test_sets(now, given)
    given.write_text(yaml.safe_dump({**then.given, "all_tasks_datasets": then.given["all_tasks_datasets"][:1]}))
    check_test_sets(now, given)
    for broken in ("", "[", "a: yes"):
        given.write_text(broken)
        with pytest.raises(UserError, match=r"config\.given\.yaml is damaged") as damaged:
            check_test_sets(now, given)
        assert damaged.value.advice().startswith("Remove it")
    given.unlink()
    check_test_sets(now, given)


def test_a_bundle_that_was_changed_is_refused(one: tuple[Sites, Simulation, Study], tmp_path: Path) -> None:
    sites, _, there = one
    data = bytearray(bundle_of(sites, 1).read_bytes())
    data[-200] ^= 1
    (tmp_path / "changed.relay").write_bytes(data)
    with pytest.raises(Refused):
        bundled(there, tmp_path / "changed.relay", sites.study.keys("clinic_b"))
    assert not (store_of(there).folder / ".looking").exists()


def test_what_was_received_is_what_the_other_site_trained(two: tuple[Sites, Simulation, Simulation]) -> None:
    _, first, second = two
    holds(Given(second.study, *received(second.study, 1)).inside["generalist"], first)


def test_what_was_received_and_then_changed_is_refused(two: tuple[Sites, Simulation, Simulation]) -> None:
    _, _, second = two
    weights = store_of(second.study).received(1) / "model.safetensors"
    good = weights.read_bytes()
    try:
        weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(DigestMismatch):
            received(second.study, 1)
    finally:
        weights.write_bytes(good)


def test_a_checkpoint_for_other_images_is_refused(two: tuple[Sites, Simulation, Simulation]) -> None:
    _, first, _ = two
    path = first.run_paths.leg(first.study.legs[0].folder).checkpoint
    weights, facts = checkpoint.load(path)
    good = path.read_bytes()
    try:
        checkpoint.save(path, weights, {**facts, "data": {**facts["data"], "classes": ["a", "b"]}})
        with pytest.raises(HandoverError, match="classes"):
            finished(first.study, first.run_paths.root)
    finally:
        path.write_bytes(good)
