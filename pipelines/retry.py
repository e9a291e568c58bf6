"""Try again what a service refused for a moment: one way for all that reads and writes."""

import errno
import functools
import random
import time
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from pipelines.failures import is_service_away

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S = 20.0
"""How long a call goes on trying; what may wait longer, such as a checkpoint, does so itself."""
_FIRST_S, _MOST_S = 0.25, 15.0
_TRANSIENT = (
    errno.EAGAIN,
    errno.EBUSY,  # how S3's SlowDown and 503 arrive
    errno.EIO,
    getattr(errno, "EREMOTEIO", errno.EIO),  # S3's InternalError and 500
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
)


def is_transient(error: BaseException) -> bool:
    """Tell whether the same call may succeed a moment later: a service that is away or busy."""
    return is_service_away(error) or (isinstance(error, OSError) and error.errno in _TRANSIENT)


def pauses_s() -> Iterator[float]:
    """Yield how long to wait between tries: longer each time, and never the same for two."""
    pause_s = _FIRST_S
    while True:
        yield pause_s * random.uniform(0.5, 1.0)
        pause_s = min(2 * pause_s, _MOST_S)


def retried(call: Callable[P, T]) -> Callable[P, T]:
    """Decorate what may be called twice: transient faults are tried again for ``PATIENCE_S``."""

    @functools.wraps(call)
    def tried(*args: P.args, **kwargs: P.kwargs) -> T:
        end_s = time.monotonic() + PATIENCE_S
        for pause_s in pauses_s():
            try:
                return call(*args, **kwargs)
            except Exception as error:
                if not is_transient(error) or time.monotonic() + pause_s > end_s:
                    raise
            time.sleep(pause_s)
        raise AssertionError("unreachable")

    return tried
