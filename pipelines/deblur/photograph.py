"""A photograph from its file: samples as stored, and what the file says beside them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.deblur.jpeg_file import read_jpeg
from pipelines.deblur.metadata import Metadata
from pipelines.deblur.png_file import read_png
from pipelines.deblur.tiff_file import read_tiff
from pipelines.deblur.webp_file import read_webp
from pipelines.errors import UserError
from pipelines.storage import Location
from synth.pictures import MAX_PIXELS, Picture, decode
from synth.pictures.decode import check_kind

_SMALL_BYTES = 1 << 20
"""Of a file up to this size nothing is asked beforehand."""
_LARGEST_BYTES = MAX_PIXELS * 4 * 2 + (1 << 28)
"""Samples of the largest picture as they are, and what else a file says."""
RAW_SUFFIXES = (".cr2", ".cr3", ".dng")
"""Files that `k3dn split` takes apart."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Photograph:
    """A decoded file."""

    where: str
    """Its path or URL, for messages."""
    pixels: NDArray[Any]
    """``(H, W, C)`` as stored, uint8 or uint16; C is 1 for grey, 2 and 4 with alpha. In the file's
    own colours: a profile is kept, not applied."""
    orientation: int
    """Exif's, 1 to 8."""
    metadata: Metadata
    notices: tuple[str, ...] = ()
    """What is odd about the file, a line each."""

    @property
    def colours(self) -> NDArray[Any]:
        """``(H, W, 3)``, without alpha; grey as three equal samples."""
        if self.pixels.shape[2] < 3:
            return np.repeat(self.pixels[..., :1], 3, axis=2)
        return np.ascontiguousarray(self.pixels[..., :3])

    @property
    def described(self) -> str:
        """Size and depth, in words."""
        height, width = self.pixels.shape[:2]
        return f"{width} x {height} px, {self.pixels.itemsize * 8} bit"

    def filled(self, colours: NDArray[Any]) -> NDArray[Any]:
        """Return other colours, ``(H, W, 3)``, in this file's samples: grey stays grey, alpha stays
        what it is."""
        samples = self.pixels.shape[2]
        if samples == 3:
            return colours
        if samples < 3:
            total = colours[..., 0].astype(np.uint32)
            total += colours[..., 1]
            total += colours[..., 2]
            colours = ((total + 1) // 3).astype(self.pixels.dtype)[..., None]
        if samples in (2, 4):
            return np.concatenate([colours, self.pixels[..., -1:]], axis=2)
        return colours


def read_photograph(location: Location, where: str, *, memory_mib: int | None = None) -> Photograph:
    """Read a PNG, JPEG, TIFF or WebP.

    where: its path as the user wrote it. memory_mib: what the process may take; None: as much as
    the machine has free. Raises UserError for one that is missing, cannot be read, is damaged, is
    larger than the memory, or is not a photograph of 8 or 16 bit. What is too large or no picture
    is not read.
    """
    try:
        _check_file(location, where, memory_mib)
        data = location.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"there is no picture at {where}; check the path") from error
    except IsADirectoryError as error:
        raise UserError(f"{where} is a folder; name one picture in it") from error
    except PermissionError as error:
        raise UserError(f"{where} may not be read; check its permissions") from error
    except OSError as error:
        if location.local_path() is None:
            raise
        # Said here: an error of reading names no file, and a disk that is late is no service.
        reason = (error.strerror or type(error).__name__).lower()
        raise UserError(f"{where} cannot be read: {reason}; check its disk") from error
    try:
        picture = decode(data, where=where, colour=False)
        metadata = _metadata(data)
    except ValueError as error:
        raise _refused(str(error), where) from error
    if picture.stored.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"{where}: samples are {picture.stored.dtype}; save it with 8 or 16 bit, unsigned"
        )
    return Photograph(
        where=where,
        pixels=picture.stored,
        orientation=picture.orientation,
        metadata=metadata,
        notices=_notices(picture),
    )


def _check_file(location: Location, where: str, memory_mib: int | None) -> None:
    """Look at a file's kind, its first bytes and its size, before it is read."""
    path = location.local_path()
    if path is not None and path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{where} is a pipe or a device, not a file; give a file")
    size = location.size()
    if size <= _SMALL_BYTES:
        return
    try:
        check_kind(location.read_ranges([(0, 32)])[0])
    except ValueError as error:
        raise _refused(f"{where}: {error}", where) from error
    import psutil

    free = psutil.virtual_memory().available
    room = free if memory_mib is None else min(free, memory_mib * 2**20)
    if size > min(room, _LARGEST_BYTES):
        limit = (
            f"a picture of {MAX_PIXELS >> 20} megapixels, the largest that is read, takes less"
            if size > _LARGEST_BYTES
            else f"of {room / 2**20:.0f} MiB that may be taken; give a smaller file or more memory"
        )
        raise UserError(f"{where}: the file has {size / 2**20:.0f} MiB, {limit}")


def _refused(reason: str, where: str) -> UserError:
    is_raw = where.lower().endswith(RAW_SUFFIXES)
    return UserError(f"{reason}; k3dn split {where}" if is_raw else reason)


def _notices(picture: Picture) -> tuple[str, ...]:
    if picture.said == picture.orientation:
        return ()
    return (f"its Orientation is {picture.said}, which means nothing: taken for 1, upright",)


def _metadata(data: bytes) -> Metadata:
    if data[:2] == b"\xff\xd8":
        return read_jpeg(data)
    if data[:4] == b"RIFF":
        return read_webp(data)
    if data[:4] == b"\x89PNG":
        return read_png(data)
    if data[:1] == b"P":  # PGM and PPM say nothing of themselves
        return Metadata(format="png")
    return read_tiff(data)
