"""Where workers and readers run: two raylets on this machine, one of them labelled for readers."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import UserError
from pipelines.training.config import TrainConfig
from pipelines.training.plan import plan_run
from pipelines.training.record import Row, read_rows, read_samples
from pipelines.training.room import check_room
from pipelines.training.train import train_with_callbacks
from tests.pipelines.training.conftest import NETWORKS
from tests.pipelines.training.versions import write_small_datasets


@dataclass(frozen=True, slots=True)
class Nodes:
    """The cluster, and the ids of its nodes."""

    address: str
    worker: str
    reader: str


@pytest.fixture
def nodes(cluster: Any) -> Nodes:
    """A head without a label and a node with one."""
    reader = cluster.add_node(num_cpus=1, labels={"role": "reader"})
    return Nodes(cluster.address, cluster.head_node.node_id, reader.node_id)


def config_of(root: Path) -> TrainConfig:
    return TrainConfig(
        root=str(root / "data"),
        datasets=write_small_datasets(str(root / "data")),
        model=f"{NETWORKS}:tiny",
        name="labelled",
        steps=4,
        patch=32,
        batch_size=2,
        log_every=2,
        num_workers=2,
        cpus_per_worker=0.3,  # for whom the other node would have room, too
        cpus_per_reader=0.3,
        reader_label="role=reader",
        placement="spread",
        register=None,
    )


def trained_there(address: str, config: TrainConfig) -> tuple[list[str], dict[str, set[str]]]:
    """What was refused, and the nodes of each kind of actor of the run."""
    import ray
    from ray._private.state import actors

    ray.init(address=address, log_to_driver=False)
    refused = []
    for changes in (
        {"reader_label": "role=trainer"},
        {"cpus_per_worker": 0.7, "cpus_per_reader": 0.2},
    ):
        with pytest.raises(UserError) as found:
            check_room(replace(config, **changes), 2)
        refused.append(str(found.value))
    train_with_callbacks(config, ())
    places: dict[str, set[str]] = {}
    for actor in actors().values():
        places.setdefault(actor["ActorClassName"], set()).add(actor["Address"]["NodeID"])
    ray.shutdown()
    return refused, places


@pytest.mark.slow
def test_readers_run_on_labelled_nodes_and_workers_on_the_others(
    nodes: Nodes, tmp_path: Path
) -> None:
    config = config_of(tmp_path)
    plan = plan_run(config)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        refused, places = pool.submit(trained_there, nodes.address, config).result()
    assert "no node of the cluster has this label" in refused[0]
    assert "workers take 1.4, of 1 on the others" in refused[1]
    found = {"worker": set[str](), "reader": set[str]()}
    for kind, where in places.items():
        if "MapWorker" in kind:
            found["reader"] |= where
        elif "TrainWorker" in kind:
            found["worker"] |= where
    assert found == {"worker": {nodes.worker}, "reader": {nodes.reader}}, places
    assert [index for index, _ in read_samples(plan.folder)] == list(range(8))
    losses = [row for row in read_rows(plan.folder) if "loss" in row]
    assert [row["step"] for row in losses] == [2, 4]
    for row in losses:
        check_figures(row)


def check_figures(row: Row) -> None:
    """Each of two workers on one machine, and the machine once."""
    found = {key.removeprefix("node_0/"): value for key, value in row.items() if "/" in key}
    each = ("samples_per_s", "waiting_for_data", "cpu_utilization_percentage")
    assert found.keys() == {
        *(f"worker_{number}_{name}" for number in (0, 1) for name in each),
        "cpu_utilization_percentage",
        "system_memory_usage_percentage",
    }
    per_s: Any = [found[f"worker_{number}_samples_per_s"] for number in (0, 1)]
    assert all(0 < one <= row["samples_per_s"] for one in per_s)
    assert 0 < found["system_memory_usage_percentage"] < 100
