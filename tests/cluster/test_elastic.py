"""Training on nodes that are killed, drained and added, and on one that is labelled for readers:
three raylets on this machine."""

import multiprocessing
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load

from pipelines.errors import UnavailableError, UserError
from pipelines.mlflow_store import ensure_store, resolve_tracking_uri
from pipelines.storage import locate
from pipelines.training import elastic
from pipelines.training.config import TrainConfig
from pipelines.training.context import ProcessContext
from pipelines.training.elastic import Elastic, Node, room_for
from pipelines.training.keeper import WEIGHTS
from pipelines.training.loader import local_batches
from pipelines.training.loop import fit
from pipelines.training.plan import RunPlan, plan_run
from pipelines.training.record import Row, read_rows, read_samples
from pipelines.training.room import check_room
from tests.pipelines.training.conftest import NETWORKS
from tests.pipelines.training.versions import write_small_datasets


def config_of(root: Path) -> TrainConfig:
    return TrainConfig(
        root=str(root / "data"),
        datasets=write_small_datasets(str(root / "data")),
        model=f"{NETWORKS}:hurried",
        network={"gate": str(root / "gate"), "pause_s": 1.0},
        name="elastic",
        steps=130,
        patch=32,
        batch_size=4,
        lr=3e-3,
        warmup_steps=3,
        log_every=2,
        checkpoint_every=5,
        val_every=1000,
        num_workers=2,
        min_workers=1,
        cpus_per_worker=0.8,  # for two of whom the readers' node would have room, too
        cpus_per_reader=0.2,
        reader_label="role=reader",
        placement="spread",
        register=None,
    )


def starts(plan: RunPlan) -> list[Row]:
    return [row for row in read_rows(plan.folder) if row.get("event") == "start"]


def changed_keys(config: TrainConfig) -> dict[str, Any]:
    """What differs from the defaults, dotted."""
    keys: dict[str, Any] = {}
    for name in config.__dataclass_fields__:
        value = getattr(config, name)
        if isinstance(value, dict):
            keys |= {f"{name}.{inner}": one for inner, one in value.items()}
        elif value != getattr(TrainConfig(), name):
            keys[name] = "none" if value is None else value
    return keys


def steps_of_group(plan: RunPlan, number: int) -> int:
    """How far the group that started as the given one, from 1, has come; -1 where it did not."""
    rows = read_rows(plan.folder)
    begun = [place for place, row in enumerate(rows) if row.get("event") == "start"]
    if len(begun) < number:
        return -1
    after = rows[begun[number - 1] :]
    return max(int(row["step"]) for row in after) - int(after[0]["step"])


@pytest.mark.slow
def test_workers_follow_nodes_that_die_come_and_leave(cluster: Any, tmp_path: Path) -> None:
    """Two workers on two nodes; one node is killed, one is added, and that is drained: groups of
    two, one, two and one workers, no step twice but behind the kill, and the same weights. Their
    readers run on the labelled node, and they do not."""
    config = config_of(tmp_path)
    ensure_store(resolve_tracking_uri(config))  # made once in this process
    plan, gate, log = plan_run(config), tmp_path / "gate", tmp_path / "log"
    stays, first = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    command = [sys.executable, "-m", "pipelines", "train", f"ray_address={cluster.address}"]
    command += [
        f"{key}={','.join(value) if isinstance(value, list) else value}"
        for key, value in changed_keys(config).items()
    ]
    with log.open("w") as file:
        driver = subprocess.Popen(command, stdout=file, stderr=file)

    def wait(group: int, steps: int) -> None:
        deadline_s = time.monotonic() + 240
        while steps_of_group(plan, group) < steps:
            assert driver.poll() is None and time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.2)  # poll of other processes

    try:
        wait(1, 6)
        cluster.remove_node(first, allow_graceful=False)
        wait(2, 2)
        second = cluster.add_node(num_cpus=1)
        wait(3, 2)
        drain(cluster.address, second.node_id)
        wait(4, 2)
        gate.touch()
        assert driver.wait() == 0, log.read_text()
    finally:
        gate.touch()
        driver.kill()
        driver.wait()
    begun = starts(plan)
    assert [row["workers"] for row in begun] == [2, 1, 2, 1]
    alone = plan_run(replace(config, name="alone"))
    fit(alone, ProcessContext(), local_batches)
    assert read_samples(plan.folder) == read_samples(alone.folder)
    found, expected = (load(one.folder.child(WEIGHTS).read_bytes()) for one in (plan, alone))
    for name, value in expected.items():
        # Sums over one and two workers are rounded differently, in each of 130 steps.
        torch.testing.assert_close(found[name], value, rtol=1e-2, atol=2e-4)
    # Who leaves in order loses no step, whatever the checkpoints' distance.
    steps = [row["step"] for row in read_rows(plan.folder) if "loss" in row]
    assert steps == sorted(set(steps))

    cluster.remove_node(second)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        refused, places = pool.submit(seen_on_the_cluster, cluster.address, config).result()
    assert "no node of the cluster has this label" in refused[0]
    assert "workers take 1.4, of 1 on the others" in refused[1]
    where: dict[str, set[str]] = {"TrainWorker": set(), "MapWorker": set()}
    for kind, nodes in places.items():
        for name, found_there in where.items():
            found_there |= nodes if name in kind else set()
    trained_on = {one.node_id for one in (stays, first, second)}
    assert where == {"TrainWorker": trained_on, "MapWorker": {cluster.head_node.node_id}}, places


def seen_on_the_cluster(address: str, config: TrainConfig) -> tuple[list[str], dict[str, set[str]]]:
    """What is refused, and the nodes of each kind of actor that there was."""
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
    places: dict[str, set[str]] = {}
    for actor in actors().values():
        places.setdefault(actor["ActorClassName"], set()).add(actor["Address"]["NodeID"])
    ray.shutdown()
    return refused, places


def drain(address: str, node_id: str) -> None:
    """Tell the cluster that a node is taken away in ten minutes, as a provider's notice does."""
    subprocess.run(
        [
            *("ray", "drain-node", "--address", address, "--node-id", node_id),
            *("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test"),
            *("--deadline-remaining-seconds", "600"),
        ],
        check=True,
    )


@pytest.mark.parametrize(
    ("nodes", "use_gpu", "expected"),
    [
        ([Node(4, 0)], False, 5),  # of 0.75 CPUs, with their readers
        ([Node(1, 0), Node(1, 0)], False, 2),
        ([Node(1, 0), Node(1, 0, leaves=True)], False, 1),
        ([Node(0.4, 0)] * 10, False, 0),  # a worker fits on none of them
        ([Node(8, 2), Node(8, 1)], True, 3),
        ([Node(8, 2), Node(8, 4, leaves=True)], True, 2),
        ([Node(1, 8)], True, 1),
        ([Node(8, 0), Node(1, 2)], True, 2),
        ([], False, 0),
    ],
)
def test_room_for(nodes: list[Node], use_gpu: bool, expected: int) -> None:
    config = TrainConfig(cpus_per_worker=0.5, cpus_per_reader=0.25)
    assert room_for(config, nodes, use_gpu=use_gpu) == expected


@pytest.mark.parametrize(
    ("nodes", "use_gpu", "expected"),
    [
        ([Node(2, 0), Node(4, 0, reads=True)], False, 4),  # workers of half a CPU
        ([Node(8, 0), Node(0.5, 0, reads=True)], False, 2),  # readers of a quarter
        ([Node(8, 2), Node(1, 8, reads=True)], True, 2),  # the second's GPUs stay idle
        ([Node(8, 0), Node(1, 0, reads=True, leaves=True)], False, 0),
        ([Node(8, 0)], False, 0),
    ],
)
def test_room_where_readers_have_nodes_of_their_own(
    nodes: list[Node], use_gpu: bool, expected: int
) -> None:
    config = TrainConfig(cpus_per_worker=0.5, cpus_per_reader=0.25, reader_label="role=reader")
    assert room_for(config, nodes, use_gpu=use_gpu) == expected


def test_too_few_nodes_are_waited_for_and_then_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elastic, "LOOK_EVERY_S", 0.01)
    found: list[list[Node]] = [[Node(1, 0)], [Node(1, 0)], [Node(1, 0), Node(1, 0)]]
    monkeypatch.setattr(elastic, "nodes_of_the_cluster", lambda label: found.pop(0))
    config = TrainConfig(min_workers=2, num_workers=4, patience_s=60)
    one = Elastic(config, locate(str(tmp_path)), most=4, use_gpu=False)
    assert one.take() == 2
    assert not found
    monkeypatch.setattr(elastic, "nodes_of_the_cluster", lambda label: [])
    impatient = Elastic(
        replace(config, patience_s=0.02), locate(str(tmp_path)), most=4, use_gpu=False
    )
    with pytest.raises(UnavailableError, match=r"room for 0 workers.*min_workers=2"):
        impatient.take()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"min_workers": 0}, "min_workers"),
        ({"min_workers": 3, "num_workers": 2}, "num_workers \\(2\\)"),
        ({"reader_label": "role="}, "KEY=VALUE, got role="),
        ({"gpus_per_worker": 0.0}, "gpus_per_worker"),
        ({"gpus_per_worker": 1.5}, "gpus_per_worker"),
        ({"gpus_per_worker": 0.5, "num_workers": 2}, "cannot share a GPU"),
    ],
)
def test_what_cannot_be_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainConfig(**keys)
