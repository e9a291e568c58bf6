"""How far a run is, and how long it will take: a bar in a terminal, else a line now and then."""

import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

from pipelines.progress import printable, say

_LINE_EVERY_S = 15.0


class Progress:
    """Shows progress over pictures and, within each, over tiles; a context manager.

    Several threads may make a picture each.
    """

    def __init__(self, pictures: int) -> None:
        self._pictures, self._begun, self._done = pictures, 0, 0
        self._shares: dict[int, float] = {}
        """Of the picture that each thread makes, so much is done."""
        self._lock = threading.RLock()
        self._started_s = self._told_s = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from tqdm import tqdm

            # Fractions of pictures: a tile counts as its share of one.
            form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
            self._bar = tqdm(total=float(self._pictures), desc="sharpening", bar_format=form)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, line: str) -> None:
        """Print a line, above the bar where there is one."""
        with self._lock:
            if self._bar is None:
                say(line)
            else:
                self._bar.write(printable(line), file=sys.stderr)

    def begin(self, what: str, by: str) -> None:
        """A picture is begun."""
        with self._lock:
            self._begun += 1
            self._shares[threading.get_ident()] = 0.0
            number = self._done + len(self._shares)
            of = f" {number} of {self._pictures}" if self._pictures > 1 else ""
            if self._bar is not None:
                self._bar.set_description_str(printable(f"{what}{of}"))
            elif self._begun == 1:
                say(f"sharpening{of}: {what}, by {by}")

    def tiles(self, done: int, total: int) -> None:
        """So many tiles of this thread's picture are done."""
        with self._lock:
            self._shares[threading.get_ident()] = done / total
            self._show()

    def end(self, *, made: bool = True) -> None:
        """This thread's picture is done; or given up, or was there already: then it is no work, and
        tells nothing of how long the others take."""
        with self._lock:
            self._shares.pop(threading.get_ident(), None)
            if made:
                self._done += 1
            else:
                self._pictures -= 1
                if self._bar is not None:
                    self._bar.total -= 1
            self._show()

    def _show(self) -> None:
        done = self._done + sum(self._shares.values())
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            return
        now_s = time.monotonic()
        if now_s - self._told_s >= _LINE_EVERY_S and 0 < done < self._pictures:
            self._told_s = now_s
            left_s = (now_s - self._started_s) / done * (self._pictures - done)
            share = f"{done / self._pictures:.0%}"
            of = f" ({self._done} of {self._pictures} pictures)" if self._pictures > 1 else ""
            say(f"sharpening: {share}{of}, about {left_s:.0f} s left")
