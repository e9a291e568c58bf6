"""How busy each worker of a run is, and the GPU and the machine below it.

MLflow's own system metrics are of the driver's machine, which trains nothing on a cluster.
"""

import threading

import torch

from pipelines.training.context import Metrics

try:
    import psutil
except ImportError:  # a GPU that was lent with torch alone
    psutil = None

_LOOK_EVERY_S = 1.0


class Utilization:
    """Measures from one ``figures`` to the next, in the process of a worker."""

    def __init__(self, device: torch.device, node_rank: int, local_rank: int) -> None:
        """node_rank: number of this machine among those of the run; local_rank: of this worker on
        it."""
        self._device = device
        self._node, self._worker = f"node_{node_rank}", str(local_rank)
        self._speaks_for_machine = local_rank == 0
        self._process = psutil.Process() if psutil else None
        if self._process is not None:  # the first call of each begins to measure
            self._process.cpu_percent()
            psutil.cpu_percent()
        self._gpu = _GpuUse(device) if device.type == "cuda" else None

    def figures(self, *, pairs_per_s: float, waiting_for_data: float) -> Metrics:
        """Return what is measured, by the names that MLflow's system metrics have.

        pairs_per_s: of this worker alone; waiting_for_data: the share of its time.
        """
        found = {
            f"worker_{self._worker}_samples_per_s": pairs_per_s,
            f"worker_{self._worker}_waiting_for_data": waiting_for_data,
        }
        if self._process is not None:
            used = self._process.cpu_percent()
            found[f"worker_{self._worker}_cpu_utilization_percentage"] = used
            if self._speaks_for_machine:
                found["cpu_utilization_percentage"] = psutil.cpu_percent()
                found["system_memory_usage_percentage"] = psutil.virtual_memory().percent
        if self._gpu is not None:
            of_gpu = self._gpu.figures()
            found |= {f"gpu_{self._worker}_{name}": value for name, value in of_gpu.items()}
        return {f"{self._node}/{name}": value for name, value in found.items()}

    def close(self) -> None:
        """End the thread that looks at the GPU."""
        if self._gpu is not None:
            self._gpu.close()


class _GpuUse:
    """Looks at a GPU every second: what the driver tells is of the last moment alone."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seen: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="k3dn-gpu", daemon=True)
        self._thread.start()

    def figures(self) -> Metrics:
        seen, self._seen = self._seen, []
        free, total = torch.cuda.mem_get_info(self._device)
        found = {"memory_usage_percentage": 100.0 * (1.0 - free / total)}
        if seen:
            found["utilization_percentage"] = sum(seen) / len(seen)
        return found

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(_LOOK_EVERY_S):
            try:
                self._seen.append(float(torch.cuda.utilization(self._device)))
            except Exception:  # no NVML here, or it tells nothing of this card
                return
