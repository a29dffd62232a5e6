"""The state machine itself: every step, once, in its order; and whom it believes."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest

from relay.bundle import manifest
from relay.exchange import receiving, rules
from relay.exchange.rules import STEPS, Verification
from relay.trust.document import digest
from relay.trust.ledger import Known, Record
from relay.trust.refusals import Refused, Rollback
from tests.relays import EXPECTED, At, World

Steps = dict[str, Callable[[], None]]


def steps(world: World, leg: int, site: str) -> tuple[Verification, Steps]:
    """A verification of an honest bundle, and its steps."""
    files = world.opened(leg)
    check = Verification(world.stores[site].context())
    rosters = [data for name, data in files.items() if name.startswith("rosters/")]
    layout = manifest.names_fit(list(files))
    links = layout.links(files.__getitem__)
    digests = {name: digest(data) for name, data in list(files.items())[2:]}
    return check, {
        "rosters": lambda: check.rosters(rosters),
        "statement": lambda: check.statement(files[manifest.STATEMENT]),
        "chain": lambda: check.chain(links),
        "standing": check.standing,
        "contents": lambda: check.contents(files[manifest.MANIFEST], digests, {n: files[n] for n in layout.documents}),
        "policy": lambda: check.policy(9000, True, {name: len(data) for name, data in files.items()}),
        "fit": lambda: check.fit(files[manifest.HANDOVER], EXPECTED),
    }


def test_all_steps_in_order(at: At) -> None:
    check, does = steps(at(2), 2, "east")
    for n, name in enumerate(STEPS):
        with pytest.raises(RuntimeError, match=f"not verified: next is {STEPS[n]}"):
            _ = check.verified
        does[name]()
    assert [made.claim.leg for made in check.verified] == [1, 2]


def test_none_can_be_left_out_or_exchanged(at: At) -> None:
    world = at(2)
    for first, second in permutations(range(len(STEPS)), 2):
        _, does = steps(world, 2, "east")
        for name in STEPS[:first]:
            does[name]()
        with pytest.raises(RuntimeError, match=f"step {STEPS[second]} out of turn; next is {STEPS[first]}"):
            does[STEPS[second]]()


def test_none_can_be_done_twice(at: At) -> None:
    check, does = steps(at(1), 1, "south")
    for name in STEPS:
        does[name]()
        with pytest.raises((RuntimeError, IndexError)):
            does[name]()
    assert check.verified


def test_after_a_refusal_it_stays_unverified(at: At) -> None:
    world = at(1)
    world.deliver(world.bundle(1), "south")
    world.make(2)
    check, does = steps(world, 1, "south")
    for name in STEPS[:3]:
        does[name]()
    with pytest.raises(Refused):
        does["standing"]()
    with pytest.raises(RuntimeError):
        _ = check.verified


def test_looking_on(at: At) -> None:
    """Whose turn it is, an auditor is not asked; all else is."""
    world = at(2)
    check, does = steps(world, 2, "east")
    check.at = dataclasses.replace(check.at, site=None)
    for name in STEPS:
        does[name]()
    assert receiving.verify(world.stores["east"], world.keys["east"], world.bundle(2), look_on=True).claim.leg == 2


def test_rollback(at: At) -> None:
    check, does = steps(at(1), 1, "south")
    check.at = dataclasses.replace(check.at, record=Record({3: Known("0" * 64, 1)}))
    for name in STEPS[:3]:
        does[name]()
    with pytest.raises(Rollback, match="leg 1 by north; leg 3 is already known"):
        does["standing"]()


def test_the_rules_touch_nothing() -> None:
    """No input, no output: nothing that reads a file, a clock or a device is imported or called."""
    tree = ast.parse(Path(rules.__file__).read_text())
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    }
    assert not imported & {"os", "io", "pathlib", "shutil", "time", "random", "torch", "tempfile", "relay.files"}
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"open", "print", "input"}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & {"now_utc", "utcnow", "today", "read_bytes", "write_bytes", "load_file"}


def test_every_rule_is_written_out() -> None:
    """The errors that it raises are named in the module's text, and the other way round."""
    tree = ast.parse(Path(rules.__file__).read_text())
    raised = {
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    }
    text = rules.__doc__ or ""
    general = {"RuntimeError", "BadDocument"}
    assert {name for name in raised - general if f"``{name}``" not in text} == set()
