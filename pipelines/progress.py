"""Progress of long work, on stderr: a bar in a terminal, a few plain lines in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")

_LOG_EVERY_S = 15.0
_SOON_S = 2.0


def say(message: str) -> None:
    """Print one line for a human to stderr; stdout is kept for results.

    Nobody may read it any more (``2>&1 | head``): the work goes on.
    """
    with suppress(BrokenPipeError):
        print(printable(message), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    r"""Return one line that any terminal takes: control characters, and bytes of a file's name that
    are no UTF-8, become ``\xNN``."""
    if text.isprintable():
        return text
    return "".join(
        sign
        if sign.isprintable()
        else sign.encode("utf-8", "surrogateescape")
        .decode("latin-1")
        .encode("unicode_escape")
        .decode()
        for sign in text
    )


def progress(
    iterable: Iterable[T], *, total: int | None = None, label: str, unit: str = ""
) -> Iterator[T]:
    """Yield the items of ``iterable`` and show how far it is.

    total: number of items where it is known (taken from ``len`` where possible).
    In a terminal a tqdm bar; otherwise one line at the start, one about every 15 s, one at
    the end, so that the log of a cluster job stays readable. ``label`` names the work.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(iterable, total=total, desc=label, unit=unit or "it", leave=True)
        return
    of = f" of {total}" if total is not None else ""
    suffix = f" {unit}" if unit else ""
    say(f"{label}: 0{of}{suffix}")
    started_s = told_s = time.monotonic()
    done = 0
    for item in iterable:
        yield item
        done += 1
        now_s = time.monotonic()
        if now_s - told_s >= _LOG_EVERY_S and done != total:
            told_s = now_s
            say(f"{label}: {done}{of}{suffix} ({now_s - started_s:.0f} s)")
    say(f"{label}: {done}{of}{suffix}, done in {time.monotonic() - started_s:.1f} s")


@contextmanager
def told_progress(label: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that is told how many of how many are done, and shows it.

    As ``progress`` does, but nothing is shown of work that is done within seconds.
    """
    started_s = told_s = time.monotonic()
    bar: Any = None

    def told(done: int, total: int) -> None:
        nonlocal bar, told_s
        now_s = time.monotonic()
        if bar is None and (done == total or now_s - started_s < _SOON_S):
            return
        if sys.stderr.isatty():
            if bar is None:
                from tqdm import tqdm

                bar = tqdm(desc=label, total=total, unit=unit)
            bar.update(done - bar.n)
        elif now_s - told_s >= _LOG_EVERY_S:
            told_s = now_s
            left_s = (now_s - started_s) / done * (total - done)
            say(f"{label}: {done} of {total} {unit}, about {left_s:.0f} s left")

    try:
        yield told
    finally:
        if bar is not None:
            bar.close()
