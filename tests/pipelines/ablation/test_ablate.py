"""Tables of networks: what each row lacks, what seeds come to, and one that is trained in small."""

import dataclasses
import itertools
import json
import multiprocessing
import os
import signal
import statistics
from pathlib import Path
from typing import Any

import pytest

import k3dn
from pipelines.ablation.config import AblateConfig
from pipelines.ablation.over_seeds import by_seed, mean_score
from pipelines.ablation.rows import rows_of, training_of
from pipelines.ablation.run import _pinned, run
from pipelines.errors import UserError
from pipelines.scores import INPUT, PairScore, Quality, Region
from pipelines.storage import locate
from pipelines.training.config import TrainConfig
from pipelines.training.learner import Learner
from pipelines.training.record import read_rows, read_samples
from tests.pipelines.training.versions import make_pair, write_version


def parts_of(config: AblateConfig) -> dict[str, tuple[bool, bool, bool]]:
    """By row: whether its network has PSF and SRP blocks, and whether it learns to reblur."""
    found = {}
    for row in rows_of(config):
        training = training_of(config, row, 0)
        network = k3dn.build_model(training.model, training.network)
        kinds = {type(module).__name__ for module in network.modules()}
        psf, srp = (any(part in kind for kind in kinds) for part in ("PSF", "SRP"))
        found[row.label] = (psf, srp, training.lambda_1 > 0)
    return found


def test_the_rows_of_table_4_are_those_of_the_paper() -> None:
    assert parts_of(AblateConfig(table="4")) == {
        "PSF + SRP + reblur": (True, True, True),
        "PSF + SRP": (True, True, False),
        "PSF + reblur": (True, False, True),
        "SRP": (False, True, False),
        "PSF": (True, False, False),
    }


@pytest.mark.parametrize(
    ("keys", "kernels"),
    [
        ({"model": "tiny"}, [48, 72, 96, 120, 144]),
        ({"kernels": [8, 12]}, [8, 12]),
        (
            {"train": TrainConfig(network={"dense_kernels": 16, "window_px": 32})},
            [8, 12, 16, 20, 24],
        ),
        ({"train": TrainConfig(network={"width": 32})}, [64, 96, 128, 160, 192]),  # the paper's
    ],
)
def test_table_5_changes_the_number_of_kernels(keys: dict[str, object], kernels: list[int]) -> None:
    config = AblateConfig(table="5", **keys)  # type: ignore[arg-type]
    rows = rows_of(config)
    assert [row.label for row in rows] == [f"N = {count}" for count in kernels]
    for row, count in zip(rows, kernels, strict=True):
        training = training_of(config, row, 0)
        network = k3dn.build_model(training.model, training.network)
        assert network.config.num_kernels == count  # type: ignore[union-attr]


def test_trainings_of_a_row_differ_by_their_seed_alone() -> None:
    config = AblateConfig(table="sizes", sizes=["nano", "tiny"], train=TrainConfig(seed=7, lr=1e-3))
    rows = rows_of(config)
    assert [row.model for row in rows] == ["nano", "tiny"]
    first, second = (training_of(config, rows[1], seed) for seed in (0, 1))
    assert (first.seed, second.seed, first.lr, first.register) == (7, 8, 1e-3, None)
    assert dataclasses.replace(second, seed=7) == first
    with pytest.raises(UserError, match="tinny"):
        run(AblateConfig(table="sizes", sizes=["tinny"]))


def score(pair: str, psnr: float, counts: tuple[int, int]) -> PairScore:
    quality = Quality(psnr, psnr / 100, 1 / psnr, 2 / psnr)
    region = Region("in focus", 10, 0.25, 1 / psnr, (3, 7), counts)
    return PairScore("set@v1", pair, Quality(20, 0.5, 0.1, 0.1), quality, regions=(region,))


def test_a_picture_counts_once_however_many_seeds_there_are() -> None:
    seeds = [[score("a", 20, (4, 6)), score("b", 30, (1, 9))], [score("a", 25, (0, 10))]]
    seeds[1].append(score("b", 40, (2, 8)))
    a, b = mean_score(seeds)
    assert (a.output.psnr, b.output.psnr, a.input.psnr) == (22.5, 35.0, 20.0)
    assert b.output.mae == pytest.approx((1 / 30 + 1 / 40) / 2)
    (region,) = a.regions
    assert region.output_mse == pytest.approx((1 / 20 + 1 / 25) / 2)
    assert (region.input_counts, region.output_counts) == ((6, 14), (4, 16))
    assert by_seed(seeds, "set@v1") == (25.0, 32.5)
    with pytest.raises(ValueError, match="not measured on the same pictures"):
        mean_score([seeds[0], seeds[0][::-1]])


STEPS, EVERY = 8, 2


def test_a_table_is_of_one_version_to_its_end(tmp_path: Path) -> None:
    """Else rows behind a version that is published meanwhile would be trained on other pairs."""
    write_version(str(tmp_path), "small", "v1", [make_pair("small", "train", 0)])
    pinned = _pinned(AblateConfig(root=str(tmp_path), table="4", datasets=["small*2"]))
    write_version(str(tmp_path), "small", "v2", [make_pair("small", "train", 1)])
    (row, *_) = rows_of(pinned)
    assert training_of(pinned, row, 0).datasets == pinned.datasets == ["small@v1*2"]
    gone = AblateConfig(root=str(tmp_path), table="4", datasets=["other"])
    with pytest.raises(UserError, match="other"):
        run(gone)


def _killed_in_training(config: AblateConfig) -> None:
    """Run, and die in the fifth step of the first row."""
    made, steps = Learner.step, itertools.count(1)

    def counted(self: Learner, *arguments: Any, **keys: Any) -> Any:
        if next(steps) == 2 * EVERY + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return made(self, *arguments, **keys)

    Learner.step = counted  # type: ignore[method-assign]
    run(config)


@pytest.mark.usefixtures("ray_cluster")
def test_a_table_is_trained_measured_and_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two widths. Killed, it repeats nothing; another seed makes what is missing."""
    pairs = [make_pair("small", split, i) for split in ("train", "test") for i in range(2)]
    write_version(str(tmp_path), "small", "v1", pairs)
    narrow = {"disparity_channels": 4, "disparity_width": 2, "psf_blocks": 1, "srp": False}
    config = AblateConfig(
        root=str(tmp_path),
        table="5",
        kernels=[8, 12],
        datasets=["small*2"],
        seeds=1,
        steps=STEPS,
        bare=True,
        num_workers=1,
        cost_size="64x64",
        train=TrainConfig(
            network=narrow,
            batch_size=2,
            patch=32,
            num_workers=1,
            val_every=4,
            checkpoint_every=EVERY,
        ),
    )
    killed = multiprocessing.get_context("spawn").Process(
        target=_killed_in_training, args=(config,)
    )
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert not list(tmp_path.glob("_runs/*/weights.safetensors"))
    first = run(config)
    begun = []
    for row in first.trained:
        folder = locate(row.weights[0].rpartition("/")[0])
        starts = [line["step"] for line in read_rows(folder) if line.get("event") == "start"]
        begun.append(starts[-1])
        assert [index for index, _ in read_samples(folder)] == list(range(2 * STEPS))
    assert begun[0] in (EVERY, 2 * EVERY) and begun[1] == 0
    files = {file: Path(file).stat().st_mtime_ns for row in first.trained for file in row.weights}
    assert len(files) == 2
    capsys.readouterr()
    result = run(dataclasses.replace(config, seeds=2))
    said = capsys.readouterr().err
    assert said.count("scores are kept") == 2  # of the first seed of both rows
    assert {file: Path(file).stat().st_mtime_ns for file in files} == files
    assert [row.method for row in result.figures] == [INPUT, "N = 8", "N = 12"]
    for row, seeds in zip(result.figures[1:], result.seeds, strict=True):
        assert len(set(seeds.psnr)) == 2
        assert row.psnr.mean == pytest.approx(statistics.mean(seeds.psnr))
    costs = [cost for cost in result.costs.values() if cost]
    assert costs[0][0] < costs[1][0]
    assert "N = 8 on small@v1, by seed: " in result.describe()
    folder = Path(result.output)
    kept = json.loads((folder / "result.json").read_text())
    assert [row["weights"] for row in kept["trained"]] == [list(r.weights) for r in result.trained]
    assert "N = 12" in (folder / "index.html").read_text()
    assert (folder / "table.tex").read_text().count("N = ") == 2
    assert run(dataclasses.replace(config, seeds=2)).output == result.output
