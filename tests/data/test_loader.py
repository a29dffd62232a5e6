from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from pydantic import ValidationError

from relay.data import Store
from relay.data.loader import Pool, eval_batches, sample_ids, train_loader
from relay.data.sampler import TrainSampler, balancing_weights
from relay.errors import DataError, UserError


def stores(*datasets) -> list[Store]:
    return [Store(dataset, dataset.listing) for dataset in datasets]


def loader(dataset, batch_size: int = 4, **kwargs):
    return train_loader(stores(dataset), dataset.options, batch_size=batch_size, seed=1, site="made", **kwargs)


def epoch(batches, number: int) -> list[dict[str, torch.Tensor]]:
    batches.sampler.set_epoch(number)
    return list(batches)


def same(left, right) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a[key], b[key]) for a, b in zip(left, right, strict=True) for key in a
    )


def test_what_a_batch_is(made) -> None:
    dataset = made([(6, 5)] * 8)
    for batch in epoch(loader(dataset), 0):
        assert batch["image"].shape == (4, 3, 6, 5)
        assert batch["label"].shape == (4, 6, 5)
        assert batch["image"].dtype == batch["label"].dtype == torch.uint8
        assert batch["index"].dtype == torch.int64
        assert batch["image"].is_contiguous(memory_format=torch.channels_last)
        assert (batch["image"] == batch["index"][:, None, None, None]).all()
        assert (batch["label"] == torch.from_numpy(dataset[0].target)).all()


def test_a_batch_may_be_written_to(made) -> None:
    batches = loader(made([(6, 5)] * 4))
    first = epoch(batches, 0)
    first[0]["image"][:] = 99
    first[0]["label"][:] = 2
    assert not same(epoch(batches, 0), first)


SIZES = st.tuples(st.integers(1, 40), st.integers(1, 4), st.integers(1, 9), st.integers(1, 4))


@given(SIZES, st.integers(0, 3))
def test_ranks_share_an_epoch(sizes: tuple[int, int, int, int], number: int) -> None:
    samples, replicas, batch, world = sizes
    ranks = [TrainSampler(samples, replicas, batch, 1, "a", rank, world) for rank in range(world)]
    for sampler in ranks:
        sampler.set_epoch(number)
    seen = [list(sampler) for sampler in ranks]
    assert {len(part) for part in seen} == {len(ranks[0])}
    assert len(ranks[0]) % batch == 0
    assert len(ranks[0]) > 0
    positions = sorted(position for part in seen for _, position, _ in part)
    assert positions == list(range(world * len(ranks[0])))
    counts = Counter(index for part in seen for _, _, index in part)
    assert max(counts.values()) - min(counts.get(i, 0) for i in range(samples)) <= 1
    if samples * replicas >= batch * world:
        assert samples * replicas - batch * world < sum(counts.values()) <= samples * replicas


def test_epochs_sites_and_seeds_differ() -> None:
    def order(number: int = 0, seed: int = 1, site: str = "a") -> list[int]:
        return TrainSampler(30, 1, 5, seed, site).order(number)

    assert order() == order()
    assert len({tuple(order(*which)) for which in [(0,), (1,), (0, 2), (0, 1, "b")]}) == 4


@pytest.mark.parametrize("name", ["none", "flip", "full"])
def test_resumed_is_the_same(made, name: str) -> None:
    through = _augmented(made, name)
    batches = [epoch(through, number) for number in range(3)]
    assert same(epoch(_augmented(made, name), 2), batches[2])
    assert not same(batches[1], batches[2])


def _augmented(made, name: str, **kwargs):
    dataset = made([(20, 18)] * 9, augment={"train": name}, patch_size=[12, 12], repeats=2)
    return loader(dataset, **kwargs)


def test_workers_make_the_same_batches(made) -> None:
    alone, helped = _augmented(made, "flip"), _augmented(made, "flip", workers=2)
    for number in (0, 3):
        assert same(epoch(alone, number), epoch(helped, number))


def test_each_batch_has_its_own_luck(made) -> None:
    dataset = made([(40, 40)], patch_size=[8, 8], repeats=6)
    first, second = epoch(loader(dataset, batch_size=3), 0)
    assert not torch.equal(first["label"], second["label"])
    assert len({bytes(label.numpy()) for label in first["label"]}) > 1


def test_the_global_random_state_is_left_alone(made) -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(1), np.random.random()
    torch.manual_seed(3)
    np.random.seed(3)
    epoch(_augmented(made, "full"), 0)
    assert (torch.rand(1), np.random.random()) == expected


def test_few_samples_still_fill_a_batch(made) -> None:
    (batch,) = epoch(loader(made([(4, 4)] * 3), batch_size=8), 0)
    assert sorted(Counter(batch["index"].tolist()).values()) == [2, 3, 3]


@pytest.mark.parametrize("shape", [(9, 11), (6, 7, 8)])
def test_patches_lie_anywhere_within(made, shape: tuple[int, ...]) -> None:
    dataset = made([shape] * 2, patch_size=[4] * len(shape), repeats=100, channels=1)
    rows = np.arange(np.prod(shape), dtype=np.int64).reshape(shape).astype(np.uint8)
    dataset.read = lambda sample: _numbered(rows)  # every voxel has its own number
    (batch,) = epoch(loader(dataset, batch_size=200), 0)
    patches = batch["image"][:, 0].numpy()
    corners = {tuple(np.argwhere(rows == patch.flat[0])[0]) for patch in patches}
    for corner in corners:
        assert all(0 <= c <= n - 4 for c, n in zip(corner, shape, strict=True))
    for axis, n in enumerate(shape):
        assert {corner[axis] for corner in corners} == set(range(n - 3))
    assert (batch["label"].numpy() == patches % 3).all()


def _numbered(rows: np.ndarray):
    from relay.data import Case

    return Case(rows[..., None], rows % 3)


def test_small_pictures_are_reflected(made) -> None:
    dataset = made([(3, 3)], patch_size=[5, 3])
    dataset.read = lambda sample: _numbered(np.arange(9, dtype=np.uint8).reshape(3, 3))
    (batch,) = epoch(loader(dataset, batch_size=1), 0)
    assert batch["image"][0, 0].tolist() == [[3, 4, 5], [0, 1, 2], [3, 4, 5], [6, 7, 8], [3, 4, 5]]
    assert (batch["label"] == batch["image"][:, 0] % 3).all()


def test_pooled_stores_are_counted_through(made) -> None:
    pooled = stores(made([(4, 4)] * 3), made([(4, 4)] * 2))
    pool = Pool(pooled)
    assert len(pool) == 5
    assert [pool.sample(i).id for i in range(5)] == ["s0", "s1", "s2", "s0", "s1"]
    assert [int(pool[i][0].max()) for i in range(5)] == [0, 1, 2, 0, 1]
    joint = train_loader(pooled, made([]).options, batch_size=5, seed=1, site="joint")
    (batch,) = joint
    assert sorted(batch["index"].tolist()) == [0, 1, 2, 3, 4]


def test_who_was_in_a_batch(made) -> None:
    for rank in range(2):
        batches = loader(made([(4, 4)] * 16), batch_size=3, rank=rank, world_size=2)
        for i, batch in enumerate(epoch(batches, 4)):
            assert sample_ids(batches, 4, i) == [f"s{k}" for k in batch["index"].tolist()]


def test_sizes_that_do_not_go_together(made) -> None:
    mixed = made([(4, 4), (4, 5)])
    with pytest.raises(DataError, match=r"'made': images of 2 sizes \(4×4, 4×5\)") as caught:
        loader(mixed)
    assert "img_size" in caught.value.advice()
    with pytest.raises(DataError, match=r"patch_size \[2, 2, 2\] has 3 axes, its images 2"):
        loader(made([(4, 4)], patch_size=[2, 2, 2]))
    with pytest.raises(DataError, match="no images to train on"):
        train_loader([], mixed.options, batch_size=2, seed=1, site="made")


def test_what_volumes_can_not_have_is_refused_before_training(made) -> None:
    with pytest.raises(UserError, match="'full' is not available for volumes"):
        loader(made([(4, 4, 4)] * 4, augment={"train": "full"}))


def test_evaluation_goes_in_order_by_equal_sizes(made) -> None:
    shapes = [(4, 4)] * 5 + [(4, 6)] + [(4, 4)] * 2
    (store,) = stores(made(shapes))
    batches = list(eval_batches(store, 3))
    assert [batch["index"].tolist() for batch in batches] == [[0, 1, 2], [3, 4], [5], [6, 7]]
    for batch in batches:
        assert (batch["image"] == batch["index"][:, None, None, None]).all()
        assert batch["image"].shape[2:] == batch["label"].shape[1:] == shapes[int(batch["index"][0])]
    assert list(eval_batches(Store(made([]), []), 3)) == []


def drawn(weights: np.ndarray, number: int, repeats: int = 1, batch: int = 1) -> Counter[int]:
    sampler = TrainSampler(len(weights), repeats, batch, seed=1, site="made", weights=weights)
    assert sampler.order(number) == sampler.order(number)
    return Counter(sampler.order(number))


def test_every_class_is_drawn_as_often() -> None:
    targets = [0] * 30 + [1] * 6 + [2] * 4
    for number in range(5):
        found = drawn(balancing_weights(targets), number, repeats=3)
        assert sum(found.values()) == 120
        classes = Counter(targets[index] for index in found.elements())
        assert all(39 <= classes[each] <= 41 for each in (0, 1, 2))
        assert all(10 <= found[index] <= 11 for index in range(36, 40))  # alike within a class, too
        assert all(1 <= found[index] <= 2 for index in range(30))
    assert drawn(balancing_weights(targets), 0) != drawn(balancing_weights(targets), 1)


def test_of_several_labels_the_rarest_counts() -> None:
    weights = balancing_weights([(1, 0), (1, 0), (1, 1), (0, 0), (0, 0)])
    assert weights.tolist() == [1 / 3, 1 / 3, 1, 1 / 2, 1 / 2]


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=50), st.integers(0, 9))
def test_a_sample_is_drawn_as_its_weight_says(weights: list[float], number: int) -> None:
    found = drawn(np.array(weights), number, repeats=4)
    for index, weight in enumerate(weights):
        expected = 4 * len(weights) * weight / sum(weights)
        assert expected - 1 - 1e-6 <= found[index] <= expected + 1 + 1e-6


def test_balance_is_for_images_with_a_class(made) -> None:
    with pytest.raises(ValidationError, match="is for classification and multilabel; the task is segmentation"):
        made([(6, 5)] * 4, balance=True)


def test_patches_on_a_class(made) -> None:
    """Every class is as likely, however few voxels it has; the others are anywhere."""
    dataset = made([(40, 40)] * 6, patch_size=[7, 7], foreground=1.0, repeats=20)
    read = dataset.read

    def rare(sample):
        case = read(sample)
        case.target[:] = 0
        case.target[5:30, 5:30] = 1
        case.target[33, 8] = 2
        return case

    dataset.read = rare
    middles = torch.cat([batch["label"][:, 3, 3] for batch in epoch(loader(dataset), 0)])
    assert (middles > 0).all()
    assert 0.35 < (middles == 2).float().mean() < 0.65
    assert same(epoch(loader(dataset), 1), epoch(loader(dataset, workers=2), 1))
    dataset.options = dataclasses.replace(dataset.options, foreground=0.3)
    middles = torch.cat([batch["label"][:, 3, 3] for batch in epoch(loader(dataset), 0)])
    assert 0.05 < (middles == 2).float().mean() < 0.3


def test_patches_on_a_class_near_an_edge_and_in_small_or_empty_images(made) -> None:
    dataset = made([(5, 20), (20, 5), (20, 20)], patch_size=[7, 7], foreground=1.0, repeats=4)
    assert all(batch["label"].shape == (4, 7, 7) for batch in epoch(loader(dataset), 0))
    read = dataset.read
    dataset.read = lambda sample: dataclasses.replace(read(sample), target=np.zeros_like(read(sample).target))
    assert all(batch["label"].shape == (4, 7, 7) for batch in epoch(loader(dataset), 0))


def test_float_images_make_batches(made) -> None:
    steps = [{"name": "Normalise", "kwargs": {"how": "minmax"}}]
    for name in ("none", "flip"):
        dataset = made([(12, 10)] * 8, steps=steps, patch_size=[8, 8], augment={"train": name})
        (batch, _) = epoch(loader(dataset), 0)
        assert batch["image"].dtype == torch.float16
        assert batch["image"].shape == (4, 3, 8, 8)


def test_targets_that_are_no_maps_make_batches(made) -> None:
    dataset = made([(12, 10)] * 8, patch_size=[8, 8])
    read = dataset.read
    for target in (np.asarray(2), np.array([0, 1, 1], np.uint8), np.asarray(0.5, np.float32)):
        dataset.read = lambda sample, target=target: dataclasses.replace(read(sample), target=target)
        (batch, _) = epoch(loader(dataset), 0)
        assert batch["label"].shape == (4, *target.shape)
        assert (batch["label"].numpy() == target).all()
