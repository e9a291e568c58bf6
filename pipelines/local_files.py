"""Files on a local disk that appear whole or not at all, and folders with links in them."""

import errno
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pipelines.errors import UserError

TEMPORARY = ".tmp-"
"""In the names of files that are not whole yet: listings leave them out."""
_MOST_LINKS = 4
"""Of folders on a way, that are links."""
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def temporary_file(path: Path, data: bytes) -> Iterator[Path]:
    """Make a complete file beside ``path``; it is gone when the block ends. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def name_if_absent(file: Path, path: Path) -> bool:
    """Give a whole local file a name beside it, unless one is there; it may keep its old one, too.

    Of many writers exactly one gets True. Raises OSError.
    """
    try:
        path.hardlink_to(file)  # link() refuses an existing name
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        return _rename_if_absent(file, path)
    return True


def write_if_absent(path: Path, data: bytes) -> bool:
    """Write a file unless one is there. Of many writers exactly one gets True. Raises OSError."""
    with temporary_file(path, data) as temporary:  # whole before the name appears
        return name_if_absent(temporary, path)


def remove_temporary(folder: Path, *, older_than_s: float) -> None:
    """Delete what killed writers left below a folder."""
    for file in folder.rglob(f".*{TEMPORARY}*"):
        try:
            if time.time() - file.stat().st_mtime >= older_than_s:
                file.unlink()
        except FileNotFoundError:  # its writer was alive after all and has renamed it
            continue


def walk_links(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the files below a folder and their sizes, through links, with a guard against loops.

    In the order of their paths; of millions no more is in memory than the names in one folder.
    Raises UserError where folders link to each other on and on.
    """
    waiting = [_Entered(str(folder), "")]
    waiting[0].enter()
    while waiting:
        here = waiting[-1]
        name = next(here.names, None)
        if name is None:
            waiting.pop()
        elif not name.endswith("/"):
            yield here.prefix + name, _size(f"{here.path}/{name}")
        else:
            path = f"{here.path}/{name[:-1]}"
            links = here.links + os.path.islink(path)  # noqa: PTH114
            below = _Entered(path, here.prefix + name, here.way, links)
            if below.identity in here.way:
                continue
            if links > _MOST_LINKS:  # they have more paths than one can walk
                raise UserError(
                    f"{folder}: links lead from one to the next ({below.prefix}); name a folder "
                    "below them"
                )
            below.enter()
            waiting.append(below)


class _Entered:
    """A folder on the way."""

    def __init__(
        self,
        path: str,
        prefix: str,
        above: frozenset[tuple[int, int]] = frozenset(),
        links: int = 0,
    ) -> None:
        """above: the folders that it lies in. links: how many of them are links."""
        status = os.stat(path)  # noqa: PTH116
        self.path, self.prefix, self.links = path, prefix, links
        self.identity = status.st_dev, status.st_ino
        self.way = above | {self.identity}
        self.names: Iterator[str] = iter(())

    def enter(self) -> None:
        """Look what is in it: files, and folders, which end in a slash."""
        with os.scandir(self.path) as entries:
            # The slash counts in the order: what is below 'a' comes after 'a-b', before 'a0'.
            names = sorted(
                f"{entry.name}/" if entry.is_dir() else entry.name
                for entry in entries
                # Not a pipe or a device, which is never read to its end.
                if entry.is_dir() or entry.is_file() or entry.is_symlink()
            )
        self.names = iter(names)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        if os.path.islink(path):  # noqa: PTH114
            return 0  # it leads nowhere
        raise


def _rename_if_absent(temporary: Path, path: Path) -> bool:
    """Rename unless ``path`` exists, where there are no hard links (exFAT, SMB).

    Under a lock on a file beside it, which the system lets go of when its holder dies: so the
    name appears with its content or not at all. The lock's file goes with the holder;
    ``remove_temporary`` deletes that of a killed one.
    """
    lock_path = path.with_name(f".{_digest(path.name)}{TEMPORARY}lock")
    while True:
        with lock_path.open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:  # a file system without locks
                lock_path.unlink(missing_ok=True)
                raise
            if not _is_called(lock, lock_path):  # deleted while this one waited: of no use
                continue
            os.utime(lock.fileno())
            absent = not os.path.lexists(path)
            if absent:
                temporary.replace(path)
            lock_path.unlink()
            return absent


def _is_called(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _digest(name: str) -> str:
    """Short, as a name may be as long as names may be."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
