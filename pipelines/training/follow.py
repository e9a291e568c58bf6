"""Show how a run gets on, in the driver, from the record that the run keeps of itself."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.progress import say
from pipelines.storage import Location
from pipelines.training.record import Row, read_rows

_POLL_S = 1.0
_LINE_EVERY_S = 15.0
_LINE_EVERY_IN_TERMINAL_S = 5.0


@contextmanager
def shown_progress(run: Location, steps: int | None) -> Iterator[None]:
    """Print a line about the run every so often while the block runs.

    steps: of the whole run; None where it ends by the clock.
    """
    stop = threading.Event()
    follower = _Follower(run, steps)
    thread = threading.Thread(target=follower.run, args=(stop,), name="k3dn-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)


class _Follower:
    def __init__(self, run: Location, steps: int | None) -> None:
        self._run, self._of = run, "" if steps is None else f" of {steps}"
        self._seen_ms = int(time.time() * 1000)  # rows of earlier attempts are old
        self._step = 0
        self._starts = 0
        self._told_s = time.monotonic()
        self._every_s = _LINE_EVERY_IN_TERMINAL_S if sys.stderr.isatty() else _LINE_EVERY_S

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(_POLL_S):
            self._look()
        self._look()

    def _look(self) -> None:
        try:
            rows = read_rows(self._run, self._step)
        except (OSError, ValueError):  # being written, or the storage hiccups: look again later
            return
        news = [row for row in rows if row["time_ms"] > self._seen_ms]
        if not news:
            return
        self._seen_ms = news[-1]["time_ms"]
        self._step = news[-1]["step"]
        losses: Row | None = None
        for row in news:
            if row.get("event") == "start":
                self._tell_start(row)
            elif "val_psnr" in row:
                self._tell_validation(row)
            elif "loss" in row:
                losses = row
        if losses and time.monotonic() - self._told_s >= self._every_s:
            self._told_s = time.monotonic()
            self._tell_losses(losses)

    def _tell_start(self, row: Row) -> None:
        workers = f"{row['workers']} worker{'s' if row['workers'] > 1 else ''}"
        begin = "starting" if row["step"] == 0 else f"going on from step {row['step']}"
        self._starts += 1
        again = ", after the workers had to be started again" if self._starts > 1 else ""
        say(f"train: {workers}, {begin}{self._of}{again}")

    def _tell_validation(self, row: Row) -> None:
        say(
            f"train: step {row['step']}{self._of}, validation {row['val_psnr']:.2f} dB "
            f"(input {row['val_psnr_input']:.2f} dB), SSIM {row['val_ssim']:.4f}"
        )

    def _tell_losses(self, row: Row) -> None:
        say(
            f"train: step {row['step']}{self._of}, loss {row['loss']:.4f} "
            f"({row['samples_per_s']:.1f} pairs/s, about {_duration(row['left_s'])} left)"
        )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
