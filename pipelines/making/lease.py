"""A lease in storage: at most one process at a time does a piece of work.

It only saves double work. What is published is guarded by put-if-absent of the manifest, so a
lease that is lost, because its holder slept longer than the lease lasts, does no harm.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from pipelines.errors import BusyError
from pipelines.storage import Location

_LASTS_S = 120.0
_RENEWED_EVERY_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Who holds a lease, until when."""

    token: str
    host: str
    pid: int
    expires_s: float
    """Unix time. Clocks of machines may differ by seconds, not by minutes."""

    def is_gone(self) -> bool:
        """Tell whether the holder ran out of time, or is a dead process of this machine."""
        if time.time() > self.expires_s:
            return True
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # alive, somebody else's
            return False
        return False


@contextmanager
def lease(location: Location, *, work: str) -> Iterator[None]:
    """Hold the lease while the block runs, renewing it; a holder that is gone is replaced.

    work: named in the message. Raises BusyError where another process holds it.
    """
    token = secrets.token_hex(8)
    in_the_way = _take(location, token)
    if in_the_way is not None:
        raise BusyError(
            f"{work} is being done by process {in_the_way.pid} on {in_the_way.host}; wait for "
            f"it, or, where it is dead, try again in {_LASTS_S / 60:.0f} minutes"
        )
    done = threading.Event()
    renewal = threading.Thread(target=_renew, args=(location, token, done), daemon=True)
    renewal.start()
    try:
        yield
    finally:
        done.set()
        renewal.join()
        found = _read(location)
        if found is not None and found.token == token:
            location.delete()


def _take(location: Location, token: str) -> Holder | None:
    """Take the lease; return who is in the way, None where it is ours now."""
    while not location.put_if_absent(_holder(token)):
        found = _read(location)
        if found is None:  # given back a moment ago
            continue
        # Ours after all where the answer to our own writing was lost on the way.
        if found.token == token or (found.is_gone() and _replace(location, found, token)):
            return None
        return found
    return None


def _replace(location: Location, gone: Holder, token: str) -> bool:
    """Take the lease over from a holder that is gone; of several that try, one does."""
    marker = Location(f"{location.url}.after-{gone.token}")
    if not marker.put_if_absent(_holder(token)):
        other = _read(marker)
        if other is None or not other.is_gone():
            return False
        marker.write_bytes(_holder(token))  # the one that tried before died over it
    now = _read(location)
    if now is None or now.token == gone.token:
        location.write_bytes(_holder(token))
    marker.delete()
    now = _read(location)
    return now is not None and now.token == token


def _renew(location: Location, token: str, done: threading.Event) -> None:
    while not done.wait(_RENEWED_EVERY_S):
        found = _read(location)
        if found is None or found.token != token:
            return
        try:
            location.write_bytes(_holder(token))
        except OSError:  # it lasts for several renewals: the next one may succeed
            continue


def _holder(token: str) -> bytes:
    holder = Holder(
        token=token,
        host=socket.gethostname(),
        pid=os.getpid(),
        expires_s=time.time() + _LASTS_S,
    )
    return json.dumps(asdict(holder)).encode()


def _read(location: Location) -> Holder | None:
    try:
        return Holder(**json.loads(location.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
