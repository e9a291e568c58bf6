"""The files of an archive (zip, tar, tgz), read where they are; nothing is unpacked to a folder.

Names and sizes are checked before anything is read; links in a tar are followed within it. A tgz
cannot be read in the middle: each process keeps what it decompresses to in a file without a name.
"""

import errno
import lzma
import posixpath
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import IO, BinaryIO, Protocol, cast

from pipelines.dataset.names import escaped
from pipelines.errors import UserError
from pipelines.storage import Location

SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz")
MOST_BYTES = 2 << 30
"""Of one file: a picture of 268 megapixels with 16 bit has less."""
_MOST_TIMES = 50
"""What a tgz may decompress to, of its size; pictures gain no such factor."""
_CHUNK_BYTES = 1 << 20
_DAMAGES = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)


class _Members(Protocol):
    sizes: dict[str, int]

    def read(self, name: str) -> bytes:
        """Return a file's content. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive. Picklable; a process opens it once, when it first reads from it."""

    location: Location

    def walk(self) -> dict[str, int]:
        """Return each file by its name with its size. Raises UserError for an archive that is
        damaged, encrypted, names a file twice or one outside itself."""
        return dict(sorted(_open(self.location).sizes.items()))

    def read(self, name: str) -> bytes:
        """Return a file's content. Raises OSError."""
        members = _open(self.location)
        if name not in members.sizes:
            raise FileNotFoundError(errno.ENOENT, "not in the archive", name)
        if members.sizes[name] > MOST_BYTES:
            raise OSError(errno.EFBIG, "more than 2 GiB in the archive", name)
        return members.read(name)


def is_archive(url: str) -> bool:
    """Tell whether a file's name is that of an archive that is read."""
    return url.lower().endswith(SUFFIXES)


class _Zip:
    def __init__(self, file: BinaryIO, where: str) -> None:
        self._zip = zipfile.ZipFile(file)
        infos = [info for info in self._zip.infolist() if not info.is_dir()]
        if any(info.flag_bits & 1 for info in infos):
            raise UserError(f"{where} is encrypted; unpack it and name the folder")
        names = [_plain(info.filename, where) for info in infos]
        _check_each_once(names, where)
        self._names = dict(zip(names, (info.filename for info in infos), strict=True))
        self.sizes = {n: i.file_size for n, i in zip(names, infos, strict=True)}

    def read(self, name: str) -> bytes:
        try:
            return self._zip.read(self._names[name])
        except _DAMAGES as error:
            raise OSError(errno.EIO, f"damaged in the archive ({error})", name) from error


class _Tar:
    def __init__(self, file: IO[bytes], where: str) -> None:
        self._tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 (open while it is used)
        self._lock = threading.Lock()  # threads share one position in the file
        everything = self._tar.getmembers()
        self._check_end(file, where)
        members = [m for m in everything if m.isreg() or m.islnk() or m.issym()]
        names = [_plain(member.name, where) for member in members]
        _check_each_once(names, where)
        self._members = _of_links(dict(zip(names, members, strict=True)))
        self.sizes = {name: member.size for name, member in self._members.items()}

    def _check_end(self, file: IO[bytes], where: str) -> None:
        """Raise UserError where the list of members ends before the archive does: what is damaged
        within it, tarfile takes for its end."""
        file.seek(self._tar.offset)
        block = file.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE:
            raise UserError(f"{where} is cut off (its end is missing); fetch it again")
        if any(block):
            last = self._tar.getmembers()[-1].name
            raise UserError(f"{where}: damaged behind {escaped(last)}; fetch it again")

    def read(self, name: str) -> bytes:
        with self._lock:
            member = self._members[name]
            file = self._tar.extractfile(member) if member.isreg() else None
            if file is None:
                raise FileNotFoundError(errno.ENOENT, "a link that leads nowhere", name)
            data = file.read()
        if len(data) != self.sizes[name]:
            raise OSError(errno.EIO, "cut off in the archive", name)
        return data


@lru_cache(maxsize=4)
def _open(location: Location) -> _Members:
    try:
        file = location.open()
        if location.url.lower().endswith(".zip"):
            return _Zip(file, location.url)
        if location.url.lower().endswith(".tar"):
            return _Tar(file, location.url)
        return _Tar(_decompressed(file, location), location.url)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise UserError(
            f"{location}: damaged, or not an archive ({error}); fetch it again"
        ) from error


def _decompressed(file: BinaryIO, location: Location) -> IO[bytes]:
    import gzip

    most = _MOST_TIMES * location.size() + _CHUNK_BYTES
    whole = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the archive is)
    try:
        with gzip.open(file) as packed:
            while chunk := packed.read(_CHUNK_BYTES):
                if whole.tell() + len(chunk) > most:
                    raise UserError(
                        f"{location} decompresses to more than {_MOST_TIMES} times its size, as no "
                        "pictures do; unpack it and name the folder, if it is what it should be"
                    )
                whole.write(chunk)
    except gzip.BadGzipFile as error:
        raise UserError(f"{location}: damaged, or not a tgz ({error}); fetch it again") from error
    whole.seek(0)
    return cast(IO[bytes], whole)


def _plain(name: str, where: str) -> str:
    """Return a member's name as a path without ``./``. Raises UserError for one outside."""
    if "\\" in name:
        raise UserError(
            f"{where} has backslashes in names, as of Windows ({escaped(name)}): unpack it and "
            "name the folder"
        )
    if name.startswith("/") or ".." in name.split("/"):
        raise UserError(f"{where} names a file outside itself: {escaped(name)}")
    return str(PurePosixPath(name))


def _check_each_once(names: list[str], where: str) -> None:
    name, count = max(Counter(names).items(), key=lambda item: item[1], default=("", 0))
    if count > 1:
        raise UserError(f"{where} holds {count} files of the name {escaped(name)}")


def _of_links(members: dict[str, tarfile.TarInfo]) -> dict[str, tarfile.TarInfo]:
    """Return the files by name, links as what they lead to; one that leads to none stays a link."""
    found: dict[str, tarfile.TarInfo] = {}
    for name, member in members.items():
        seen = {name}
        at: str = name
        while at in members and not members[at].isreg():
            link = members[at]
            base = posixpath.dirname(at) if link.issym() else ""
            at = posixpath.normpath(posixpath.join(base, link.linkname))
            if at in seen:
                break
            seen.add(at)
        there = at in members and members[at].isreg()
        found[name] = members[at] if there else member
    return found
