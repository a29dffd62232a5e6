"""Which runs a comparison has."""

from __future__ import annotations

from typing import Any

import pytest

from relay.compare.compared import ComparedRun
from relay.compare.gather import CHOSEN, chosen_inside, cross_validated, labels_in, stand_ins
from relay.compare.jobs import Job, jobs_of, labels_of, orders_of, seeds_of
from relay.errors import UserError
from relay.plan import plan
from tests.studies import TINY, given

NAMES = {1: "a", 2: "b", 3: "c-d"}
THREE = {
    "all_tasks_datasets": [
        *TINY["all_tasks_datasets"],
        {"kwargs": {"task_id": 3, "task_name": "clinic_c", "camera": "clinic_c"}},
    ]
}


def jobs(names: str, orders: str = "1", seeds: str = "1", **changes: Any) -> list[Job]:
    return jobs_of(given(**changes), labels_of(names), orders, seeds, lambda blocks: plan(blocks, "tiny"))


# -- strategies --------------------------------------------------------------------------------------------------------


def test_options_of_a_strategy_can_be_changed() -> None:
    labels = "relay, relay[memory=null,merge=0.5],relay[memory.name=style,memory.kwargs.directions=2] ,relay"
    assert labels_of(labels) == [
        "relay",
        "relay[memory=null,merge=0.5]",
        "relay[memory.name=style,memory.kwargs.directions=2]",
    ]
    plain, changed, directions = jobs(labels, **{"common.strategy": {"name": "relay", "kwargs": {"replay": 0.25}}})
    assert len({job.folder for job in (plain, changed, directions)}) == 3
    options = [job.study.legs[0].strategy.options for job in (plain, changed, directions)]
    assert [option.replay for option in options] == [0.25] * 3
    assert [option.merge for option in options] == [0, 0.5, 0]
    assert options[1].memory is None
    assert options[2].memory.kwargs == {"directions": 2}


@pytest.mark.parametrize("text", ["relay[merge=0.2", "relay]", "[merge=0.2]", "relay[]", "relay[merge=1]x"])
def test_brackets_go_together(text: str) -> None:
    with pytest.raises(UserError, match="can't be read"):
        labels_of(text)


def test_what_is_changed_is_checked() -> None:
    with pytest.raises(UserError, match="is not of the form key=value"):
        jobs("relay[merge]")
    for unreadable in ("relay[merge={]", "relay[merge='a]", "relay[merge=${x]", "relay[memory.a=1,memory=${y}]"):
        with pytest.raises(UserError):
            jobs(unreadable)
    with pytest.raises(UserError, match=r"relay\[merge=2\]: kwargs\.merge = 2: "):
        jobs("relay[merge=2]")


# -- orders and seeds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "orders"),
    [
        ("1", [[1, 2, 3]]),
        ("3", [[1, 2, 3], [2, 3, 1], [3, 1, 2]]),
        ("a,b,c-d/3,2,1", [[1, 2, 3], [3, 2, 1]]),
        (" c-d , a,b / c-d,a,b ", [[3, 1, 2]]),
    ],
)
def test_orders(text: str, orders: list[list[int]]) -> None:
    assert orders_of(text, [1, 2, 3], NAMES) == orders


def test_every_order_comes_once_however_many_are_asked_for() -> None:
    found = orders_of("6", [1, 2, 3], NAMES)
    assert len({tuple(order) for order in found}) == 6
    four = orders_of("24", [4, 3, 2, 1], {})
    assert len({tuple(order) for order in four}) == 24
    assert {order[0] for order in four[:4]} == {order[-1] for order in four[:4]} == {1, 2, 3, 4}
    assert orders_of("2", [1, 2], NAMES) == [[1, 2], [2, 1]]


@pytest.mark.parametrize(
    ("text", "said", "advice"),
    [
        ("7", "3 sites have 6 orders", "at least 1"),
        ("0", "3 sites have 6 orders", "at least 1"),
        ("a,b,x", "'x' is not a site of this study", "a (1), b (2), c-d (3)"),
        ("a,b,c-e", "did you mean 'c-d'?", "orders by slashes"),
        ("a,b", "must name each site once: a (1), b (2), c-d (3)", "complete orders"),
        ("a,b,c-d,a", "must name each site once", "complete orders"),
        ("99999999999999999999", "3 sites have 6 orders", "at least 1"),
        ("9" * 5000, "3 sites have 6 orders", "at least 1"),
        ("²", "'²' is not a site", "Sites:"),
        ("-1", "'-1' is not a site", "Sites:"),
        ("", "'' is not a site", "Sites:"),
    ],
)
def test_wrong_orders(text: str, said: str, advice: str) -> None:
    with pytest.raises(UserError) as caught:
        orders_of(text, [1, 2, 3], NAMES)
    assert said in str(caught.value)
    assert advice in caught.value.advice()


def test_seeds() -> None:
    assert seeds_of("1", 1314) == [1314]
    assert seeds_of("3", 7) == [7, 8, 9]
    assert seeds_of("5, 0,5", 7) == [5, 0]
    assert seeds_of("7,", 1) == [7]


@pytest.mark.parametrize("text", ["0", "", "x", "-1", "1,-2", "1;2", "1.5", ",", "²", "1,²"])
def test_wrong_seeds(text: str) -> None:
    with pytest.raises(UserError, match="must be a number of seeds") as caught:
        seeds_of(text, 7)
    assert "7," in caught.value.advice()


@pytest.mark.parametrize("text", ["4294967296,1", "9" * 5000, "4294967295"])
def test_seeds_that_are_too_large(text: str) -> None:
    with pytest.raises(UserError, match=r"too large|not that many") as caught:
        seeds_of(text, 7)
    assert caught.value.advice() == "A seed is 0 to 4294967295."
    assert seeds_of("4294967295,", 7) == [4294967295]


# -- runs --------------------------------------------------------------------------------------------------------------


def test_what_starts_from_nothing_runs_once_a_seed() -> None:
    found = jobs("local,sequential,joint", "2", "2")
    assert [job.folder for job in found] == [
        *(f"{name}_seed7" for name in ("local", "sequential_1-2", "joint", "sequential_2-1")),
        *(f"{name}_seed8" for name in ("local", "sequential_1-2", "joint", "sequential_2-1")),
    ]
    backwards = found[3]
    assert (backwards.order, backwards.seed) == (("clinic_b", "clinic_a"), 7)
    assert [leg.task_id for leg in backwards.study.legs] == [2, 1]
    assert backwards.study.legs[1].start == "task_2"
    assert {leg.conf.random_seed for job in found[4:] for leg in job.study.legs} == {8}
    assert str(backwards) == "sequential, clinic_b→clinic_a, seed 7"


def test_each_site_is_left_out_in_turn_where_that_changes_something() -> None:
    config = given(**THREE, **{"current_tasks.task_ids": [1, 2, 3]})
    chosen = labels_of("local,sequential,joint")
    found = jobs_of(config, chosen, "1,2,3/3,1,2", "1", lambda blocks: plan(blocks, "tiny"), leave_out=True)
    assert [job.folder for job in found] == [
        *("local_seed7", "sequential_1-2-3_seed7", "joint_seed7", "sequential_3-1-2_seed7"),
        *("sequential_2-3_without1_seed7", "joint_without1_seed7", "sequential_3-2_without1_seed7"),
        *("sequential_1-3_without2_seed7", "joint_without2_seed7", "sequential_3-1_without2_seed7"),
        *("sequential_1-2_without3_seed7", "joint_without3_seed7"),  # both orders are the same without it
    ]
    last = found[-2]
    assert (last.left_out, str(last)) == (("clinic_c", 3), "sequential, clinic_a→clinic_b, without clinic_c, seed 7")
    assert [data.options.task_name for data in found[-1].study.legs[0].pool] == ["clinic_a", "clinic_b"]
    assert [data.options.task_name for data in last.study.test_sets] == ["clinic_a", "clinic_b", "clinic_c"]
    alone = given(**{"current_tasks.task_ids": [1]})
    with pytest.raises(UserError, match="one site") as caught:
        jobs_of(alone, chosen, "1", "1", lambda blocks: plan(blocks, "tiny"), leave_out=True)
    assert "at least two" in caught.value.advice()


def test_each_fold_is_a_run() -> None:
    def plans(**changes: Any) -> list[Job]:
        config = given(**THREE, **changes)
        return jobs_of(config, ["sequential", "joint"], "1", "1", lambda blocks: plan(blocks, "tiny"), folds=2)

    found = plans()
    folders = [f"{name}_fold{fold}of2_seed7" for fold in (1, 2) for name in ("sequential_1-2", "joint")]
    assert [job.folder for job in found] == folders
    assert str(found[-1]) == "joint, fold 2/2, seed 7"
    assert len({job.whole for job in found}) == 2
    sets = [{data.options.task_name: data.options.fold for data in job.study.test_sets} for job in found]
    assert sets[-1] == {"clinic_a": "2/2", "clinic_b": "2/2", "clinic_c": None}  # the last one takes no part
    with pytest.raises(UserError, match="the config has fold: 1/3 for clinic_a"):
        plans(**{"common.dataset.kwargs.fold": "1/3"})
    with pytest.raises(UserError, match="can't be combined"):
        jobs_of(given(), ["joint"], "1", "1", lambda blocks: plan(blocks, "tiny"), leave_out=True, folds=2)


def nested(*labels: str) -> list[Job]:
    return jobs_of(given(**THREE), labels, "1", "1", lambda blocks: plan(blocks, "tiny"), folds=2, inner=2)


def test_inner_folds_are_runs_that_only_choose() -> None:
    settings = "merge[merge=0]", "merge[merge=0.9]"
    found = nested(*settings)
    assert len(found) == 4 + 8
    assert [job.inner for job in found] == [False] * 4 + [True] * 8
    last = found[-1]
    assert last.folder == "merge-merge-0.9-_1-2_fold2of2_inner2of2_seed7"
    assert str(last).endswith("fold 2/2, inner fold 2/2, seed 7")
    assert len({job.whole for job in found}) == 2 + 4
    options = {data.options.task_name: data.options for data in last.study.test_sets}
    assert (options["clinic_a"].fold, options["clinic_a"].inner_fold) == ("2/2", "2/2")
    assert options["clinic_c"].inner_fold is None
    for labels in (settings[:1], ("relay", "joint")):
        with pytest.raises(UserError, match="settings of one strategy"):
            nested(*labels)


def test_the_choice_is_made_on_inner_folds_only() -> None:
    """Where the outer folds would choose otherwise; a fold that lacks an inner run leaves no choice at all."""
    settings = "merge[merge=0]", "merge[merge=0.9]"
    found = nested(*settings)
    best = {"1/2": "merge[merge=0.9]", "2/2": "merge[merge=0]"}
    whole: dict[Any, Any] = {}
    for job in found:
        right = best[job.fold[0]] == job.label if job.inner else job.label == "merge[merge=0]"
        run = ComparedRun({"label": job.label, "task": "segmentation", "mean": 0.9 if right else 0.5}, {})
        whole[job.whole] = [each for each in found if each.whole == job.whole], run
    (chosen,) = chosen_inside(found, whole)
    assert [(job.fold, job.label) for job in chosen] == [(("1/2",), best["1/2"]), (("2/2",), best["2/2"])]
    assert labels_in(found)[-1] == CHOSEN
    assert "2 inner folds" in " ".join(cross_validated(found))
    lost = next(job.whole for job in found if job.inner)
    unknown = ComparedRun({"label": settings[0], "task": "segmentation", "mean": float("nan")}, {})
    assert not list(chosen_inside(found, {**whole, lost: (whole[lost][0], unknown)}))
    assert not list(chosen_inside(found, {name: each for name, each in whole.items() if name != lost}))


def test_own_runs_do_not_depend_on_the_orders_asked_for() -> None:
    (job,) = jobs("local", "clinic_b,clinic_a")
    (plain,) = jobs("local")
    assert (job.folder, job.given) == (plain.folder, plain.given)


def test_the_configs_own_strategy_keeps_its_options() -> None:
    own = {"name": "lwf", "kwargs": {"temperature": 3.0}}
    lwf, sequential = jobs("lwf,sequential", **{"common.strategy": own})
    assert lwf.given["common"]["strategy"] == own
    assert sequential.given["common"]["strategy"] == {"name": "sequential"}


@pytest.mark.parametrize(("epochs", "laps"), [(6, 3), (10, 2), (4, 2), (7, 1), (1, 1)])
def test_laps_share_the_epochs_evenly_or_are_fewer(epochs: int, laps: int) -> None:
    (job,) = jobs("fedavg", **{"common.train.num_epochs": epochs})
    assert job.laps == laps
    assert len(job.study.legs) == 2 * laps
    assert sum(leg.train.num_epochs or 0 for leg in job.study.legs) == 2 * epochs


def test_laps_share_millions_of_images_and_every_tasks_own_budget() -> None:
    own = {2: {"train": {"num_mimgs": 0.3}}}
    changes = {"common.train.num_epochs": None, "common.train.num_mimgs": 0.03, "current_tasks.task_confs": own}
    (job,) = jobs("fedavg", **changes)
    assert job.laps == 3
    assert [leg.train.num_mimgs for leg in job.study.legs] == pytest.approx([0.01, 0.1] * 3)
    assert given(**changes)["current_tasks"]["task_confs"][2]["train"]["num_mimgs"] == 0.3


def test_laps_that_the_config_asks_for_stay_as_they_are() -> None:
    fedavg, sequential = jobs("fedavg,sequential", **{"current_tasks.laps": 2})
    assert fedavg.laps == sequential.laps == 1
    assert len(fedavg.study.legs) == len(sequential.study.legs) == 4
    assert fedavg.given["common"]["train"] == sequential.given["common"]["train"]


def test_what_a_leg_loads_holds_in_the_configs_own_order_only() -> None:
    confs = {1: {"checkpoint": {"load": None}}, 2: {"checkpoint": {"load": "task_1", "save": {"dir": "second"}}}}
    own, turned = jobs("sequential", "2", **{"current_tasks.task_confs": confs})
    assert [leg.start for leg in own.study.legs] == [None, "task_1"]
    assert [leg.start for leg in turned.study.legs] == [None, "second"]
    assert confs[2]["checkpoint"]["load"] == "task_1"


def test_joint_pools_the_sites_of_the_orders_and_no_others() -> None:
    (joint,) = jobs("joint", **THREE)
    assert [data.options.task_name for data in joint.study.legs[0].pool] == ["clinic_a", "clinic_b"]
    (whole,) = jobs("joint", **THREE, **{"current_tasks.task_ids": [1, 2, 3]})
    assert len(whole.study.legs[0].pool) == 3
    assert whole.given["common"]["strategy"] == {"name": "joint"}


def test_a_strategy_of_ones_own_has_a_folder_of_plain_letters() -> None:
    (job,) = jobs("relay.strategies.local:Local")
    assert job.folder == "relay.strategies.local-Local_seed7"


def test_images_that_stand_in_for_test_images_are_named() -> None:
    assert stand_ins(jobs("local")) == []
    (sentence,) = stand_ins(jobs("local", **{"common.dataset.kwargs.split": "validation"}))
    assert "stand in for the test images of clinic_a, clinic_b: split: validation" in sentence


@pytest.mark.parametrize(
    ("names", "changes", "said"),
    [
        ("jiont", {}, "did you mean 'joint'"),
        ("local", {"common.train.batch_size": 0}, "batch_size"),
        (
            "local",
            {"current_tasks": {"task_ids": [1], "mode": "deployment", "handoff": {"study": "s"}}},
            "is a deployment",
        ),
        (
            "local",
            {
                "current_tasks": {"task_ids": [1], "mode": "deployment", "handoff": {"study": "s"}},
                "common.dataset.kwargs.split": "validation",
            },
            "a deployment tests on test images",
        ),
        (
            "local",
            {
                "current_tasks": {"task_ids": [1], "mode": "deployment", "handoff": {"study": "s"}},
                "common.dataset.kwargs.fold": "1/2",
            },
            "is for simulations, to cross-validate",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(names: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        jobs(names, **changes)
    assert said.lower() in f"{caught.value} {caught.value.advice()}".lower()
