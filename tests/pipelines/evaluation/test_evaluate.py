"""Evaluation on a real Ray cluster, with errors that are known beforehand."""

import dataclasses
import json
import math
import sys
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import k3dn
from pipelines.dataset.record import Pair
from pipelines.dataset.version import open_version
from pipelines.errors import UserError
from pipelines.evaluation import evaluate
from pipelines.evaluation import measure as measuring
from pipelines.evaluation.config import EvaluateConfig
from pipelines.evaluation.explained import explained
from pipelines.evaluation.measure import keep, kept_scores, measure, plan
from pipelines.evaluation.scoring import SCORING, Scoring
from pipelines.registry.loading import SettledModel, settle
from pipelines.registry.registry import client_of, logged_model_id, resolve
from pipelines.scores import INPUT, PairScore, Quality, to_unit
from pipelines.storage import locate
from tests.pipelines.training.conftest import NETWORKS

OFFSET = 51 / 255
"""How much brighter the views are than the target."""

MEAN = f"{NETWORKS}:mean"
"""Imported by the workers of a cluster that other tests started, too."""


@pytest.mark.usefixtures("ray_cluster")
def test_figures_are_those_of_the_network(
    register_offset,  # type: ignore[no-untyped-def]
    root: str,
    tracking_uri: str,
    tmp_path: Path,
) -> None:
    register_offset("measured", 0.15)
    masks = tmp_path / "bright"
    masks.mkdir()
    cv2.imwrite(str(masks / "pair-1.png"), np.full((33, 47), 255, np.uint8))
    config = EvaluateConfig(
        root=root,
        tracking_uri=tracking_uri,
        model=["models:/measured@challenger"],
        datasets=["bright"],
        masks=str(tmp_path),
        num_workers=1,
    )
    result = evaluate.run(config)
    before, after = result.rows
    (focus,) = result.figures[1].by_kind.items()
    assert (focus[0], focus[1].pictures) == ("in focus", 1)
    assert focus[1].mean == pytest.approx(20 * math.log10(OFFSET / (OFFSET - 0.15)), abs=1e-3)
    assert (before.method, after.method) == (INPUT, "measured v1")
    assert (after.dataset, after.pairs, result.skipped) == ("bright@v1", 2, 1)
    assert before.psnr == pytest.approx(-20 * math.log10(OFFSET), abs=1e-4)
    assert after.psnr == pytest.approx(-20 * math.log10(OFFSET - 0.15), abs=1e-3)
    assert after.mae == pytest.approx(OFFSET - 0.15, abs=1e-5)
    assert after.rmse_rel == pytest.approx(OFFSET - 0.15, abs=1e-5)

    pairs = pq.read_table(Path(result.output) / "pairs.parquet").to_pylist()
    assert [pair["pair_id"] for pair in pairs] == ["pair-0", "pair-1"]
    kept = json.loads((Path(result.output) / "result.json").read_text())
    assert kept["references"] == ["models:/measured/1"]

    (run_id,) = result.run_ids
    run = client_of(tracking_uri).get_run(run_id)
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.name == "bright@v1"
    assert open_version(locate(root), "bright").digest.startswith(used.dataset.digest)
    metrics = run.data.metrics
    assert metrics["bright/v1/output_psnr"] == pytest.approx(after.psnr)
    assert metrics["bright/v1/input_psnr"] == pytest.approx(before.psnr)

    version = resolve("models:/measured/1", tracking_uri)
    assert "2 pictures of 2 scenes" in version.tags["k3dn.evaluation.bright/v1.test"]
    details = client_of(tracking_uri).get_model_version("measured", "1")
    assert "| bright@v1 | measured v1 | 2 (2) |" in details.description
    model_id = logged_model_id("measured", "1", tracking_uri)
    logged = client_of(tracking_uri).get_logged_model(model_id)
    assert {m.key: m.value for m in logged.metrics}["bright/v1/output_psnr"] == pytest.approx(
        after.psnr
    )

    def stamps() -> list[int]:
        kept = Path(root, "_evaluations").glob("*/result.json")
        return sorted(path.stat().st_mtime_ns for path in kept)

    before_again = stamps()
    again = evaluate.run(config)
    assert (again.rows, again.run_ids) == (result.rows, result.run_ids)  # no second run in MLflow
    assert stamps() == before_again  # read, not computed


@pytest.mark.usefixtures("ray_cluster")
def test_a_worker_that_fits_on_no_node_is_one_line(
    register_offset,  # type: ignore[no-untyped-def]
    root: str,
    tracking_uri: str,
) -> None:
    """Instead of waiting for ever."""
    register_offset("roomy", 0.19)
    common = {"root": root, "tracking_uri": tracking_uri, "model": ["models:/roomy@challenger"]}
    with pytest.raises(UserError, match=r"cpus_per_worker=4 fits on no node: .* 2 CPUs"):
        evaluate.run(EvaluateConfig(**common, datasets=["bright"], cpus_per_worker=4))  # type: ignore[arg-type]


@pytest.mark.usefixtures("ray_cluster")
def test_weights_that_are_gone_when_a_worker_loads_them_are_one_line(root: str) -> None:
    gone = SettledModel(f"{root}/gone.safetensors", "gone", "0", None)
    config = EvaluateConfig(root=root, datasets=["bright"])
    with pytest.raises(UserError, match=r"gone\.safetensors"):
        measure(config, gone, "")


def test_a_weights_file_is_known_by_the_code_of_its_factory(
    networks: Path, offset_code: str, tmp_path: Path
) -> None:
    source = networks / "edited_factory.py"
    source.write_text(offset_code)
    path = tmp_path / "w.safetensors"
    model = "edited_factory:offset"
    k3dn.save_weights(path, k3dn.build_model(model), name=model)
    before = settle(str(path), "unused", model)
    assert settle(str(path), "unused", model) == before
    source.write_text(offset_code.replace("self.number\n", "self.number / 2\n"))
    assert settle(str(path), "unused", model).identity != before.identity
    path.write_bytes(b"no safetensors")
    with pytest.raises(UserError, match="not a weights file of this project") as caught:
        settle(str(path), "unused")
    assert "\n" not in str(caught.value)


def test_two_factories_of_one_module_are_two_models(networks: Path, offset_code: str) -> None:
    """Else the scores of one were read as those of the other."""
    (networks / "two_factories.py").write_text(offset_code + "\nother = offset\n")
    one, other = (settle(f"two_factories:{name}", "unused") for name in ("offset", "other"))
    assert one.identity != other.identity


@pytest.mark.slow  # two processes of a model
def test_a_factory_is_known_by_the_weights_that_it_brings(
    networks: Path, offset_code: str, root: str
) -> None:
    """Else scores of other weights would be shown as its own."""
    held = networks / "held.txt"
    source = (
        offset_code + f"\ndef brought():\n    return offset(float(open({str(held)!r}).read()))\n"
    )
    (networks / "bringing.py").write_text(source)
    config = EvaluateConfig(root=root, model=["bringing:brought"], datasets=["bright"])
    identities = []
    for number in ("0.1", "0.1", "0.2"):
        held.write_text(number)
        (found,) = evaluate._settled(config, "unused").values()
        identities.append(found.identity)
    assert identities[0] == identities[1] != identities[2]


def test_a_factory_without_a_file_for_it_is_refused(root: str) -> None:
    config = EvaluateConfig(root=root, model=["box:nano"], factory="some.module:network")
    with pytest.raises(UserError, match=r"factory=some\.module:network would change nothing"):
        evaluate.run(config)


@pytest.mark.usefixtures("ray_cluster")
def test_a_weights_file_is_measured_too(root: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    torch.manual_seed(0)
    network = k3dn.build_model("nano", {"width": 4})
    k3dn.save_weights(path, network, name="nano", options={"width": 4})
    (tmp_path / "m.db").mkdir()
    result = evaluate.run(
        EvaluateConfig(
            root=root,
            tracking_uri=f"sqlite:///{tmp_path}/m.db",  # a folder is in its way
            model=[str(path)],
            datasets=["bright@v1"],
            max_pairs=1,
            num_workers=1,
        )
    )
    assert result.run_ids == ()
    pair = open_version(locate(root), "bright").read_pair("test", 0)
    assert pair.target is not None
    restored = k3dn.deblur(network, to_unit(pair.left), to_unit(pair.right), precision="fp32")
    expected = -10 * np.log10(np.mean((restored - to_unit(pair.target)) ** 2))
    assert result.rows[1].pairs == 1
    assert result.rows[1].psnr == pytest.approx(expected, abs=1e-3)


def test_unknown_dataset_and_empty_split_are_one_line(
    register_offset,  # type: ignore[no-untyped-def]
    root: str,
    tracking_uri: str,
) -> None:
    register_offset("measured", 0.15)
    common = {"root": root, "tracking_uri": tracking_uri, "model": ["models:/measured@challenger"]}
    with pytest.raises(UserError, match="did you mean 'bright'"):
        evaluate.run(EvaluateConfig(**common, datasets=["brigth"]))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="has no val pairs"):
        evaluate.run(EvaluateConfig(**common, datasets=["bright"], split="val"))  # type: ignore[arg-type]


def test_pairs_that_a_killed_evaluation_scored_are_not_scored_again(
    register_offset,  # type: ignore[no-untyped-def]
    root: str,
    tracking_uri: str,
) -> None:
    """All parts lie there, with a figure that no network would give; the third has no target."""
    register_offset("resumed", 0.11)
    model = settle("models:/resumed/1", tracking_uri)
    config = EvaluateConfig(root=root, tracking_uri=tracking_uri, datasets=["bright"])
    (held,) = plan(config, model)
    for index in range(2):
        made = PairScore("bright@v1", f"pair-{index}", *[Quality(77.0, 0.5, 0.1, 0.1)] * 2)
        part = json.dumps(dataclasses.asdict(made))
        held.folder.child("pairs", f"{index:06d}.json").write_bytes(part.encode())
    held.folder.child("pairs", "000002.json").write_bytes(b"null")
    assert kept_scores(config, model) is None
    measured = measure(config, model, tracking_uri)
    assert [score.output.psnr for score in measured.scores] == [77.0, 77.0]
    assert measured.skipped == 1
    assert held.folder.child("pairs").list() == []
    assert kept_scores(config, model) == measured.scores


def test_scores_that_other_code_made_are_not_read(
    networks: Path, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder that keeps them follows each module that scores."""
    config = EvaluateConfig(
        root=root, datasets=["bright"], tracking_uri="postgresql://me:secret@host/db"
    )
    model = settle("box:nano", "unused")
    (held,) = plan(config, model)
    score = PairScore("bright@v1", "pair-0", *[Quality(20, 0.5, 0.1, 0.1)] * 2)
    keep(config, model, held, [score], 2)
    assert kept_scores(config, model) == (score,)
    written = held.folder.child("result.json").read_bytes().decode()
    assert "secret" not in written and root not in written
    one, other = networks / "scoring_a.py", networks / "scoring_b.py"
    one.write_text("SCALE = 1\n")
    other.write_text("")
    monkeypatch.setattr(measuring, "SCORING", (*SCORING, "scoring_a", "scoring_b"))
    assert kept_scores(config, model) is None
    keys = {plan(config, model)[0].folder.name}
    one.write_text("SCALE = 2\n")
    keys.add(plan(config, model)[0].folder.name)
    other.write_text("SCALE = 2\n")
    one.write_text("SCALE = 1\n")
    keys.add(plan(config, model)[0].folder.name)
    assert len(keys) == 3


@pytest.mark.parametrize("register", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_each_module_that_scores_is_named(register: bool, known: bool, tmp_path: Path) -> None:
    """Whatever of ours runs while a pair is scored decides about scores that are kept."""
    rng = np.random.default_rng(3)
    left, right, target = rng.integers(0, 255, (3, 100, 120, 3), dtype=np.uint8)
    coc = np.linspace(-3, 3, left[..., 0].size, dtype=np.float16).reshape(left.shape[:2])
    pair = Pair(
        pair_id="a",
        scene_id="a",
        dataset="set",
        split="test",
        left=left,
        right=right,
        target=target,
        coc=coc if known else None,
    )
    cv2.imwrite(str(tmp_path / "a.png"), np.full(left.shape[:2], 255, np.uint8))
    ran = set()

    def notice(frame: FrameType, event: str, argument: object) -> None:
        ran.add(frame.f_globals.get("__name__", ""))

    scoring = Scoring(register, locate(str(tmp_path)))
    sys.setprofile(notice)
    try:
        score = scoring.score("set@v1", pair, to_unit(target), None)
    finally:
        sys.setprofile(None)
    sides = {region.name: region.pixels for region in score.regions if "radius" not in region.name}
    assert set(sides) == ({"in focus", "near", "far"} if known else {"in focus"})
    assert sum(sides.values()) == ((100 - 32) * (120 - 32) if register else 100 * 120)
    ours = {name for name in ran if name.split(".")[0] in ("k3dn", "pipelines", "synth")}
    reads = ("pipelines.storage", "pipelines.retry", "pipelines.failures", "pipelines.errors",
             "pipelines.dataset.images", "synth.pictures")  # fmt: skip
    assert {name for name in ours if not name.startswith(reads)} <= set(SCORING)
    assert {"k3dn.metrics", "pipelines.scores", "pipelines.evaluation.regions"} <= ours


@pytest.mark.parametrize("key", ["labels", "masks"])
def test_labels_and_masks_of_no_pair_are_refused_before_anything_is_measured(
    key: str, root: str, tmp_path: Path
) -> None:
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "foreign.png"), np.full((32, 32), 255, np.uint8))
    (tmp_path / "labels").write_text("pair_id,label\nforeign,indoor\n")
    config = EvaluateConfig(
        root=root, datasets=["bright"], model=["box:nano"], **{key: str(tmp_path / key)}
    )
    before = sorted(Path(root).rglob("*"))
    with pytest.raises(UserError, match=rf"{key}=.*pair-0") as caught:
        evaluate.run(config)
    assert "\n" not in str(caught.value)
    assert sorted(Path(root).rglob("*")) == before


def test_what_a_model_found_is_that_of_the_first_that_explains_itself(
    root: str,
) -> None:
    """Code of somebody's own is passed by; it does not run in this process."""
    config = EvaluateConfig(root=root, model=[MEAN, "box:nano"], datasets=["bright"])
    models = {name: settle(name, "unused") for name in config.model}
    even = Quality(20, 0.5, 0.1, 0.1)
    score = PairScore("bright@v1", "pair-1", even, even)
    found = explained(config, score, models, "unused")
    assert found is not None and (found.method, found.pair_id) == ("box:nano", "pair-1")
    pair = open_version(locate(root), "bright").read_pair("test", 1)
    expected = k3dn.explain(k3dn.box.load("nano"), to_unit(pair.left), to_unit(pair.right))
    np.testing.assert_array_equal(found.findings.in_focus, expected.in_focus)
    np.testing.assert_array_equal(found.findings.kernel_weights, expected.kernel_weights)
    assert explained(config, score, {MEAN: models[MEAN]}, "unused") is None


@pytest.mark.usefixtures("ray_cluster")
def test_several_models_are_measured_on_the_same_pairs(
    register_offset,  # type: ignore[no-untyped-def]
    root: str,
    tracking_uri: str,
) -> None:
    """A version, a factory, and the input, which is in the table anyway."""
    register_offset("several", 0.15)
    config = EvaluateConfig(
        root=root,
        tracking_uri=tracking_uri,
        model=["models:/several/1", "input", MEAN],
        datasets=["bright"],
        num_workers=1,
        pictures=1,
        cost_size="32x32",
    )
    result = evaluate.run(config)
    assert result.models == ("several v1", MEAN)
    before, first, second = result.figures
    assert [row.method for row in result.figures] == [INPUT, *result.models]
    assert second.psnr.mean == pytest.approx(before.psnr.mean, abs=1e-3)  # an offset of nothing
    assert second.over_first is not None
    loss = 20 * math.log10((OFFSET - 0.15) / OFFSET)
    assert second.over_first.mean == pytest.approx(loss, abs=1e-2)
    assert result.costs == {"several v1": (1, 0), MEAN: (1, 0)}
    assert first.seconds_per_megapixel is not None and first.seconds_per_megapixel > 0
    assert any("is not recorded" in mark for mark in result.marks)
    assert any("2 scenes" in mark for mark in result.marks)
    page = Path(result.output, "index.html").read_text()
    assert page.count("data:image/jpeg") >= 8 and MEAN in page
    rows = pq.read_table(Path(result.output) / "pairs.parquet").to_pylist()
    assert [row["model"] for row in rows] == ["several v1"] * 2 + [MEAN] * 2
    assert result.output not in Path(result.output, "result.json").read_text()
    client = client_of(tracking_uri)
    for run_id in result.run_ids:
        shown = client.download_artifacts(run_id, "result.json")
        assert json.loads(Path(shown).read_text())["references"] == ["models:/several/1"]
