"""The acceptance check: weights that are signed and whole, and wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import pickle
import struct
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from relay.bundle.manifest import CUMULATIVE, EXPERT, MEMORY, MODEL
from relay.errors import UserError
from relay.exchange import gate, measures, receiving
from relay.handover import Handover, MemoryState
from relay.tasks import named
from relay.trust.policy import Gate, Policy
from relay.trust.refusals import BadDocument, GateFailed
from tests.relays import At, World, remembered, weights

EVERYONE = ["north", "south", "east"]


BAD = (torch.nan, torch.inf, -torch.inf)


def of(tensors: dict[str, torch.Tensor]) -> MemoryState:
    """A memory of these tensors."""
    return dataclasses.replace(remembered(1), tensors=tensors)


def carried(**tensors: torch.Tensor) -> Handover:
    return Handover(tensors)


@pytest.mark.parametrize(
    ("part", "bad", "dtype"),
    [
        *(("model", torch.nan, dtype) for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.complex64)),
        *((part, bad, torch.float32) for part in ("model", "memory", "cumulative") for bad in BAD),
    ],
)
def test_not_finite(bad: float, part: str, dtype: torch.dtype, at: At) -> None:
    """Whatever the policy: such weights are of no use."""
    world = at(0)
    world.with_policy(install=EVERYONE, gate=Gate(on_failure="warn", max_outlier=None, max_relative_change=None))
    odd = {"x": torch.tensor([1.0, bad, 2.0]).to(dtype)}
    bundle = world.make(1, **{part: odd if part == "model" else of(odd)})
    where = {"model": "x", "memory": "x in the memory of leg 1", "cumulative": "x in the cumulative memory"}
    world.refuses(bundle, "south", GateFailed, f"{where[part]} is not finite")


@pytest.mark.parametrize("name", ["norm.running_var", "norm.num_batches_tracked"])
def test_what_is_never_negative(name: str) -> None:
    """The root of a negative variance is not a number; without a config no image would show it."""
    whole = name.endswith("tracked")
    for value, fine in ((0, True), (-1, False)):
        found = list(measures.useless({name: torch.full((3,), value, dtype=torch.int64 if whole else torch.float32)}))
        assert found == ([] if fine else [f"{name} is negative, which is impossible for it"])


def test_memories_of_earlier_legs_are_weighed_too(at: At) -> None:
    """North and south have agreed to pass it on."""
    world = at(0)
    world.make(1, memory=of({"x": torch.tensor([torch.inf])}))
    receiving.receive(world.stores["south"], world.keys["south"], world.bundle(1))
    world.refuses(world.make(2), "east", GateFailed, "x in the memory of leg 1 is not finite")


def test_a_name_in_both_files(at: At) -> None:
    """The memory's good tensor does not stand in for the model's bad one."""
    world = at(0)
    bundle = world.make(1, model={"x": torch.tensor([torch.nan])}, memory=of({"x": torch.ones(1)}))
    world.refuses(bundle, "south", GateFailed, "x is not finite")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bool, torch.int64, torch.uint8])
def test_other_kinds_of_numbers_are_weighed_as_well(dtype: torch.dtype, at: At) -> None:
    world = at(0)
    world.deliver(world.make(1, model={"x": torch.ones(4).to(dtype)}), "south")


@pytest.mark.parametrize("size", [2, 3, 64, 10**6])
@pytest.mark.parametrize("huge", [3e38, -3e38, 1e6])
def test_one_huge_value_is_seen_in_a_tensor_of_any_size(size: int, huge: float) -> None:
    """No value of n can be over sqrt(n) times the root mean square of them all."""
    w = torch.randn(size, generator=torch.Generator().manual_seed(1)) / 20
    assert measures.outliers({"w": w}, 1000.0) == []
    w[size // 2] = huge
    (found,) = measures.outliers({"w": w}, 1000.0)
    assert found.startswith(f"w: its largest value is {abs(huge):.3g}, ")
    assert measures.outliers({"w": w}, None) == []


@pytest.mark.parametrize("usual", [0.05, 1.0, 7.0, 1e300])
def test_outliers_are_measured_against_the_median(usual: float) -> None:
    w = torch.full((3, 5), usual, dtype=torch.float64)
    w[1, 1] = 99 * usual
    assert measures.outliers({"w": w}, 100.0) == []
    w[1, 1] = 101 * usual
    (found,) = measures.outliers({"w": w}, 100.0)
    assert found == f"w: its largest value is {101 * usual:.3g}, 101 times the usual (limit 100)"


def test_what_stands_out_of_zeros_may_be_of_the_size_of_weights() -> None:
    """A bias of which one value was trained is no outlier; a huge one among zeros is."""
    w = torch.zeros(64)
    w[3] = 5.0
    assert measures.outliers({"bias": w}, 1000.0) == []
    w[3] = 301.0  # 1000 times 0.3, the usual size of a bias
    assert len(measures.outliers({"bias": w}, 1000.0)) == 1
    assert measures.outliers({"norm.running_var": w}, 1000.0) == []


@pytest.mark.parametrize(
    ("name", "fresh", "fine", "wrong"),
    [
        ("w", {"w": 0.03}, 29.0, 31.0),
        ("w", {"w": 0.0}, 299.0, 301.0),  # a bias that begins at zero: 1000 times 0.3
        ("w", None, 999.0, 1001.0),  # no config: no net begins with more than about 1
        ("norm.running_mean", {"norm.running_mean": 0.0}, 9.9e4, 1.1e5),
        ("norm.running_var", {"norm.running_var": 1.0}, 9.9e4, 1.1e5),
        ("w", {"w": 0.03}, 0.0, 1e38),
    ],
)
def test_the_scale_of_a_layer_at_first_contact(name: str, fresh: Any, fine: float, wrong: float) -> None:
    assert measures.oversized({name: torch.full((7,), fine)}, 1000.0, fresh) == []
    (found,) = measures.oversized({name: torch.full((7,), wrong)}, 1000.0, fresh)
    assert found.startswith(f"{name}: its RMS is {wrong:.3g}, ")
    assert measures.oversized({name: torch.full((7,), wrong)}, None, fresh) == []


SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 13)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e5m2])
def test_slices_give_what_the_whole_gives(size: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(size)
    small = 1e-3 if size == 5 else 1.0  # below the unit
    new, old = ((torch.randn(size, 3, generator=random) * small).to(dtype) for _ in range(2))
    both = {"w": new.T}, {"w": old.T}  # not contiguous
    weighed = lambda: (measures.oversized(both[0], 1e-9, {"w": 2.0}), measures.changes(*both, 1e-9))  # noqa: E731
    whole = weighed()
    assert [len(found) for found in whole] == [1, 1]
    monkeypatch.setattr(measures, "SLICE", 4)
    assert weighed() == whole
    wide = new.double()
    norm = max(old.double().norm(), 0.03 * (3 * size) ** 0.5)
    assert f"its RMS is {wide.square().mean().sqrt():.3g}, " in whole[0][0]
    assert f" {(wide - old.double()).norm() / norm:.3g} times its norm" in whole[1][0]
    assert measures.outliers(both[0], 1e-9)[0].startswith(f"w: its largest value is {wide.abs().max():.3g}, ")


@pytest.mark.parametrize("at_", [0, 3, 4, 10])
def test_one_bad_value_in_any_slice(at_: int, at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "SLICE", 4)
    one = torch.ones(11)
    one[at_] = torch.inf
    with pytest.raises(GateFailed, match="w is not finite"):
        gate.weigh(carried(w=one), at(0).stores["south"], Policy())


class Largest(TorchDispatchMode):
    """Remembers the largest tensor of doubles that is made."""

    size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.dtype == torch.float64:
            self.size = max(self.size, made.numel())
        return made


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float32])
def test_nothing_is_widened_whole(dtype: torch.dtype, at: At) -> None:
    """Eight bits as doubles are eight times the file."""
    world = at(2)
    store = world.stores["south"]
    big = {"conv.weight": torch.ones(3 * measures.SLICE + 1).to(dtype)}
    save_file(big, store.signed(2) / "other")
    (store.signed(2) / "other").replace(store.signed(2) / MODEL)
    with Largest() as largest:
        notes = gate.weigh(carried(**big), store, Policy())
    assert "compared with" in notes[-1]
    assert 0 < largest.size <= measures.SLICE


def test_own_weights_that_are_damaged_are_a_users_matter(at: At) -> None:
    """Not the bundle's fault, and no traceback."""
    world = at(0)
    world.amend(0, EVERYONE, order=["north", "south", "north", "east"])
    world.run(2, last=False)
    path = world.stores["north"].signed(1) / MODEL
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"leg_0001.model\.safetensors, which this site has signed") as caught:
        world.deliver(world.bundle(2), "north")
    assert "backup" in caught.value.advice()
    assert 2 not in world.stores["north"].record().received


@pytest.mark.parametrize("tensor", [torch.zeros(5), torch.tensor(3.0), torch.zeros(0), torch.tensor([1, 10**6])])
def test_no_outliers(tensor: torch.Tensor) -> None:
    assert measures.outliers({"w": tensor}, 1.5) == []


def test_changes() -> None:
    old = {"a": torch.ones(4), "b": torch.ones(4), "shape": torch.ones(3), "gone": torch.ones(1)}
    new = {"a": torch.ones(4) * 3, "b": -torch.ones(4) * 9, "shape": torch.ones(4)}
    assert measures.changes(new, old, 2.0) == ["b: changed by 10 times its norm (limit 2)"]
    assert [found[0] for found in measures.changes(new, old, 1.9)] == ["a", "b"]
    assert measures.changes(new, old, None) == []


@pytest.mark.parametrize("before", [0.0, 1e-7])
@pytest.mark.parametrize(
    ("name", "shape", "unit"), [("b", (8,), 0.3), ("w", (2, 4), 0.03), ("running_mean", (8,), 100.0)]
)
def test_what_began_at_zero_may_move_as_training_moves_it(
    before: float, name: str, shape: tuple[int, ...], unit: float
) -> None:
    """A bias after one step of training is next to nothing: a hundred steps later it is a hundred thousand times that.
    But from zero to a thousand is a change, too."""
    old = {name: torch.full(shape, before)}
    assert measures.changes({name: torch.full(shape, 9.9 * unit)}, old, 10.0) == []
    (found,) = measures.changes({name: torch.full(shape, 1000 * unit)}, old, 10.0)
    assert found == f"{name}: changed by 1e+03 times its norm (limit 10)"


def test_other_names_shapes_and_types_than_the_last_known() -> None:
    last = {"a": torch.ones(2), "b": torch.ones(2), "c": torch.ones(2), "d": torch.ones(2)}
    new = {"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(2).double(), "e": torch.ones(2)}
    with pytest.raises(GateFailed) as caught:
        gate.check_weights(Handover(new), Policy(), last)
    for text in ("b: (3,) torch.float32", "c: (2,) torch.float64", "d: missing", "e: not in the last"):
        assert text in str(caught.value)
    assert "a:" not in str(caught.value)


@pytest.mark.parametrize("limit", [1e-6, 0.01, 10.0])
@pytest.mark.parametrize("on_failure", ["refuse", "warn"])
def test_policy_decides(limit: float, on_failure: Any, at: At) -> None:
    """Back at north, leg 2 is compared with leg 1."""
    world = at(0)
    wanted = Gate(on_failure=on_failure, max_relative_change=limit)
    world.with_policy(install=EVERYONE, gate=wanted)
    world.amend(0, EVERYONE, order=["north", "south", "north", "east"])
    world.run(2, last=False)
    if limit < 1 and on_failure == "refuse":
        world.refuses(world.bundle(2), "north", GateFailed, "conv.weight: changed by", "norm.bias")
        return
    notes = world.deliver(world.bundle(2), "north").notes
    assert notes[-1] == "weights are finite; compared with the last weights known here"
    assert [note.startswith("warning: conv.weight") for note in notes[:-1]] == ([True, False] if limit < 1 else [])


def test_the_first_weights_have_nothing_to_compare_with(at: At) -> None:
    world = at(1)
    notes = world.deliver(world.bundle(1), "south").notes
    assert notes == ("weights are finite; there are no earlier weights here to compare with",)


def test_an_outlier_in_a_relay(at: At) -> None:
    world = at(0)
    model = {**weights(1), "big.weight": torch.ones(2**21)}
    model["big.weight"][5] = 1e9
    world.refuses(world.make(1, model=model), "south", GateFailed, "big.weight", "limit 1000")


CRUDE = {
    "one value": (lambda name, w: w.view(-1).index_fill(0, torch.tensor([5]), 3e38).view(w.shape), "its largest value"),
    "all weights": (lambda name, w: w * 1e30, "its RMS"),
}


@pytest.mark.parametrize("kind", CRUDE)
@pytest.mark.parametrize("leg", [1, 3])
def test_crude_weights_are_refused_and_the_good_bundle_is_then_received(kind: str, leg: int, at: At) -> None:
    """At first contact (leg 1), and where there is something to compare with."""
    change, says = CRUDE[kind]
    world = at(0)
    world.amend(0, EVERYONE, order=["north", "south", "east", "south"])
    world.run(leg - 1)
    good = {name: tensor / 10 for name, tensor in weights(leg).items()}
    site, following = world.roster.order[leg - 1 : leg + 1]
    twin = world.copy(world.folder.with_name("twin"))
    bad = twin.make(leg, model={**good, "conv.weight": change("conv.weight", good["conv.weight"])})
    world.refuses(bad, following, GateFailed, "conv.weight", says)
    notes = world.deliver(world.make(leg, model=good, site=site), following).notes
    assert notes[0].startswith("weights are finite")


@pytest.mark.parametrize(
    ("task", "score", "limit", "on_failure", "wrong"),
    [
        ("segmentation", 0.5, 0.6, "refuse", r"0\.500 \(mean Dice\) .* below 0\.6"),
        ("segmentation", 0.6, 0.6, "refuse", ""),
        ("segmentation", 0.0, None, "refuse", ""),
        ("segmentation", 0.5, 0.6, "warn", ""),
        ("classification", 0.5, 0.6, "refuse", r"0\.500 \(balanced accuracy\) .* below 0\.6"),
        ("regression", 7.0, 6.0, "refuse", r"7\.000 \(mean absolute error\) .* above 6"),
        ("regression", 5.0, 6.0, "refuse", ""),
    ],
)
def test_scores(task: str, score: float, limit: float | None, on_failure: Any, wrong: str) -> None:
    wanted, which = Gate(min_score=limit, on_failure=on_failure), named(task)
    if not wrong:
        gate.check_score(score, wanted, which)
    else:
        with pytest.raises(GateFailed, match=wrong):
            gate.check_score(score, wanted, which)


def header(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + bytes(16)


PICKLED = io.BytesIO()
torch.save({"w": torch.ones(2)}, PICKLED)


NO_WEIGHTS = [
    b"",
    b"\0" * 7,
    pickle.dumps({"w": 1}),
    PICKLED.getvalue(),
    save({"w": torch.ones(4)})[:-1],
    save({"w": torch.ones(4)}) + b"\0",
    struct.pack("<Q", 2**62) + b"{}",
    header(w={"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 16]}),
    header(w={"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}),
    header(w={"dtype": "OBJECT", "shape": [4], "data_offsets": [0, 16]}),
    header(w={"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}),
    header(w={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, v={"dtype": "F32", "shape": [3]}),
    header(**{"\x1b[2J": {"dtype": "\x1b[2J", "shape": [4], "data_offsets": [0, 16]}}),
]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        *((MODEL, data) for data in NO_WEIGHTS),
        *((name, data) for name in (MEMORY, CUMULATIVE, EXPERT) for data in NO_WEIGHTS[1::4]),
    ],
)
def test_files_that_are_no_weights(data: bytes, name: str, at: At) -> None:
    """Signed by north all the same."""
    world = at(0 if name == CUMULATIVE else 1)
    if name == CUMULATIVE:
        world.make(1, cumulative=remembered(1))
    with world.forged(1, signer="north") as parts:
        parts.files[name] = data
    world.refuses(parts.bundle, "south", BadDocument, "weights can't be parsed")


@pytest.mark.parametrize(("dtype", "count"), [("F8_E8M0", 16), ("F4", 32), ("F6_E2M3", 16), ("U4", 32), ("U64", 2)])
def test_kinds_of_numbers_that_torch_can_hardly_handle(dtype: str, count: int, at: At) -> None:
    """They are taken in or refused, as this torch can; never a traceback."""
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.claim["handover"]["expert"] = None  # one of another form would be refused
        del parts.files[EXPERT]
        parts.files[MODEL] = header(w={"dtype": dtype, "shape": [count], "data_offsets": [0, 16]})
    with contextlib.suppress(GateFailed, BadDocument):
        world.deliver(parts.bundle, "south")


def test_names_of_tensors_are_shown_plainly(at: At) -> None:
    """One who writes files of his own; an honest site can't write such a name."""
    world = at(1)
    odd = {"w\x1b[2J\n": torch.ones(1), "v": torch.ones(1)}
    with world.forged(1, signer="north") as parts:
        parts.files[MODEL] = save(odd)
    world.refuses(parts.bundle, "south", BadDocument, r"printable characters: w\x1b[2J\n")
    with pytest.raises(UserError, match=r"model\.safetensors can't be handed over: .* printable characters"):
        world.train(1, model=odd)


def test_notes_are_shown_plainly(at: At) -> None:
    store = at(0).stores["south"]
    one = torch.ones(2**12)
    one[0] = 1e9  # the median of the others is 1
    (note, *_) = gate.weigh(carried(**{"w\x1b[2J": one}), store, Policy(gate=Gate(on_failure="warn", max_outlier=2.0)))
    assert note.isprintable()


def test_many_faults_are_summed_up(at: At) -> None:
    world: World = at(0)
    bundle = world.make(1, model={f"layer{n:03d}": torch.tensor([torch.nan]) for n in range(300)}, expert=None)
    world.refuses(bundle, "south", GateFailed, "and 295 more")
