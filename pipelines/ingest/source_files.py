"""The files of a source: a folder, a bucket or an archive. Picklable; each task opens it again."""

import hashlib
from dataclasses import dataclass

from pipelines.dataset.record import Source
from pipelines.errors import UserError
from pipelines.ingest.archive import SUFFIXES, Archive, is_archive
from pipelines.listing import Listing
from pipelines.making.shards import CHEAP_BYTES, fault_of_input, file_source
from pipelines.storage import Location, locate


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFiles:
    """A folder, bucket or archive with pictures."""

    location: Location
    archive: Archive | None = None
    """The archive, where the location is one."""

    @property
    def url(self) -> str:
        """Where it is, for messages and the manifest."""
        return self.location.url

    def walk(self) -> Listing:
        """Return each file by its path, with its size in bytes; links are followed.

        Raises UserError for an archive that cannot be trusted.
        """
        if self.archive is not None:
            return Listing.of(self.archive.walk())
        return Listing(self.location.each_file(follow_links=True))

    def read(self, path: str) -> bytes:
        """Return a file's content. Raises OSError."""
        if self.archive is not None:
            return self.archive.read(path)
        return self.location.child(path).read_bytes()

    def source(self, role: str, path: str) -> Source:
        """Return a file with its checksum, '' for one that is gone or cannot be read."""
        if self.archive is None:
            return file_source(role, path, self.location.child(path))
        try:
            return checked_source(role, path, self.archive.read(path))
        except OSError as error:
            if not fault_of_input(error):
                raise
            return Source(role=role, file=path, sha256="")

    def is_cheap(self, size: int) -> bool:
        """Tell whether all files, of so many bytes, can be read again without thinking twice."""
        return self.location.local_path() is not None and size <= CHEAP_BYTES


def open_source(url: str) -> SourceFiles:
    """Return the files at a URL. Raises UserError where there is nothing."""
    location = locate(url)
    if not location.exists():
        raise UserError(f"there is nothing at {url}; source names the folder with the pictures")
    local = location.local_path()
    if is_archive(url) and (local is None or local.is_file()):
        return SourceFiles(location=location, archive=Archive(location))
    if local is not None and local.is_file():
        raise UserError(
            f"{url} is a file; source is a folder, or an archive ({', '.join(SUFFIXES)}): others "
            "are to be unpacked"
        )
    return SourceFiles(location=location)


def checked_source(role: str, path: str, data: bytes) -> Source:
    """Return a file that was read, with its checksum."""
    return Source(role=role, file=path, sha256=hashlib.sha256(data).hexdigest())
