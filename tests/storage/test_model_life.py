"""The life of a model with real servers: MLflow over HTTP, its artifacts and the root on S3.

Train, evaluate, promote, serve, roll back, and copy into a production of its own.
"""

import multiprocessing
import re
import urllib.request
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import k3dn
from pipelines.dataset.version import open_version
from pipelines.errors import UserError
from pipelines.evaluation import evaluate, promote
from pipelines.evaluation.config import EvaluateConfig, GateRules, PromoteConfig
from pipelines.registry import register, rollback
from pipelines.registry.config import RegisterConfig, RollbackConfig
from pipelines.registry.loading import load_network
from pipelines.registry.registry import client_of, open_store, resolve
from pipelines.storage import locate
from pipelines.training import train
from pipelines.training.config import TrainConfig
from tests.local_ray import start_local_ray
from tests.mlflow_servers import DATABASES, ask, content_of, database, mlflow_server, model_server
from tests.pipelines.training.versions import make_pair, write_version

pytestmark = [pytest.mark.usefixtures("s3", "own_ray"), pytest.mark.slow]

ANYTHING = GateRules(
    min_scenes=2,
    min_gain_db=-99,
    min_input_gain_db=-99,
    champion_tolerance_db=99,
    input_tolerance_db=99,
    ssim_tolerance=9,
    mae_tolerance=99,
)
"""Two steps of training sharpen nothing: what is tried here is the path, not who may take it."""


@pytest.mark.parametrize("kind", DATABASES)
def test_train_evaluate_promote_serve_roll_back_copy(kind: str, tmp_path: Path) -> None:
    """In a process of its own: a cluster that runs already would know no keys of this bucket."""
    with (
        database(kind, tmp_path) as backend,
        mlflow_server(tmp_path, backend=backend) as uri,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        pool.submit(_life, uri, backend, tmp_path).result()


def _life(uri: str, backend: str, folder: Path) -> None:
    start_local_ray()
    place: dict[str, Any] = {"root": "s3://k3dn/life", "tracking_uri": uri}
    write_pairs("s3://k3dn/life")
    first = register.run(RegisterConfig(model="box:nano", champion=True, **place))
    assert (first.version, first.champion) == ("1", True)
    network = {"width": 4, "disparity_channels": 4, "disparity_width": 4, "psf_blocks": 1}
    trained = train.run(
        TrainConfig(
            **place, datasets=["small"], model="nano", network=network, steps=2, batch_size=2,
            patch=32, num_workers=1, cpus_per_worker=0.4, cpus_per_reader=0.2, use_gpu=False,
        )
    )  # fmt: skip
    assert trained.model_version == "2"

    measured = evaluate.run(EvaluateConfig(**place, datasets=["small"], pictures=1))
    assert measured.models == ("k3dn v2",) and len(measured.run_ids) == 1
    client = client_of(uri)
    pages = {file.path for file in client.list_artifacts(measured.run_ids[0])}
    assert pages == {"index.html", "result.json", "table.md", "pictures"}, pages
    about = client.get_model_version("k3dn", "2").description
    (shown,) = re.findall(r"!\[.*?\]\((.*?)\)", about)
    with urllib.request.urlopen(f"{uri}/{shown}") as answer:  # as a browser asks for it
        picture = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (40, 3 * 48, 3)  # input, restored, truth
    (model,) = client.search_logged_models(
        [client.get_experiment_by_name("k3dn").experiment_id],
        filter_string=f"source_run_id = '{trained.run_id}'",
    )
    (psnr,) = [metric for metric in model.metrics if metric.key == "small/v1/output_psnr"]
    digest = open_version(locate("s3://k3dn/life"), "small").digest
    assert (psnr.dataset_name, psnr.dataset_digest) == ("small@v1", digest[:36])
    assert psnr.value == measured.rows[1].psnr

    config = PromoteConfig(**place, datasets=["small"], gate=ANYTHING)
    assert promote.run(config).previous == "1"
    left, right = (cv2.imread(str(path)) for path in write_views(folder))
    sharp = k3dn.deblur(load_network("models:/k3dn/2", uri), left[..., ::-1], right[..., ::-1])
    with model_server(uri, "models:/k3dn@champion", folder) as address:
        image, _, _ = ask(address, folder)
        np.testing.assert_array_equal(image, sharp)

    back = rollback.run(RollbackConfig(**place))
    assert (back.champion, back.previous) == ("1", "2")
    kinds = {run.data.tags["mlflow.runName"].rpartition(": ")[2] for run in decisions(uri)}
    assert kinds == {"promoted", "rolled back"} and len(decisions(uri)) == 3

    production = folder / "production"
    write_pairs(str(production))
    moving = replace(config, from_=uri, to=str(production), candidate="2", tracking_uri=uri)
    copied = promote.run(moving)
    assert (copied.champion, copied.previous) == ("1", None)
    there = open_store(replace(config, root=str(production), tracking_uri=None))
    network_there = load_network("models:/k3dn@champion", there)
    np.testing.assert_array_equal(
        k3dn.deblur(network_there, left[..., ::-1], right[..., ::-1]), sharp
    )
    origin, copy = resolve("models:/k3dn/2", uri), resolve("models:/k3dn/1", there)
    assert copy.tags["k3dn.weights_sha256"] == origin.tags["k3dn.weights_sha256"]
    run = client_of(there).get_run(str(copy.run_id))
    assert [read.dataset.name for read in run.inputs.dataset_inputs] == ["small@v1"]
    noted = content_of(backend)
    assert "k3dn.weights_sha256" in noted
    for path in (folder, Path.cwd(), Path(k3dn.__file__).parent):  # of this machine: nothing
        assert str(path) not in noted
    with pytest.raises(UserError, match="was rolled back"):
        promote.run(replace(config, candidate="2"))


def decisions(uri: str) -> list[Any]:
    client = client_of(uri)
    (experiment,) = client.search_experiments(filter_string="name = 'k3dn'")
    return list(client.search_runs([experiment.experiment_id], "tags.`k3dn.step` = 'decision'"))


def write_pairs(root: str) -> None:
    pairs = [make_pair("small", "train", i) for i in range(2)]
    pairs += [make_pair("small", "test", i) for i in range(2)]
    write_version(root, "small", "v1", pairs)


def write_views(folder: Path) -> list[Path]:
    views = np.random.default_rng(0).integers(0, 256, (2, 40, 56, 3), dtype=np.uint8)
    paths = [folder / name for name in ("left.png", "right.png")]
    for path, view in zip(paths, views, strict=True):
        cv2.imwrite(str(path), view)
    return paths
