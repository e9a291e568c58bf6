"""Turn an exception into one line and an exit code.

Exit codes: 0 done, 1 a failure that nobody foresaw, 2 a mistake that the user can mend, 3 the gate
refused, 4 another process is at the same work, 5 the machine or a service gives out, 130 and 143
interrupted.
"""

import errno
import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import BusyError, GateRefused, UnavailableError, UserError
from pipelines.progress import printable

EXIT_FAILURE, EXIT_USER, EXIT_REFUSED, EXIT_BUSY, EXIT_UNAVAILABLE = 1, 2, 3, 4, 5
EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143

_EXITS = ((GateRefused, EXIT_REFUSED), (BusyError, EXIT_BUSY), (UnavailableError, EXIT_UNAVAILABLE))

_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_NO_NAMES = (errno.ENAMETOOLONG, errno.ELOOP)
# Where an error crossed a library or a process as text (SQLite, safetensors, Ray).
_FULL_DISK_TEXTS = ("No space left on device", "database or disk is full", "Disk quota exceeded")
# Attributes in which Ray, Train and Python keep the exception that caused another.
_HOLDERS = (
    "cause",
    "controller_failure",
    "health_check_failure",
    "_base_exc",
    "__cause__",
    "__context__",
)
# Clients of services with exceptions of their own, and what these call a service that is away.
_CLIENTS = ("aiohttp", "botocore", "requests", "urllib3")
_AWAY = ("ClientConnectionError", "ConnectionError", "HTTPClientError", "MaxRetryError", "Timeout")
_NOT_WRITABLE = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)


class Terminated(BaseException):
    """SIGTERM arrived: raised in the main thread, so that what is open gets closed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What is said of an exception."""

    message: str
    """One line."""
    exit_code: int
    """What the process ends with."""


def explain_failure(error: BaseException) -> Failure:
    """Return the line and the exit code for an exception, wherever in its wrappings they lie.

    Ray wraps what a task raised (``cause``), Train what its workers raised
    (``worker_failures``, ``controller_failure``); the innermost thing that a user can mend wins.
    """
    if isinstance(error, KeyboardInterrupt | Terminated):
        code = EXIT_TERMINATED if isinstance(error, Terminated) else EXIT_INTERRUPTED
        told = str(error) or "stopped; run the same command again to go on where it was"
        return Failure(told, code)
    chain = list(unwrap(error))
    for inner in chain:
        if isinstance(inner, UserError) and not _is_ray_wrapper(inner):
            code = next((code for kind, code in _EXITS if isinstance(inner, kind)), EXIT_USER)
            return Failure(printable(str(inner).strip()), code)
    full = [inner for inner in chain if _is_full_disk(inner)]
    if full:  # a wrapper quotes the message and has lost the name of the file
        where = next((path for inner in full if (path := getattr(inner, "filename", None))), None)
        return Failure(
            f"no space left on the disk{f' at {where}' if where else ''}; free some or give "
            "another root=..., then run the same command again: what was written is kept",
            EXIT_UNAVAILABLE,
        )
    for inner in chain:
        if not isinstance(inner, OSError) or not inner.filename:
            continue
        # A file of a disk or a network folder that does not answer is no service either.
        late = isinstance(inner, TimeoutError) and Path(str(inner.filename)).is_absolute()
        if late or isinstance(inner, _NOT_WRITABLE) or inner.errno in _NO_NAMES:
            reason = (inner.strerror or type(inner).__name__).lower()
            return Failure(f"cannot use {inner.filename}: {reason}; check the path", EXIT_USER)
    away = next((inner for inner in chain if is_service_away(inner)), None)
    if away is not None:
        text = one_line(str(away)) or type(away).__name__
        return Failure(
            f"a service does not answer: {text}; check the storage and the MLflow store, then run "
            "the same command again: what was written is kept",
            EXIT_UNAVAILABLE,
        )
    innermost = chain[-1] if _is_ray_wrapper(error) or len(chain) == 1 else error
    text = one_line(str(innermost)) or "no message"
    return Failure(f"{type(innermost).__name__}: {text}", EXIT_FAILURE)


def write_traceback(error: BaseException) -> Path | None:
    """Write the whole traceback to a file of its own; None where there is no room for it."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="k3dn-traceback-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write("".join(traceback.format_exception(error)))
            return Path(file.name)
    except OSError:
        return None


def one_line(text: str) -> str:
    """Return the first line that says something; the rest is in the traceback."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _is_ray_wrapper(error: BaseException) -> bool:
    """RayTaskError(UserError) is a UserError too, but its text is a remote traceback."""
    return any(base.__module__.split(".")[0] == "ray" for base in type(error).__mro__)


def _is_full_disk(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL_DISK:
        return True
    return any(text in str(error) for text in _FULL_DISK_TEXTS)


def is_service_away(error: BaseException) -> bool:
    """A connection that was refused, lost or timed out, as Python and the storages' clients say."""
    if isinstance(error, ConnectionError | TimeoutError):
        return not _is_ray_wrapper(error)  # Ray's own say that a worker or an object is late
    library = type(error).__module__.split(".")[0]
    return library in _CLIENTS and any(
        base.__name__ in _AWAY for base in type(error).__mro__ if base is not object
    )


def unwrap(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that it wraps, outermost first, each once."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        current = waiting.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        failures = getattr(current, "worker_failures", None)
        waiting += list(failures.values()) if isinstance(failures, dict) else []
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions
        waiting += [getattr(current, name, None) for name in _HOLDERS]
