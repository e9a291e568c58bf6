"""Storage behind URLs: a folder, ``s3://``, ``gs://``, ``memory://``, through fsspec.

Calls that may be made twice are tried again where the service is away for a moment.
Whatever is written appears whole or not at all: a temporary file and a rename in a folder, one
PUT on an object store. Nothing here lists a folder to find out whether something is complete.

``put_if_absent`` needs more of an object store: a PUT that the service itself refuses where the
object exists. fsspec's packages send one to S3 and Azure (If-None-Match) and to Google Cloud
Storage (ifGenerationMatch); elsewhere fsspec looks first and writes afterwards: refused here.
"""

import errno
import hashlib
import os
import posixpath
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from pipelines.errors import UnavailableError, UserError
from pipelines.local_files import (
    TEMPORARY,
    remove_temporary,
    temporary_file,
    walk_links,
    write_if_absent,
)
from pipelines.retry import retried

_LOCAL_SCHEMES = ("", "file", "local")
_CHUNK_BYTES = 1 << 20
_CONDITIONAL_PUT = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
_PRESENT = ("PreconditionFailed", "412")
_CONFLICT = ("ConditionalRequestConflict", "OperationAborted", "409")
_CONFLICT_TRIES = 8
_S3_OPTIONS = {
    "config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 4}},
    # Ranges are asked for as they are needed: Parquet knows which ones, read-ahead does not.
    "default_cache_type": "none",
}


@dataclass(frozen=True)
class Location:
    """A file or folder in storage, by URL. Picklable; connects when it is first used."""

    url: str

    @property
    def scheme(self) -> str:
        """``file``, ``s3``, ``memory``, ..."""
        scheme = self.url.partition("://")[0] if "://" in self.url else ""
        return "file" if scheme in _LOCAL_SCHEMES else scheme

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return posixpath.basename(self.url.rstrip("/"))

    def child(self, *parts: str) -> "Location":
        """Return the location below this one."""
        return Location("/".join([self.url.rstrip("/") or "/", *(p.strip("/") for p in parts)]))

    def local_path(self) -> Path | None:
        """Return the path where this is a local file or folder, else None."""
        if self.scheme != "file":
            return None
        return Path(self.url.partition("://")[2] if "://" in self.url else self.url)

    @retried
    def exists(self) -> bool:
        """Tell whether a file or folder is there."""
        path = self.local_path()
        if path is not None:
            return path.exists()
        fs, remote = self._filesystem()
        return bool(fs.exists(remote))

    @retried
    def size(self) -> int:
        """Return the size in bytes. Raises FileNotFoundError."""
        path = self.local_path()
        if path is not None:
            return path.stat().st_size
        fs, remote = self._filesystem()
        return int(fs.info(remote)["size"])

    @retried
    def read_bytes(self) -> bytes:
        """Return the whole content. Raises FileNotFoundError."""
        path = self.local_path()
        if path is not None:
            return path.read_bytes()
        fs, remote = self._filesystem()
        return bytes(fs.cat_file(remote))

    @retried
    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of each range (start, stop); fewer where the file ends before.

        On an object store each is a request, all at the same time. Raises FileNotFoundError.
        """
        path = self.local_path()
        if path is not None:
            with path.open("rb", buffering=0) as file:
                return [os.pread(file.fileno(), stop - start, start) for start, stop in ranges]
        fs, remote = self._filesystem()
        starts, stops = [start for start, _ in ranges], [stop for _, stop in ranges]
        parts = fs.cat_ranges([remote] * len(starts), starts, stops, on_error="raise")
        return [bytes(part) for part in parts]

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open for reading, with seeking. To write, use ``write_bytes``: it is atomic."""
        if mode != "rb":
            raise ValueError(f"{self.url}: only mode 'rb' is offered, not {mode!r}")
        path = self.local_path()
        if path is not None:
            return path.open("rb")
        fs, remote = self._filesystem()
        return cast(BinaryIO, fs.open(remote, "rb"))

    def sha256(self) -> str:
        """Return the sha256 (hex) of the content."""
        digest = hashlib.sha256()
        if self.local_path() is None:
            digest.update(self.read_bytes())
            return digest.hexdigest()
        with self.open() as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    @retried
    def write_bytes(self, data: bytes) -> None:
        """Write the whole content, atomically; replaces what was there.

        Raises OSError (no space left, no permission); what was there before is then untouched.
        """
        path = self.local_path()
        if path is None:
            fs, remote = self._filesystem()
            fs.pipe_file(remote, data)
            return
        with temporary_file(path, data) as temporary:
            temporary.replace(path)

    @property
    def can_put_if_absent(self) -> bool:
        """Whether ``put_if_absent`` works here."""
        return self.scheme in ("file", *_CONDITIONAL_PUT)

    def put_if_absent(self, data: bytes) -> bool:
        """Write atomically if nothing is there. Of many writers exactly one gets True.

        Raises UserError on a storage that cannot tell one writer from another.
        """
        path = self.local_path()
        if path is not None:
            return write_if_absent(path, data)
        if not self.can_put_if_absent:
            raise UserError(
                f"{self.url}: '{self.scheme}://' has no atomic put-if-absent, so two writers could "
                "overwrite each other; keep the root in a folder, s3:// or gs://"
            )
        fs, remote = self._filesystem()
        for _ in range(_CONFLICT_TRIES):
            try:
                fs.pipe_file(remote, data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                code = _service_code(error)
                if code in _PRESENT:
                    return False
                if code not in _CONFLICT:
                    raise
                continue  # S3 says so while another writer is at it: the next answer is definite
            return True
        raise OSError(errno.EBUSY, "others keep writing it", self.url)

    def check_writable(self) -> None:
        """Raise UserError where a file cannot be written here; makes nothing that stays.

        For what takes long before it writes. Of a bucket nothing is asked beyond ``locate``.
        """
        path = self.local_path()
        if path is None:
            return
        if path.is_dir():
            raise UserError(f"{path} is a folder; name a file in it")
        folder = next(folder for folder in path.parents if folder.exists())
        try:
            with tempfile.TemporaryFile(dir=folder):
                return
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise UserError(
                f"{path} cannot be written: {folder}: {reason}; name a file in another folder"
            ) from error

    @retried
    def delete(self) -> None:
        """Delete the file, or the folder with all in it. No error where there is none."""
        path = self.local_path()
        if path is not None:
            with suppress(FileNotFoundError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            return
        fs, remote = self._filesystem()
        try:
            fs.rm(remote, recursive=True)
        except FileNotFoundError:
            return

    @retried
    def list(self) -> list[str]:
        """Return the names directly below, sorted; empty where there is no such folder."""
        path = self.local_path()
        if path is not None:
            if not path.is_dir():
                return []
            return sorted(p.name for p in path.iterdir() if TEMPORARY not in p.name)
        fs, remote = self._filesystem()
        try:
            entries = fs.ls(remote, detail=False)
        except FileNotFoundError:
            return []
        names = {posixpath.basename(str(entry).rstrip("/")) for entry in entries}
        return sorted(names - {"", posixpath.basename(remote.rstrip("/"))})

    def walk(self, *, follow_links: bool = False) -> dict[str, int]:
        """Return every file below, by path relative to this location, with its size in bytes.

        follow_links: go into linked folders, too; never into one that a link leads back to. A link
        that leads nowhere is a file of 0 bytes.
        """
        return dict(self.each_file(follow_links=follow_links))

    def each_file(self, *, follow_links: bool = False) -> Iterator[tuple[str, int]]:
        """Yield what ``walk`` returns in the order of the paths, for where it is millions."""
        local = self.local_path()
        if follow_links and local is not None:
            yield from walk_links(local)
            return
        fs, remote = self._filesystem()
        found = fs.find(remote, detail=True)
        base = remote.rstrip("/") + "/"
        files = {path: int(info["size"]) for path, info in found.items() if path.startswith(base)}
        for path, size in sorted(files.items()):
            if TEMPORARY not in posixpath.basename(path):
                yield path.removeprefix(base), size

    def remove_leftovers(self, *, older_than_s: float) -> None:
        """Delete temporary files of killed writers below this folder (local storage only)."""
        path = self.local_path()
        if path is not None and path.is_dir():
            remove_temporary(path, older_than_s=older_than_s)

    def _filesystem(self) -> tuple[Any, str]:
        import fsspec

        # fsspec keeps one instance a process and set of options. Listings are never cached:
        # other processes write what this one looks for.
        options: dict[str, Any] = {"use_listings_cache": False}
        if self.scheme in ("s3", "s3a"):
            options |= _S3_OPTIONS
        fs, path = fsspec.core.url_to_fs(self.url, **options)
        return fs, str(path)

    def __str__(self) -> str:
        """Return the URL."""
        return self.url


def locate(url: str) -> Location:
    """Return the location of a folder, file or URL; local paths become absolute.

    Raises UserError for a scheme that is not known or lacks its package, and for a bucket that
    does not exist or does not answer.
    """
    if not url:
        raise UserError("the location is empty; give a folder or a URL such as s3://bucket/prefix")
    location = Location(url)
    path = location.local_path()
    if path is not None:
        # os.path: '..' goes, and '~a', where nobody is called a, is a name as any other.
        return Location(str(Path(os.path.abspath(os.path.expanduser(path)))))  # noqa: PTH100, PTH111
    import fsspec

    location = Location(url.rstrip("/"))
    if location.scheme in ("http", "https"):
        raise UserError(
            f"{url}: files are not read over {location.scheme}://; download it and give its path, "
            "or put it into a bucket"
        )
    try:
        fsspec.get_filesystem_class(location.scheme)
    except ValueError as error:
        known = "a folder, s3://, gs:// or memory://"
        raise UserError(
            f"{url}: no storage is known for '{location.scheme}://'; use {known}"
        ) from error
    except ImportError as error:
        raise UserError(f"{url}: {str(error).splitlines()[0]}") from error
    if location.scheme != "memory":
        _probe(location)
    return location


def _probe(location: Location) -> None:
    bucket = location.url.partition("://")[2].partition("/")[0]
    try:
        fs, _ = location._filesystem()
        fs.info(bucket)
    except FileNotFoundError as error:
        raise UserError(
            f"{location.url}: there is no bucket '{bucket}'; create it first"
        ) from error
    except Exception as error:  # each backend has its own classes for "cannot connect"
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnavailableError(
            f"{location.url}: the storage does not answer ({reason}); check its address "
            "(AWS_ENDPOINT_URL for S3), the keys and the network"
        ) from error


def _service_code(error: OSError) -> str:
    """The object store's own word for an error; '' where there is none."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
