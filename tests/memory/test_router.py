"""Where the router sends images, what it finds unlike every site, and what it takes from other sites."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from scipy.special import polygamma
from torch import Tensor

from relay.errors import HandoverError
from relay.handover import MemoryState, Privacy
from relay.memory.appearance import overall
from relay.memory.looks import FEWEST, PREFIX, QUANTILES, Looks, measure, read
from relay.memory.router import LEVEL, Router, _law, _numbers, _trigamma_inverse

RANGE = (-1.0, 1.0)


def pictures(shade: int, seed: int, many: int = 40, shape: tuple[int, ...] = (3, 12, 12)) -> Tensor:
    """uint8 images of a site: a shade and a contrast that vary from image to image, and noise."""
    draw = torch.Generator().manual_seed(seed)
    one = [many, *[1] * len(shape)]
    level = shade + 8 * torch.randn(one, generator=draw)
    contrast = 20 + 4 * torch.randn(one, generator=draw)
    return (level + contrast * torch.randn([many, *shape], generator=draw)).clamp(0, 255).to(torch.uint8)


def scaled(image: Tensor) -> Tensor:
    low, high = RANGE
    return image.float() / 255 * (high - low) + low


def names(many: int) -> list[str]:
    return [f"p{number}" for number in range(many)]


def looks(image: Tensor, patients: list[str] | None = None) -> Looks:
    found = measure(overall(image, QUANTILES), patients or names(len(image)), 10.0)
    assert found is not None
    return found


def state(found: Looks | None, kind: str = "style", channels: int = 3) -> MemoryState:
    return MemoryState(found.tensors if found else {}, kind, Privacy(derived="aggregates"), {"channels": channels})


def router(**shades: int) -> Router:
    made = {site: state(looks(pictures(shade, n))) for n, (site, shade) in enumerate(shades.items())}
    found = Router.of(made, RANGE)
    assert found is not None
    return found


def test_images_go_to_their_site_and_what_is_unlike_all_sites_to_all() -> None:
    found = router(north=80, south=140)
    assert found.sites == ("north", "south")
    images = scaled(torch.cat([pictures(shade, 9, 10) for shade in (80, 140, 230)]))
    weights = found.weights(images)
    assert weights.dtype == torch.float32
    assert torch.allclose(weights.sum(1), torch.ones(30))
    assert [weights[:10, 0].min() > 0.9, weights[10:20, 1].min() > 0.9] == [True, True]
    assert (weights[20:] == 0.5).all()
    assert (found.p_values(images[20:]) < LEVEL).all()
    assert torch.equal(found.weights(images[:3]), weights[:3]), "an image's weights don't depend on its batch"


def test_where_looks_overlap_weights_are_soft() -> None:
    weights = router(north=100, south=101).weights(scaled(pictures(100, 9)))
    assert weights.max(1).values.mean() < 0.75


def test_p_values_are_those_of_the_sites_own_images() -> None:
    """Uniform on new images of the site: mean over several draws of 20 patients."""
    found = torch.cat(
        [
            Router({"north": looks(pictures(100, seed, 20))}, 3, RANGE).p_values(scaled(pictures(100, 100 + seed, 200)))
            for seed in range(8)
        ]
    )
    for level, least, most in ((0.01, 0.0, 0.02), (0.1, 0.05, 0.15), (0.5, 0.42, 0.58)):
        assert least <= float((found < level).float().mean()) <= most


@pytest.mark.parametrize("shape", [(1, 12, 12), (1, 6, 6, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pictures_and_volumes_in_single_and_double(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    sites = {"north": looks(pictures(80, 1, 12, shape)), "south": looks(pictures(140, 2, 12, shape))}
    weights = Router(sites, shape[0], RANGE).weights(scaled(pictures(140, 3, 4, shape)).to(dtype))
    assert weights[:, 1].min() > 0.9


def test_sites_that_release_no_looks_are_left_out() -> None:
    one = looks(pictures(80, 1))
    found = Router.of({"west": state(None), "north": state(one), "east": state(one, "flow")}, RANGE)
    assert found is not None
    assert found.sites == ("north",)
    assert (found.weights(scaled(pictures(80, 2, 3))) == 1).all()
    assert Router.of({"west": state(None)}, RANGE) is None
    assert measure(overall(pictures(80, 1, FEWEST - 1), QUANTILES), names(FEWEST - 1), 1.0) is None


def test_channels_must_agree() -> None:
    grey, colour = (state(looks(pictures(80, 1, 8, (n, 6, 6))), channels=n) for n in (1, 3))
    with pytest.raises(HandoverError, match=r"north, south are of images with \[1, 3\] channels"):
        Router.of({"north": grey, "south": colour}, RANGE)
    with pytest.raises(ValueError, match="1 channels; the sites' images have 3"):
        router(north=80).weights(scaled(pictures(80, 1, 2, (1, 6, 6))))


def test_every_patient_counts_alike_however_many_images_there_are() -> None:
    images = pictures(100, 1, 12)
    again = looks(torch.cat([images, images[:1], images[:1]]), [*names(12), "p0", "p0"])
    for name, tensor in looks(images).tensors.items():
        assert torch.allclose(again.tensors[name], tensor, atol=1e-4), name


def test_what_is_released_is_small_and_few_patients_have_few_directions() -> None:
    assert state(looks(pictures(100, 1))).size < 1024
    assert len(looks(pictures(100, 1, 7)).spread) == 3


def test_many_patients_are_left_out_several_at_a_time() -> None:
    """Their distances are nearly those of one at a time."""
    few, many = looks(pictures(100, 1, 50)), looks(pictures(100, 1, 150))
    assert torch.allclose(few.distance, many.distance, atol=0.4)


def test_images_that_are_all_alike() -> None:
    found = Router({"north": looks(torch.full((6, 1, 8, 8), 90, dtype=torch.uint8))}, 1, RANGE)
    there, elsewhere = (torch.full((1, 1, 8, 8), grey, dtype=torch.uint8) for grey in (90, 120))
    assert found.p_values(scaled(there)) > LEVEL > found.p_values(scaled(elsewhere))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mean", torch.zeros(20), "does not say how whole images look"),
        ("mean", torch.zeros(0), "does not say how whole images look"),
        ("mean", torch.tensor(0.0), "does not say how whole images look"),
        ("mean", torch.full((21,), math.nan), "no release has"),
        ("mean", torch.full((21,), 1.5), "no release has"),
        ("variance", torch.full((21,), -1.0), "no release has"),
        ("variance", torch.zeros(21, dtype=torch.float64), "does not say how whole images look"),
        ("spread", torch.full((8,), 1e9), "no release has"),
        ("directions", torch.ones(8, 21), "no release has"),
        ("distance", torch.tensor([1e9, 1.0]), "no release has"),
        ("distance", torch.tensor([1.0, -1.0]), "no release has"),
        ("distance", torch.tensor([math.nan, 1.0]), "no release has"),
        ("more", torch.zeros(1), "does not say how whole images look"),
    ],
)
def test_looks_that_are_none_are_refused(name: str, value: Tensor, message: str) -> None:
    tensors = {**looks(pictures(100, 1)).tensors, PREFIX + name: value}
    with pytest.raises(HandoverError, match=f"the memory of north .*{message}"):
        Router.of({"north": MemoryState(tensors, "style", Privacy(derived="aggregates"), {"channels": 3})}, RANGE)


def test_too_many_directions_are_refused() -> None:
    found = dataclasses.replace(looks(pictures(100, 1)), directions=torch.zeros(9, 21), spread=torch.zeros(9))
    with pytest.raises(HandoverError, match="has 9 directions of looks; the most are 8"):
        read("north", state(found))


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 1e-6, 1.0, 4.0]), st.floats(-15, 15), st.floats(0, 900))
def test_whatever_is_accepted_gives_weights(seed: int, variance: float, mean: float, varies: float) -> None:
    """Of a dishonest site: also where its numbers contradict each other."""
    draw = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(4, 21, generator=draw), dim=1)
    odd = Looks(
        torch.rand(21, generator=draw) * 2 - 1,
        directions,
        torch.rand(4, generator=draw) * 4,
        torch.full((21,), variance),
        torch.tensor([mean, varies]),
    )
    made = Router.of({"odd": state(odd), "north": state(looks(pictures(100, 1, 9)))}, RANGE)
    assert made is not None
    weights = made.weights(scaled(pictures(100, seed, 3)))
    assert weights.isfinite().all()
    assert torch.allclose(weights.sum(1), torch.ones(3))
    assert bool(((made.p_values(scaled(pictures(100, seed, 3)))) <= 1).all())


@given(st.floats(1e-3, 1e3))
def test_the_inverse_of_trigamma(x: float) -> None:
    assert _trigamma_inverse(float(polygamma(1, x))) == pytest.approx(x, rel=1e-3)


@pytest.mark.parametrize("dof", [4.0, 12.0])
def test_scale_and_degrees_of_freedom_are_those_of_the_distances(dof: float) -> None:
    distances = 2.5 * 7 * np.random.default_rng(1).f(7, dof, 100_000)
    log = np.log(distances)
    scale, found = _law(log.mean(), log.var(), 7)
    assert scale == pytest.approx(2.5, rel=0.05)
    assert found == pytest.approx(dof, rel=0.05)


def test_distances_vary_as_those_of_so_many_numbers() -> None:
    log = np.log(np.random.default_rng(1).chisquare(4, 100_000))
    assert _numbers(log.var(), 21) == pytest.approx(4, rel=0.05)
    assert _numbers(0.0, 21) == pytest.approx(21, rel=1e-3), "at most all of them"


# -- real images -----------------------------------------------------------------------------------------------------


def site_of(folder: Path, patient: slice, mode: str) -> tuple[Tensor, list[str]]:
    """Small pictures of a site, and the patient of each."""
    paths = sorted((folder / "image").iterdir())
    found = [np.array(Image.open(path).convert(mode).resize((96, 96))) for path in paths]
    return torch.from_numpy(np.stack(found)).view(len(paths), 96, 96, -1).movedim(-1, 1), [
        p.stem[patient] for p in paths
    ]


def held_out(folder: Path, sites: dict[str, slice], mode: str, folds: int = 5) -> tuple[Tensor, Tensor, list[Tensor]]:
    """For images of patients who were left out: the site, the weights, and p-values at all sites."""
    images = {name: site_of(folder / name, patient, mode) for name, patient in sites.items()}
    whose, weights, p_values = [], [], []
    for fold in range(folds):
        made, left = {}, {}
        for name, (pictures, patients) in images.items():
            number = torch.tensor([sorted(set(patients)).index(one) for one in patients])
            out = number % folds == fold
            left[name] = pictures[out]
            made[name] = looks(pictures[~out], [one for one, o in zip(patients, out.tolist(), strict=True) if not o])
        router = Router(made, len(next(iter(left.values()))[0]), RANGE)
        for place, picture in enumerate(left.values()):
            whose.append(torch.full((len(picture),), place))
            weights.append(router.weights(scaled(picture)))
            p_values.append(router.p_values(scaled(picture)))
    return torch.cat(whose), torch.cat(weights), p_values


def test_real_photographs_go_to_the_hospital_they_are_from(shared_data: Path) -> None:
    sites = {"drive": slice(None), "chase_db1": slice(0, 8), "hrf": slice(0, 2)}
    whose, weights, p_values = held_out(shared_data / "fundus_vessels", sites, "RGB")
    found = torch.cat(p_values)
    own = found.gather(1, whose[:, None])[:, 0]
    others = found.scatter(1, whose[:, None], 0).max(1).values
    like = own >= LEVEL
    assert float((weights.argmax(1) == whose)[like].float().mean()) > 0.97
    assert float(like.float().mean()) > 0.95
    assert float((others < LEVEL).float().mean()) > 0.95, "were their own hospital not in the study"


def test_radiographs_that_look_alike_are_not_told_apart(shared_data: Path) -> None:
    """And the router says so: it is no surer than it is right."""
    sites = dict.fromkeys(("italy", "australia", "china", "spain"), slice(0, 4))
    whose, weights, p_values = held_out(shared_data / "cxr_lungs", sites, "L")
    right = float((weights.argmax(1) == whose).float().mean())
    assert abs(float(weights.max(1).values.mean()) - right) < 0.2
    own = torch.cat(p_values).gather(1, whose[:, None])
    assert float((own < LEVEL).float().mean()) < 0.04
