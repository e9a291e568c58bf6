"""Workers that come and go with the nodes of a cluster: as many as there is room for, between two
numbers.

Ray Train's own elastic scaling counts the CPUs of workers alone, so that it would leave none to
the readers, and kills a group to start another: steps since the last checkpoint are lost. Here the
driver looks at the nodes and, before it starts other workers, asks those that run to stop behind a
checkpoint.
"""

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipelines.errors import UnavailableError
from pipelines.progress import say
from pipelines.storage import Location
from pipelines.training.config import TrainConfig
from pipelines.training.room import has_label
from pipelines.training.stopping import STOP

LOOK_EVERY_S = 5.0
_ANSWERS_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Node:
    """What a node has in all."""

    cpus: float
    gpus: float
    leaves: bool = False
    """Whether it is drained: taken away soon, as a preemption notice says."""
    reads: bool = False
    """Whether it has the label of ``reader_label``: readers run there, and no workers."""


def room_for(config: TrainConfig, nodes: list[Node], *, use_gpu: bool) -> int:
    """Return how many workers fit on nodes that stay, with CPUs left for their readers."""
    staying = [node for node in nodes if not node.leaves]
    training = [node for node in staying if not node.reads]
    readers = config.readers_per_worker * config.cpus_per_reader
    if config.reader_label is None:
        each, of = config.cpus_per_worker + readers, staying
    else:
        each, of = readers, [node for node in staying if node.reads]
    in_all = math.floor(sum(node.cpus for node in of) / each)
    by_node = (math.floor(node.cpus / config.cpus_per_worker) for node in training)
    if use_gpu:
        by_node = (
            min(math.floor(node.gpus), math.floor(node.cpus / config.cpus_per_worker))
            for node in training
        )
    return min(in_all, sum(by_node))


def nodes_of_the_cluster(reader_label: str | None = None) -> list[Node]:
    """Return the nodes that are alive and answer: Ray itself takes half a minute to call one dead,
    in which it would wait for workers there."""
    import ray
    from ray._private.state import state

    leaving = state.get_draining_nodes()
    return [
        Node(
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
            node["NodeID"] in leaving,
            has_label(node, reader_label),
        )
        for node in ray.nodes()
        if node["Alive"] and _answers(node["NodeManagerAddress"], node["NodeManagerPort"])
    ]


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_ANSWERS_WITHIN_S).close()
    except OSError:
        return False
    return True


class Elastic:
    """How many workers a run has, and whether it is to go on with another number."""

    def __init__(self, config: TrainConfig, run: Location, *, most: int, use_gpu: bool) -> None:
        """most: workers that the run would have on nodes without end."""
        assert config.min_workers is not None
        self._config, self._run, self.use_gpu = config, run, use_gpu
        self._least, self._most = config.min_workers, max(most, config.min_workers)
        self._running = 0
        self._asked = threading.Event()

    def take(self) -> int:
        """Return how many workers there is room for now.

        Waits where it is for too few; raises UnavailableError where that lasts for
        ``patience_s``.
        """
        end_s = time.monotonic() + self._config.patience_s
        told = False
        while (found := self._room()) < self._least:
            if time.monotonic() > end_s:
                raise UnavailableError(
                    f"the cluster has room for {found} workers and their readers, and "
                    f"min_workers={self._least}; the same command goes on when there is more"
                )
            if not told:
                say(f"train: waiting for nodes: room for {found} of {self._least} worker(s)")
            told = True
            time.sleep(LOOK_EVERY_S)
        if found != self._running:
            say(f"train: {found} worker(s), of {self._least} to {self._most}")
        self._running = found
        return found

    @property
    def asked(self) -> bool:
        """Whether the group that ended was asked to, for another number of workers."""
        return self._asked.is_set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Ask the workers to stop behind a checkpoint when nodes leave, or there are more."""
        self._asked.clear()
        self._run.child(STOP).delete()
        end = threading.Event()
        thread = threading.Thread(target=self._look, args=(end,), name="k3dn-nodes", daemon=True)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def _look(self, end: threading.Event) -> None:
        before = self._running
        while not end.wait(LOOK_EVERY_S):
            try:
                now = self._room()
                # Nodes that come, come one after the other; who leaves does not wait.
                if now < self._running or (now == before and now > self._running):
                    say(f"train: room for {now} worker(s) in place of {self._running}")
                    self._asked.set()
                    self._run.child(STOP).write_bytes(b"")
                    return
                before = now
            except Exception:  # Ray or the storage does not answer: look again later
                continue

    def _room(self) -> int:
        nodes = nodes_of_the_cluster(self._config.reader_label)
        room = room_for(self._config, nodes, use_gpu=self.use_gpu)
        return min(room, self._most)
