"""A lease in storage: at most one process at a time does a piece of work.

Every holder has a number, one higher than that of the holder before. A holder that was replaced,
because it slept or was cut off for longer than the lease lasts, does not know; whoever reads what
it wrote tells by the number. The lease is a folder with an object a number: to take it is to put
the next one there if it is absent, so that of several that try one succeeds.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace

from pipelines.errors import BusyError
from pipelines.progress import say
from pipelines.storage import Location

_LASTS_S = 120.0
_RENEWED_EVERY_S = 30.0
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Who holds a lease, until when."""

    token: str
    host: str
    pid: int
    expires_s: float
    """Unix time. Clocks of machines may differ by seconds, not by minutes."""

    def is_gone(self) -> bool:
        """Tell whether the holder gave it back or ran out of time, or is a dead process here."""
        if time.time() > self.expires_s:
            return True
        if not self.is_here():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # alive, somebody else's
            return False
        return False

    def is_here(self) -> bool:
        """Tell whether the holder is a process of this machine."""
        return self.host == socket.gethostname()

    def __str__(self) -> str:
        """Return the holder in words."""
        return f"process {self.pid} on {self.host}"


@contextmanager
def lease(location: Location, *, work: str, wait: bool = False) -> Iterator[int]:
    """Hold the lease while the block runs, renewing it; give the holder's number.

    A holder that is gone is replaced. work: named in the message. wait: where the holder may be
    dead on another machine, wait until it renews its lease or runs out of time.
    Raises BusyError where another process holds it.
    """
    token = secrets.token_hex(8)
    number, in_the_way = _take(location, token)
    if in_the_way is not None and wait and not in_the_way.is_here():
        say(f"{work} was last done by {in_the_way}; waiting until that one is heard of, or is gone")
        _await_sign_of_life(location, in_the_way)
        number, in_the_way = _take(location, token)
    if in_the_way is not None:
        raise BusyError(
            f"{work} is being done by {in_the_way}; wait for it, or, where it is dead, try again "
            f"in {_LASTS_S / 60:.0f} minutes"
        )
    done = threading.Event()
    renewal = threading.Thread(target=_renew, args=(location, number, token, done), daemon=True)
    renewal.start()
    try:
        yield number
    finally:
        done.set()
        renewal.join()
        with suppress(Exception):  # the storage is away: it runs out by itself
            if holds(location, number):  # the number stays: the next one is higher
                _write(location, number, replace(_holder(token), expires_s=0.0))


def holds(location: Location, number: int) -> bool:
    """Tell whether nobody has taken the lease after the holder of this number."""
    return _newest(location) == number


def holder_of(location: Location) -> Holder | None:
    """Return the last holder of a lease; None where it never had one."""
    return _read(location, _newest(location))


def _take(location: Location, token: str) -> tuple[int, Holder | None]:
    """Take the lease; return our number, or who is in the way."""
    while True:
        before = _newest(location)
        found = _read(location, before)
        if found is not None and not found.is_gone():
            return before, found
        number = before + 1
        made = _object(location, number).put_if_absent(_as_bytes(_holder(token)))
        if not made:
            found = _read(location, number)
            # Ours after all where the answer to our own writing was lost on the way.
            if found is None or found.token != token:
                continue
        # A number that was taken and given back while we looked may have been cleared away.
        if _newest(location) == number:
            for old in _numbers(location)[:-1]:
                _object(location, old).delete()
            return number, None
        _object(location, number).delete()


def _await_sign_of_life(location: Location, holder: Holder) -> None:
    """Wait until the holder of a lease renews it, gives it back, is replaced or runs out."""
    end_s = time.monotonic() + _LASTS_S + _RENEWED_EVERY_S
    while time.monotonic() < end_s and not holder.is_gone():
        time.sleep(_LOOK_EVERY_S)
        if holder_of(location) != holder:
            return


def _renew(location: Location, number: int, token: str, done: threading.Event) -> None:
    while not done.wait(_RENEWED_EVERY_S):
        try:
            if not holds(location, number):
                return
            _write(location, number, _holder(token))
        except Exception:  # it lasts for several renewals: the next one may succeed
            continue


def _holder(token: str) -> Holder:
    return Holder(
        token=token,
        host=socket.gethostname(),
        pid=os.getpid(),
        expires_s=time.time() + _LASTS_S,
    )


def _as_bytes(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _write(location: Location, number: int, holder: Holder) -> None:
    _object(location, number).write_bytes(_as_bytes(holder))


def _object(location: Location, number: int) -> Location:
    return location.child(f"{number:08d}.json")


def _numbers(location: Location) -> list[int]:
    stems = (name.partition(".")[0] for name in location.list())
    return sorted(int(stem) for stem in stems if stem.isdigit())


def _newest(location: Location) -> int:
    return max(_numbers(location), default=0)


def _read(location: Location, number: int) -> Holder | None:
    try:
        return Holder(**json.loads(_object(location, number).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
