"""Stopping a run in order: a signal to its driver leads all workers to a checkpoint together.

The driver puts an object into the run's folder; rank 0 sees it and tells the others with the sums
of the next step, so that all stop after the same one.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipelines.failures import Terminated
from pipelines.progress import say
from pipelines.storage import Location

STOP = "stop"
_POLL_S = 0.5


class StopWatch:
    """Looks for the request in a thread, so that no step waits for the storage."""

    def __init__(self, run: Location | None) -> None:
        """run: None for a worker that does not look; rank 0 tells it."""
        self._end = threading.Event()
        self._requested = threading.Event()
        if run is not None:
            marker = run.child(STOP)
            threading.Thread(
                target=self._look, args=(marker,), name="k3dn-stop", daemon=True
            ).start()

    @property
    def requested(self) -> bool:
        """Whether the run is to stop."""
        return self._requested.is_set()

    def close(self) -> None:
        """Look no longer."""
        self._end.set()

    def _look(self, marker: Location) -> None:
        while not self._end.wait(_POLL_S):
            try:
                if marker.exists():
                    self._requested.set()
                    return
            except Exception:  # the storage hiccups: look again later
                continue


class Stopper:
    """What the driver's signals asked for."""

    def __init__(self, run: Location, grace_s: float) -> None:
        self._run, self._grace_s = run, grace_s
        self._number: int | None = None
        self._timer: threading.Timer | None = None

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Ask the workers to stop; the second signal, or the end of the grace, ends it at once."""
        if self._number is not None:
            raise self._as_exception()
        self._number = number
        say(f"train: stopping behind a checkpoint, in {self._grace_s:g} s at most")
        self._timer = threading.Timer(self._grace_s, os.kill, (os.getpid(), number))
        self._timer.daemon = True
        self._timer.start()
        self._run.child(STOP).write_bytes(b"")

    def close(self) -> None:
        """Forget the grace."""
        if self._timer is not None:
            self._timer.cancel()

    def raise_if_asked(self) -> None:
        """Raise KeyboardInterrupt or Terminated where a signal asked for the stop that came."""
        if self._number is not None:
            raise self._as_exception()

    def _as_exception(self) -> BaseException:
        return KeyboardInterrupt() if self._number == signal.SIGINT else Terminated()


@contextmanager
def stopping_in_order(run: Location, grace_s: float) -> Iterator[Stopper]:
    """Let SIGINT and SIGTERM stop the run of the block in order, where this is the main thread."""
    stopper = Stopper(run, grace_s)
    run.child(STOP).delete()  # an earlier stop is no reason to stop again
    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return
    before = {
        number: signal.signal(number, stopper.handle) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stopper
    finally:
        stopper.close()
        for number, handler in before.items():
            signal.signal(number, handler)
