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
_CLEARED = "\r\x1b[K"
"""To the beginning of a terminal's line, which is emptied."""


@contextmanager
def shown_progress(run: Location, steps: int | None) -> Iterator[None]:
    """Show how the run gets on while the block runs: in a terminal one line that is kept up to
    date, in a log a line every so often; validations and starts have a line of their own.

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
        self._validation: Row | None = None
        self._told_s = time.monotonic()
        self._is_live = sys.stderr.isatty()
        self._line = ""

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(_POLL_S):
            self._look()
        self._look()
        self._clear()

    def _look(self) -> None:
        try:
            rows = read_rows(self._run, self._step)
        except Exception:  # being written, or the storage hiccups: look again later
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
                self._validation = row
                self._tell_validation(row)
            elif "loss" in row:
                losses = row
        if losses is None:
            return
        line = f"train: {progress_line(losses, self._of, self._validation)}"
        if self._is_live:
            self._line = line
            print(_CLEARED + line, end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._told_s >= _LINE_EVERY_S:
            self._told_s = time.monotonic()
            say(line)

    def _tell_start(self, row: Row) -> None:
        workers = f"{row['workers']} worker{'s' if row['workers'] > 1 else ''}"
        begin = "starting" if row["step"] == 0 else f"going on from step {row['step']}"
        self._starts += 1
        again = ", after the workers had to be started again" if self._starts > 1 else ""
        self._say(f"train: {workers}, {begin}{self._of}{again}")

    def _tell_validation(self, row: Row) -> None:
        self._say(
            f"train: step {row['step']}{self._of}, validation {row['val_psnr']:.2f} dB "
            f"(input {row['val_psnr_input']:.2f} dB), SSIM {row['val_ssim']:.4f}"
        )

    def _say(self, line: str) -> None:
        self._clear()
        say(line)

    def _clear(self) -> None:
        if self._line:
            print(_CLEARED, end="", file=sys.stderr, flush=True)
            self._line = ""


def progress_line(row: Row, of: str, validation: Row | None) -> str:
    """Return a record of the losses in words: step, loss, validation, speed, waiting, time left.

    of: what follows the step. validation: the last one.
    """
    parts = [f"step {row['step']}{of}", f"loss {row['loss']:.4f}"]
    if validation is not None:
        parts.append(f"validation {validation['val_psnr']:.2f} dB")
    parts.append(f"{row['samples_per_s']:.1f} pairs/s")
    parts.append(f"waiting {row['waiting_for_data']:.0%} for data")
    if row["waiting_for_storage"] >= 0.005:
        parts.append(f"{row['waiting_for_storage']:.0%} for storage")
    if row["left_s"] is not None:
        parts.append(f"about {_duration(row['left_s'])} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
