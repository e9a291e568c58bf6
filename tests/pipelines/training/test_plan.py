"""What a run is: its data resolved, its name and digest, and who may go on with it."""

import json
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from pipelines.errors import UserError
from pipelines.training import plan as plan_module
from pipelines.training.config import TrainConfig
from pipelines.training.live.config import LiveConfig
from pipelines.training.plan import PLAN, claim, plan_run
from tests.pipelines.training.versions import make_pair, write_version

Small = Callable[..., TrainConfig]


def test_references_are_resolved(small: Small) -> None:
    plan = plan_run(small())
    assert [(s.reference, s.rows, s.repeat) for s in plan.sources] == [
        ("soft@v1", 5, 1),
        ("real@v1", 2, 3),
    ]
    assert [(s.reference, s.rows) for s in plan.val_sources] == [("soft@v1", 3), ("real@v1", 1)]


def test_what_decides_the_result_decides_the_name(small: Small) -> None:
    base = plan_run(small())
    same = small(
        num_workers=3,
        checkpoint_every=1,
        register=None,
        cpus_per_worker=0.1,
        channels_last=True,
        compile=True,
        accumulate=2,
        tf32=False,
        val_precision="bf16",
        on_nan="skip",
        pair_workers=3,
        live=LiveConfig(made=0.1),  # of no pair here
    )
    assert plan_run(same).name == base.name
    for changes in (
        {"lr": 1e-3},
        {"seed": 1},
        {"datasets": ["soft"]},
        {"reblur_every": 2},
        {"precision": "bf16"},
        {"disparity_loss": 0.3},
        {"exchange_views": 0.25},
        {"recolour": 0.1},
        {"same_views": 0.1},
        {"noise": 0.01},
        {"seconds": 60.0},
    ):
        assert plan_run(small(**changes)).name != base.name


def test_a_new_latest_is_another_run(small: Small) -> None:
    config = small(datasets=["soft@latest"])
    before = plan_run(config)
    write_version(config.root, "soft", "v2", [make_pair("soft", "train", i) for i in range(6)])
    after = plan_run(config)
    assert after.sources[0].reference == "soft@v2"
    assert after.name != before.name


def test_a_name_belongs_to_one_configuration(small: Small) -> None:
    config = small(name="mine")
    claim(plan_run(config))
    claim(plan_run(replace(config, num_workers=1)))
    with pytest.raises(UserError, match=r"run 'mine' .* lr=0.003.*soft@v1.*another name"):
        claim(plan_run(replace(config, lr=1e-4)))


def test_a_plan_that_arrives_garbled_is_refused(small: Small) -> None:
    plan = plan_run(small())
    plan.check_arrived()
    with pytest.raises(RuntimeError, match="different versions of this program"):
        replace(plan, config=replace(plan.config, seed=1)).check_arrived()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": ["sofd"]}, "did you mean 'soft'"),
        ({"datasets": ["soft@v9"]}, "no version 'v9'"),
        ({"datasets": ["soft*0"]}, "repeat"),
        ({"datasets": ["soft*x"]}, "repeat"),
        ({"name": "../out"}, "letters, digits"),
        ({"root": "memory://data"}, "use a folder"),
    ],
)
def test_mistakes_are_told_in_one_line(small: Small, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        plan_run(small(**changes))
    assert "\n" not in str(caught.value)


def test_a_dataset_without_training_pairs_is_refused(small: Small) -> None:
    config = small(datasets=["held"])
    write_version(config.root, "held", "v1", [make_pair("held", "test", 0)])
    with pytest.raises(UserError, match="held@v1 has no training pairs"):
        plan_run(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"num_workers": 5}, "must not exceed batch_size"),
        ({"register": "mine/first"}, "register must be a name without / : @"),
        ({"ema": 1.0}, "ema must be in"),
        ({"lr": 0.0}, "lr must be greater than 0"),
        ({"datasets": []}, "datasets must name"),
        ({"patch": 8}, "patch must be at least 16"),
        ({"reblur_every": 0}, "reblur_every must be at least 1"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"disparity_loss": -0.1}, "disparity_loss must be finite and at least 0"),
        ({"disparity_loss": math.nan}, "disparity_loss must be finite"),
        ({"exchange_views": 1.5}, r"exchange_views must be in \[0, 1\]"),
        ({"recolour": -0.1}, r"recolour must be in \[0, 1\]"),
        ({"same_views": 1.1}, r"same_views must be in \[0, 1\]"),
        ({"noise": -0.1}, r"noise must be in \[0, 1\]"),
        ({"exchange_views": math.nan}, r"exchange_views must be in \[0, 1\]"),
        ({"lambda_1": -0.1}, "lambda_1 must be finite and at least 0"),
        ({"lambda_1": math.inf}, "lambda_1 must be finite and at least 0"),
        ({"lr": math.nan}, "lr must be greater than 0"),
        ({"seconds": 0.0}, "seconds must be greater than 0"),
        ({"seconds": math.nan}, "seconds must be greater than 0"),
        ({"pair_workers": -1}, "pair_workers must be at least 0"),
        ({"weight_decay": math.nan}, "weight_decay must be at least 0"),
    ],
)
def test_ranges_are_checked(small: Small, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_a_long_run_of_an_older_order_is_not_gone_on_with(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_run(small())
    claim(plan)
    record = plan.folder.child(PLAN)
    before = json.loads(record.read_bytes())
    del before["order"]
    record.write_bytes(json.dumps(before).encode())
    claim(plan)  # short epochs are the same in both
    monkeypatch.setattr(plan_module, "SORTED_AT_MOST", 10)
    with pytest.raises(UserError, match=r"takes the 11 samples of an epoch in another order"):
        claim(plan)
