"""The files of an archive (zip, tar, tgz), read where they are; nothing is unpacked to a folder.

Names and sizes are checked before anything is read. A tgz cannot be read in the middle: each
process keeps what it decompresses to in a file without a name.
"""

import errno
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
        _check_names([info.filename for info in infos], where)
        self.sizes = {info.filename: info.file_size for info in infos}

    def read(self, name: str) -> bytes:
        try:
            return self._zip.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise OSError(errno.EIO, f"damaged in the archive ({error})", name) from error


class _Tar:
    def __init__(self, file: IO[bytes], where: str) -> None:
        self._tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 (open while it is used)
        self._lock = threading.Lock()  # threads share one position in the file
        members = [member for member in self._tar.getmembers() if member.isreg()]
        names = [str(PurePosixPath(member.name)) for member in members]
        _check_names(names, where)
        self._members = dict(zip(names, members, strict=True))
        self.sizes = {name: member.size for name, member in self._members.items()}

    def read(self, name: str) -> bytes:
        with self._lock:
            file = self._tar.extractfile(self._members[name])
            assert file is not None  # a regular file
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
        raise UserError(f"{location}: damaged or no archive ({error}); fetch it again") from error


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
        raise UserError(f"{location}: damaged or no tgz ({error}); fetch it again") from error
    whole.seek(0)
    return cast(IO[bytes], whole)


def _check_names(names: list[str], where: str) -> None:
    for name in names:
        if name.startswith("/") or ".." in name.split("/") or "\\" in name:
            raise UserError(f"{where} names a file outside itself: {escaped(name)}")
    name, count = max(Counter(names).items(), key=lambda item: item[1], default=("", 0))
    if count > 1:
        raise UserError(f"{where} holds {count} files of the name {escaped(name)}")
