"""A photograph through ``mlflow models serve``: bytes on the wire, time, memory of the server.

    python -m tests.benchmarks.serving [MODEL] [MEGAPIXELS]

Real sockets and processes; the pictures are noise over a picture's structure, of 8 bit.
"""

import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import psutil

from pipelines.registry.config import RegisterConfig
from pipelines.registry.register import run as register
from tests.mlflow_servers import ask, model_server


def main(model: str = "box:nano", megapixels: str = "12") -> None:
    """Print one line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        height = round((float(megapixels) * 1e6 / 12) ** 0.5) * 3
        size = (height, height * 4 // 3)
        pngs = 0
        for number, view in enumerate(("left", "right")):
            cv2.imwrite(str(folder / f"{view}.png"), _picture(size, number))
            pngs += (folder / f"{view}.png").stat().st_size
        uri = f"sqlite:///{folder}/mlflow.db"
        register(RegisterConfig(root=name, tracking_uri=uri, model=model))
        with model_server(uri, "models:/k3dn@challenger", folder) as address:
            idle = _resident()
            stop, peak = threading.Event(), [idle]
            watch = threading.Thread(target=_watch, args=(stop, peak))
            watch.start()
            start, processor = time.perf_counter(), _processor()
            try:
                image, sent, received = ask(address, folder)
                seconds, processor = time.perf_counter() - start, _processor() - processor
            finally:
                stop.set()
                watch.join()
        answer = len(cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1])
        print(
            f"{model} {size[0]} x {size[1]}: {seconds:.1f} s, {processor:.1f} s of processor time; "
            f"sent {sent / 2**20:.1f} MiB for PNGs of {pngs / 2**20:.1f} MiB, received "
            f"{received / 2**20:.1f} MiB for one of {answer / 2**20:.1f} MiB; server "
            f"{idle:.0f} MiB idle, {max(peak):.0f} MiB at most"
        )


def _picture(size: tuple[int, int], number: int) -> np.ndarray:
    """Smooth structure with a sensor's grain."""
    rng = np.random.default_rng(7)
    coarse = rng.uniform(30, 220, (size[0] // 40 + 2, size[1] // 40 + 2, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (size[1] + 8, size[0]), interpolation=cv2.INTER_CUBIC)
    shifted = smooth[:, 4 * number : 4 * number + size[1]]
    grain = np.random.default_rng(number).normal(0, 2, shifted.shape)
    return (shifted + grain).clip(0, 255).astype(np.uint8)


def _servers() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _resident() -> float:
    """MiB of the server's processes together."""
    return sum(process.memory_info().rss for process in _servers()) / 2**20


def _processor() -> float:
    times = [process.cpu_times() for process in _servers()]
    return sum(t.user + t.system for t in times)


def _watch(stop: threading.Event, peak: list[float]) -> None:
    while not stop.wait(0.05):
        peak.append(_resident())


if __name__ == "__main__":
    main(*sys.argv[1:])
