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

    Raises UserError where folders link to each other on and on.
    """
    waiting: list[tuple[Path, str, frozenset[tuple[int, int]], int]] = [
        (folder, "", frozenset(), 0)
    ]
    while waiting:
        here, prefix, above, links = waiting.pop()
        identity = here.stat()
        if (identity.st_dev, identity.st_ino) in above:
            continue
        if links > _MOST_LINKS:  # folders that link to each other have more paths than one can walk
            raise UserError(
                f"{folder}: links lead from one to the next ({prefix}); name a folder below them"
            )
        within = above | {(identity.st_dev, identity.st_ino)}
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.is_dir():
                    deeper = links + entry.is_symlink()
                    waiting.append((here / entry.name, f"{prefix}{entry.name}/", within, deeper))
                elif entry.is_file():
                    yield prefix + entry.name, entry.stat().st_size
                elif entry.is_symlink():  # it leads nowhere
                    yield prefix + entry.name, 0
                # else a pipe or a device, which is never read to its end


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
