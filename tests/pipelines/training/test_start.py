"""Second stages and fine-tuning: from which weights a run begins, and what of it learns."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import k3dn
from k3dn import build_model
from pipelines.errors import UserError
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.keeper import BEST, WEIGHTS
from pipelines.training.loader import local_batches
from pipelines.training.loop import fit
from pipelines.training.plan import RunPlan, claim, plan_run
from pipelines.training.record import read_rows
from pipelines.training.start import bring_start, learning_parts, read_start
from tests.pipelines.training.versions import make_pair, write_version

Small = Callable[..., TrainConfig]
OPTIONS = {"width": 2, "disparity_channels": 4, "psf_blocks": 1}


def train(config: TrainConfig, factory: str | None = None) -> dict[str, torch.Tensor]:
    plan = prepared(config)
    fit(plan, ProcessContext(), local_batches)
    return k3dn.load_weights(weights_of(plan), factory).state_dict()


def prepared(config: TrainConfig) -> RunPlan:
    plan = plan_run(config)
    claim(plan)
    bring_start(plan, build_model(config.model, config.network), "unused")
    return plan


def test_a_run_begins_with_weights_in_the_box(small: Small) -> None:
    """They lie in 16 bit; what the run begins with is float32, and of the same values."""
    plan = prepared(small(name="boxed", model="nano", start_from="box:nano", steps=1))
    expected = k3dn.box.load("nano").state_dict()
    learner = build_model("nano")
    learner.load_state_dict(read_start(plan.folder))
    found = learner.state_dict()
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    with pytest.raises(UserError, match="start_from box:nano was trained with width=8"):
        prepared(small(name="wide", model="nano", network={"width": 4}, start_from="box:nano"))
    with pytest.raises(UserError, match="there is no box:nanno"):
        prepared(small(name="absent", model="nano", start_from="box:nanno"))


def weights_of(plan: RunPlan) -> Path:
    path = plan.folder.child(WEIGHTS).local_path()
    assert path is not None
    return path


@pytest.mark.parametrize("local_norm", [True, False])
def test_two_stages_train_the_srp_blocks_on_a_frozen_network(
    small: Small, local_norm: bool
) -> None:
    options = {**OPTIONS, "local_norm": local_norm}  # off: batch normalisation, with statistics
    first = small(name="first", model="nano", network={**options, "srp": False}, steps=4)
    before = train(first)
    second = small(
        name="second",
        model="nano",
        network=options,
        steps=4,
        start_from=str(weights_of(plan_run(first))),
        train_only=["srp"],
    )
    after = train(second)
    assert before.keys() < after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    torch.manual_seed(0)
    added = after.keys() - before.keys()
    assert all(".srp." in key for key in added)
    once_more = train(small(**{**vars_of(second), "name": "third", "steps": 5}))
    assert any(not torch.equal(after[key], once_more[key]) for key in added), "they learn"


@pytest.mark.slow
def test_a_readout_that_is_left_behind_is_not_believed(small: Small) -> None:
    """Fine-tuning without known radii moves R under the readout; a frozen R stays under it."""

    def shown(name: str, options: dict[str, object], **keys: object) -> tuple[Path, bool]:
        config = small(name=name, model="nano", network=options, steps=3, **keys)
        train(config)
        path = weights_of(plan_run(config))
        views = torch.rand(2, 32, 32, 3).numpy()
        return path, k3dn.explain(k3dn.load_weights(path), *views).coc_px is not None

    root = small().root
    write_version(root, "known", "v1", [make_pair("known", "train", 0, with_coc=True)])
    early = {**OPTIONS, "srp": False}
    taught, believed = shown("taught", early, datasets=["known", "real"])
    assert believed
    second = {"start_from": str(taught), "train_only": ["srp"]}
    assert shown("second", OPTIONS, **second)[1]
    for keys in ({"datasets": ["real"]}, {"datasets": ["known"], "disparity_loss": 0.0}):
        name = f"tuned-{keys['datasets'][0]}"
        tuned, believed = shown(name, early, start_from=str(taught), **keys)
        assert not believed
    again = {"start_from": str(tuned), "train_only": ["srp"]}
    assert not shown("again", OPTIONS, datasets=["real"], **again)[1]
    assert shown("back", early, datasets=["known"], start_from=str(tuned))[1]


def vars_of(config: TrainConfig) -> dict[str, object]:
    keys = ("model", "network", "start_from", "train_only")
    return {key: getattr(config, key) for key in keys}


def test_fine_tuning_goes_on_from_the_weights(small: Small) -> None:
    first = small(name="first", model="nano", network=OPTIONS, steps=4)
    before = train(first)
    path = str(weights_of(plan_run(first)))
    still = small(
        name="still", model="nano", network=OPTIONS, steps=1, start_from=path, lr=1e-12,
        weight_decay=0.0,
    )  # fmt: skip
    for key, value in train(still).items():
        torch.testing.assert_close(value, before[key], atol=1e-6, rtol=0)


def test_the_best_weights_of_a_fine_tuning_are_never_worse_than_its_start(small: Small) -> None:
    first = small(name="first", model="nano", network=OPTIONS, steps=4)
    before = train(first)
    path = str(weights_of(plan_run(first)))
    keys = {"start_from": path, "max_val_pairs": 1, "steps": 2}
    harmful = small(name="harmful", model="nano", network=OPTIONS, lr=0.3, **keys)
    after = train(harmful)
    assert any(not torch.equal(after[key], before[key]) for key in before)
    folder = plan_run(harmful).folder
    best = k3dn.load_weights(str(folder.child(BEST).local_path()))
    for key, value in best.state_dict().items():
        assert torch.equal(value, before[key])
    validated = {row["step"]: row["val_psnr"] for row in read_rows(folder) if "val_psnr" in row}
    assert sorted(validated) == [0, 2] and validated[0] > validated[2]


def test_a_run_keeps_the_weights_that_it_began_with(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    k3dn.save_weights(path, build_model("nano", OPTIONS), name="nano", options=OPTIONS)
    config = small(model="nano", network=OPTIONS, steps=1, start_from=str(path))
    began = prepared(config).folder.child("start.safetensors").read_bytes()
    path.unlink()
    assert prepared(config).folder.child("start.safetensors").read_bytes() == began


@pytest.mark.parametrize(
    ("network", "train_only", "words"),
    [
        ({**OPTIONS, "width": 3}, [], "was trained with width=2 .here 3."),
        ({**OPTIONS, "gated_values": False}, [], "gated_values=True .here False."),
        ({**OPTIONS, "srp": False}, ["srp"], "no part 'srp'|which this network lacks"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(
    small: Small, tmp_path: Path, network: dict[str, int], train_only: list[str], words: str
) -> None:
    path = tmp_path / "w.safetensors"
    k3dn.save_weights(path, build_model("nano", OPTIONS), name="nano", options=OPTIONS)
    config = small(model="nano", network=network, start_from=str(path), train_only=train_only)
    with pytest.raises(UserError, match=words) as caught:
        prepared(config)
    assert "\n" not in str(caught.value)


def test_somebodys_network_goes_on_from_its_own_weights(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    model = small().model
    network = build_model(model)
    k3dn.save_weights(path, network, name=model)
    began = train(small(steps=1, lr=1e-12, start_from=str(path)), model)
    for key, value in network.state_dict().items():
        torch.testing.assert_close(began[key], value, atol=1e-6, rtol=0)


@pytest.mark.parametrize("model", ["nano", "tests.pipelines.training.networks:tiny"])
def test_code_that_weights_name_does_not_run(small: Small, tmp_path: Path, model: str) -> None:
    path, canary = tmp_path / "w.safetensors", tmp_path / "canary"
    options = {"args": ["touch", str(canary)]}
    k3dn.save_weights(path, build_model(model), name="subprocess:check_output", options=options)
    with pytest.raises(UserError, match="for the network of 'subprocess:check_output', not of"):
        prepared(small(model=model, network={}, start_from=str(path)))
    assert not canary.exists()


def test_a_refused_file_leaves_nothing_behind(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"no weights")
    config = small(model="nano", network=OPTIONS, steps=1, start_from=str(path))
    with pytest.raises(UserError, match="not a weights file of this project"):
        prepared(config)
    k3dn.save_weights(path, build_model("nano", OPTIONS), name="nano", options=OPTIONS)
    prepared(config)


def test_an_unknown_part_and_a_missing_start_are_refused(small: Small) -> None:
    with pytest.raises(ValueError, match="no part 'srpp'; it has encoder"):
        learning_parts(build_model("nano"), ["srpp"])
    with pytest.raises(ValueError, match="train_only needs start_from"):
        small(train_only=["srp"])
