"""Writing to the storage beside the steps: one thread, one piece of work at a time.

A training must not stand still while its storage is slow, nor end because it is away for some
minutes: what cannot be written is tried again until the patience ends, and a newer piece of the
same kind, such as the next checkpoint, takes the place of one that does not get through.
"""

import logging
import threading
import time
from collections.abc import Callable

from pipelines.errors import UnavailableError, UserError
from pipelines.failures import explain_failure
from pipelines.retry import pauses_s

log = logging.getLogger(__name__)

Job = Callable[[], None]


class BackgroundWriter:
    """Writes in order, and remembers what failed for good."""

    def __init__(self, patience_s: float) -> None:
        """patience_s: how long a piece may fail before the run ends."""
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._waiting: dict[str, Job] = {}
        self._at_work: str | None = None
        self._failing = False
        self._failing_since_s: float | None = None
        self._ending = False
        self._error: BaseException | None = None
        self.waited_s = 0.0
        """How long the training has waited for this so far."""
        self._thread = threading.Thread(target=self._work, name="k3dn-writer", daemon=True)
        self._thread.start()

    def submit(self, kind: str, job: Job) -> None:
        """Have a piece written. Waits for the one of its kind before it, unless that one fails.

        job: may be called more than once. Raises what ``check`` raises.
        """
        begun_s = time.perf_counter()
        with self._changed:
            while (self._at_work == kind or kind in self._waiting) and not self._failing:
                self._changed.wait()
                self._raise()
            self._raise()
            self._waiting.pop(kind, None)  # to the end: its place in the order is that of the new
            self._waiting[kind] = job
            self._changed.notify_all()
        self.waited_s += time.perf_counter() - begun_s

    def check(self) -> None:
        """Raise UnavailableError where a piece could not be written for the whole patience, and
        whatever else a piece raised."""
        with self._changed:
            self._raise()

    def join(self) -> None:
        """Wait until all is written. Raises what ``check`` raises."""
        begun_s = time.perf_counter()
        with self._changed:
            while self._waiting or self._at_work:
                self._raise()
                self._changed.wait()
            self._raise()
        self.waited_s += time.perf_counter() - begun_s

    def close(self) -> None:
        """Try what is left once more, and end. Raises nothing."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ending:
                    self._changed.wait()
                if not self._waiting:
                    return
                kind = next(iter(self._waiting))
                job, self._at_work = self._waiting.pop(kind), kind
            error = self._write(kind, job)
            with self._changed:
                self._at_work, self._failing = None, False
                if error is not None:
                    self._error = error
                    self._waiting.clear()
                self._changed.notify_all()
                if error is not None:
                    return

    def _write(self, kind: str, job: Job) -> BaseException | None:
        """Write until it is done, or a newer piece is there; return what ends the run."""
        for pause_s in pauses_s():
            try:
                job()
            except UserError as error:  # e.g. the run was taken over
                return error
            except Exception as error:  # OSError, or what a storage's client raises
                if not _is_of_storage(error):
                    return error
                now_s = time.monotonic()
                self._failing_since_s = self._failing_since_s or now_s
                failing_s = now_s - self._failing_since_s
                reason = explain_failure(error).message
                if failing_s + pause_s > self._patience_s:
                    return UnavailableError(
                        f"{kind} cannot be written for {failing_s / 60:.1f} minutes: {reason}"
                    )
                log.warning("%s is not written yet, and tried again: %s", kind, reason)
                with self._changed:
                    self._failing = True
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: kind in self._waiting or self._ending, pause_s)
                    if kind in self._waiting or self._ending:
                        return None
            else:
                self._failing_since_s = None
                return None
        return None


def _is_of_storage(error: Exception) -> bool:
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or library in ("aiohttp", "botocore", "fsspec", "gcsfs")
