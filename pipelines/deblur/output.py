"""Where a sharp picture goes: never over an input, whole or not at all."""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.deblur import jpeg_file, webp_file
from pipelines.deblur.jpeg_file import encode_jpeg, too_long
from pipelines.deblur.metadata import FORMATS, Format, Metadata
from pipelines.deblur.photograph import Photograph
from pipelines.deblur.png_file import encode_png
from pipelines.deblur.tiff_file import encode_tiff
from pipelines.deblur.webp_file import encode_webp
from pipelines.errors import UnavailableError, UserError
from pipelines.local_files import TEMPORARY, name_if_absent
from pipelines.storage import Location

_UNFINISHED_NAME = re.compile(rf"\..*{re.escape(TEMPORARY)}\d+-[0-9a-f]{{8}}", re.DOTALL)
_LONGEST_NAME = 255
"""Bytes; file systems have no longer ones."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_SRGB_ONLY = "PNG's words on colour"


class NoRoom(UnavailableError):
    """The disk is full: no other picture would fare better."""


class AlreadyThere(UserError):
    """Somebody else wrote the file while its picture was made."""


class Inputs:
    """The files that were given, to be kept from being written over by whatever name."""

    def __init__(self, locations: Iterable[Location]) -> None:
        self._urls: set[str] = set()
        self._files: set[tuple[int, int]] = set()
        for location in locations:
            self._urls.add(location.url)
            if (known := identity(location)) is not None:
                self._files.add(known)

    def refuse(self, output: Location) -> None:
        """Raise UserError where a file is an input: itself, a link to it, or a second name."""
        if output.url in self._urls or identity(output) in self._files:
            raise UserError(f"{output} is an input, which is never written over; give another name")


def identity(location: Location) -> tuple[int, int] | None:
    """What tells a file from any other, whatever it is called; None where none is there."""
    path = location.local_path()
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def check_format(output: str, photograph: Photograph) -> None:
    """Raise UserError where an output's suffix means a format that cannot hold the picture."""
    kind = format_of(output)
    samples, bits = photograph.pixels.shape[2], photograph.pixels.itemsize * 8
    if kind in ("jpeg", "webp") and bits == 16:
        name = "JPEG" if kind == "jpeg" else "WebP"
        raise UserError(f"{output}: {name} holds 8 bit and the views have 16; name a .png or .tif")
    if kind == "jpeg" and samples in (2, 4):
        raise UserError(f"{output}: JPEG holds no alpha, which the views have; name a .png or .tif")
    for name, largest_px in (("JPEG", jpeg_file.LARGEST_PX), ("WebP", webp_file.LARGEST_PX)):
        if kind == name.lower() and max(photograph.pixels.shape[:2]) > largest_px:
            raise UserError(
                f"{output}: {name} holds {largest_px} px a side at most; name a .png or .tif"
            )
    metadata = photograph.metadata
    if kind != "png" and metadata.icc is None and _SRGB_ONLY in metadata.own_words:
        from synth.pictures.png import check_colours

        try:
            check_colours(dict(metadata.own))
        except ValueError as error:
            raise UserError(
                f"{photograph.where}: {error}; or name a .png, which can say so too"
            ) from error


def format_of(output: str) -> Format:
    """Return the format of a file by its suffix. Raises UserError for one that is not written."""
    suffix = PurePosixPath(output).suffix.lower()
    if suffix not in FORMATS:
        raise UserError(
            f"{output}: cannot write {suffix or 'a file without suffix'}; use {', '.join(FORMATS)}"
        )
    return FORMATS[suffix]


def lost_in(output: str, metadata: Metadata) -> tuple[str, ...]:
    """Return what the file at ``output`` will not say that the source does, in words."""
    kind = format_of(output)
    lost = metadata.not_taken_by(kind)
    return lost + too_long(metadata) if kind == "jpeg" else lost


def write_photograph(
    output: Location, pixels: NDArray[Any], metadata: Metadata, *, overwrite: bool
) -> None:
    """Write samples ``(H, W, C)`` with what their source's file says, in the suffix's format.

    Beside its place under a hidden name, then renamed: whoever is killed leaves no half picture.
    overwrite: take the place of a file that is there by then; else AlreadyThere is raised. Raises
    NoRoom on a full disk, UserError for a file that is larger than one may be there, and OSError.
    What was there before is then untouched.
    """
    write_photographs([(output, pixels)], metadata, overwrite=overwrite)


def write_photographs(
    pictures: Sequence[tuple[Location, NDArray[Any]]], metadata: Metadata, *, overwrite: bool
) -> None:
    """Write pictures that belong together, as ``write_photograph``; none gets its name before all
    are whole."""
    with ExitStack() as opened:
        whole: list[tuple[Location, Path | bytes]] = []
        for output, pixels in pictures:
            path, kind = output.local_path(), format_of(output.name)
            with _told(output):
                if path is None:
                    whole.append((output, b"".join(_encoded(kind, pixels, metadata))))
                    continue
                unfinished = opened.enter_context(_hidden(path))
                with unfinished.open("wb") as file:
                    file.writelines(_encoded(kind, pixels, metadata))
                    os.fsync(file.fileno())
                whole.append((output, unfinished))
        for output, content in whole:
            with _told(output):
                _give_name(output, content, overwrite)


@contextmanager
def _told(output: Location) -> Iterator[None]:
    """Say of a file that cannot be written what is to be done."""
    try:
        yield
    except FileExistsError as error:
        raise AlreadyThere(
            f"{output} has appeared meanwhile and stays; --overwrite replaces it"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoom(
                f"no space left for {output}; free some, or write elsewhere by -o; what is whole "
                "stays, and the same command makes the rest"
            ) from error
        if error.errno == errno.EFBIG:
            raise UserError(
                f"{output}: no file may be as large there, by its file system or by a limit of "
                "this shell (ulimit -f); write elsewhere by -o"
            ) from error
        raise


@contextmanager
def _hidden(path: Path) -> Iterator[Path]:
    """An empty file under a hidden name, which is gone when the block ends."""
    unfinished = _hidden_beside(path)
    try:
        with unfinished.open("xb") as held:
            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(held, fcntl.LOCK_EX)  # let go of with its holder's life
            yield unfinished
    finally:
        unfinished.unlink(missing_ok=True)


def _give_name(output: Location, content: Path | bytes, overwrite: bool) -> None:
    """Make a whole picture appear. Raises FileExistsError where another one may not go."""
    if isinstance(content, bytes):
        if overwrite:
            output.write_bytes(content)
        elif output.can_put_if_absent:
            if not output.put_if_absent(content):
                raise FileExistsError(output.url)
        elif output.exists():
            raise FileExistsError(output.url)
        else:
            output.write_bytes(content)
        return
    path = Path(str(output.local_path()))
    if overwrite:
        content.replace(path)
        return
    try:
        absent = name_if_absent(content, path)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        absent = not os.path.lexists(path)  # neither second names nor locks: nothing is surer
        if absent:
            content.replace(path)
    if not absent:
        raise FileExistsError(path)


def _hidden_beside(path: Path) -> Path:
    """A name that no other writer takes, no longer than names may be where ``path`` may be one."""
    end = f"{path.suffix}{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"
    room = _LONGEST_NAME - 1 - len(os.fsencode(end))
    stem = os.fsdecode(os.fsencode(path.stem)[:room])
    return path.with_name(f".{stem}{end}")


def remove_unfinished(folder: Path, name: str = "") -> None:
    """Delete what killed writers left in a folder, of one output or of all; what a living one holds
    stays, and so does any file that is not called as theirs are."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if not _UNFINISHED_NAME.fullmatch(path.name) or not stat.S_ISREG(path.lstat().st_mode):
            continue
        if name and not path.name.startswith(f".{name}{TEMPORARY}"):
            continue
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        except OSError:  # its writer is alive, or was and has renamed it
            continue


def _encoded(
    kind: Format, pixels: NDArray[Any], metadata: Metadata
) -> Sequence[bytes | memoryview]:
    """The parts of a file, in order."""
    pixels = np.ascontiguousarray(pixels)
    if kind == "tiff":
        return [encode_tiff(pixels, metadata)]
    if kind == "png":
        return encode_png(pixels, metadata)
    return [(encode_jpeg if kind == "jpeg" else encode_webp)(pixels, metadata)]
