"""``k3dn split``: read raw files, take their views apart, write two pictures of each."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from pipelines.deblur.exif_tree import ExifTree
from pipelines.deblur.metadata import Metadata
from pipelines.deblur.names import name_of, partners, side_of
from pipelines.deblur.output import NoRoom, remove_unfinished, write_photographs
from pipelines.deblur.patterns import files_of, folders_before
from pipelines.deblur.photograph import RAW_SUFFIXES
from pipelines.errors import UserError
from pipelines.next_steps import command
from pipelines.progress import printable, progress, say
from pipelines.split.config import SplitConfig
from pipelines.split.views import encode_linear, split_sum
from pipelines.storage import Location, locate
from synth.pictures import decode

PGM = ".pgm"
_PGM_BLACK, _PGM_WHITE = 4096, 65535
"""Of the Pixel capture app, which scales 64 and 1023 of ten bits to these."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitFile:
    """The views of one file."""

    source: str
    left: str
    right: str
    height: int
    width: int
    clipped: float
    """Share of places where the sum is clipped, so that one view is not known; 0 of a PGM pair."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitResult:
    """Raw files were taken apart."""

    files: tuple[SplitFile, ...]
    kept: tuple[str, ...] = ()
    """Files whose views were there already."""
    failed: tuple[tuple[str, str], ...] = ()
    """Files that could not be split, each with the reason."""
    exit_code: int = 0
    """2 where a file could not be split."""

    def describe(self) -> str:
        """Return what was written, and what was not."""
        lines = [f"split {len(self.files)} of {self._count()}"]
        if self.kept:
            lines.append(f"already there: {len(self.kept)} (--overwrite replaces them)")
        lines += [f"  {name}: {reason}" for name, reason in self.failed]
        for one in self.files:
            note = f", {one.clipped:.2%} clipped" if one.clipped else ""
            lines.append(f"{one.left} and {PurePosixPath(one.right).name}{note}")
        return "\n".join(map(printable, lines))

    def next_steps(self) -> list[str]:
        """Return the command that sharpens what was written."""
        if not self.files:
            return []
        folder = os.path.commonpath([PurePosixPath(file.left).parent for file in self.files])
        if len(self.files) == 1:
            return [command("deblur", self.files[0].left, self.files[0].right)]
        return [command("deblur", folder, output=f"{folder}/sharp")]

    def _count(self) -> int:
        return len(self.files) + len(self.kept) + len(self.failed)


def run(config: SplitConfig) -> SplitResult:
    """Write ``NAME_L.tif`` and ``NAME_R.tif`` for each file, 16 bit, with its Exif.

    Of many, one that cannot be split is listed in the result and does not stop the others. Raises
    UserError where there is nothing to split, and for a single file that cannot be.
    """
    outputs = _outputs(config, _find(config))
    done: list[SplitFile] = []
    failed: list[tuple[str, str]] = []
    kept: list[str] = []
    for folder in {left.parent for left, _ in outputs.values()}:
        Location(str(folder / "view.tif")).check_writable()
        remove_unfinished(folder)
    for path in progress(outputs, label="splitting", unit="files"):
        there = [view for view in outputs[path] if os.path.lexists(view)]
        if len(there) == 2 and not config.overwrite:
            kept.append(str(path))
            continue
        try:
            if there and not config.overwrite:
                raise _one_is_there(there[0], outputs[path])
            done.append(_split(config, path, *outputs[path]))
        except (UserError, ValueError, OSError, MemoryError) as error:
            if len(outputs) == 1 or isinstance(error, NoRoom):
                raise _as_user_error(error, path) from error
            failed.append((str(path), str(_as_user_error(error, path))))
            say(f"{path}: {failed[-1][1]}")
    return SplitResult(
        files=tuple(done), kept=tuple(kept), failed=tuple(failed), exit_code=2 if failed else 0
    )


def _one_is_there(there: Path, views: Sequence[Path]) -> UserError:
    """Of another run, maybe, with another ``second`` or ``black``: no pair with one made now."""
    (missing,) = (view for view in views if view != there)
    return UserError(f"{there} is there and {missing.name} is not; --overwrite makes both anew")


def _split(config: SplitConfig, path: Path, left: Path, right: Path) -> SplitFile:
    views, tree, clipped = (
        _views_of_pgm(config, path) if path.suffix.lower() == PGM else _views_of_raw(config, path)
    )
    if not left.parent.exists():
        left.parent.mkdir(parents=True, exist_ok=True)  # another command may make it now, too
        say(f"made the folder {left.parent}")
    write_photographs(
        [(Location(str(left)), views[0]), (Location(str(right)), views[1])],
        Metadata(format="tiff", tree=tree, compression=8),
        overwrite=config.overwrite,
    )
    height, width = views[0].shape[:2]
    return SplitFile(
        source=str(path),
        left=str(left),
        right=str(right),
        height=height,
        width=width,
        clipped=clipped,
    )


def _views_of_raw(
    config: SplitConfig, path: Path
) -> tuple[tuple[NDArray[Any], NDArray[Any]], ExifTree, float]:
    """Both views of a raw file, left first, ``(H, W, 3)``, what it says, and the clipped share."""
    from pipelines.split.raw_file import read_frames, render, tags_of

    frames = read_frames(path, config.black)
    try:
        views = split_sum(
            frames.total,
            frames.side,
            black_of_total=frames.black_of_total,
            black_of_side=frames.black_of_side,
            white=frames.white,
        )
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    clipped = float(views.clipped.mean())
    del frames
    side, other = (render(path, mosaic, config.black) for mosaic in (views.side, views.other))
    tree = tags_of(path.read_bytes())
    return ((side, other) if config.second == "left" else (other, side)), tree, clipped


def _views_of_pgm(
    config: SplitConfig, path: Path
) -> tuple[tuple[NDArray[Any], NDArray[Any]], ExifTree, float]:
    """Both green views of a Pixel capture, ``(H, W, 1)``."""
    places = (path.parent / partner.right for partner in partners(path.name))
    right = next((place for place in places if place.exists()), None)
    if right is None:
        raise UserError(f"{path}: its right view is missing beside it; give NAME_left.pgm")
    black = _PGM_BLACK if config.black is None else config.black
    views = []
    for view in (path, right):
        pixels = decode(view.read_bytes(), where=str(view)).stored
        if pixels.itemsize != 2 or pixels.shape[2] != 1:
            raise UserError(
                f"{view}: a capture must be 16-bit grey, got {pixels.dtype}, "
                f"{pixels.shape[2]} samples a pixel"
            )
        views.append(encode_linear(pixels, black=black, white=_PGM_WHITE))
    if views[0].shape != views[1].shape:
        raise UserError(
            f"{path}: its views differ in size, {views[0].shape[:2]} and {views[1].shape[:2]}"
        )
    return (views[0], views[1]), ExifTree("<"), 0.0


def _find(config: SplitConfig) -> dict[Path, Path]:
    """The files to split, sorted, each with the folder that it is to go to below the output.

    Raises UserError where there are none.
    """
    path = Path(config.source).expanduser()
    if path.is_file():
        return {path: Path()}
    none = f"no raw file ({', '.join(RAW_SUFFIXES)}) and no NAME_left.pgm"
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.is_file() and _is_source(file))
        what = f"{none} in {path}"
    else:
        matches = files_of(config.source)
        found = [file for match in matches if _is_source(file := Path(match))]
        what = f"{none} among what {path} names" if matches else f"there is nothing at {path}"
        path = Path(folders_before(str(path)))
    if not found:
        raise UserError(f"{what}; check the path")
    return {file: file.parent.relative_to(path) for file in found}


def _is_source(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    suffix = path.suffix.lower()
    return suffix in RAW_SUFFIXES or (suffix == PGM and side_of(path.name) == "left")


def _outputs(config: SplitConfig, sources: Mapping[Path, Path]) -> dict[Path, tuple[Path, Path]]:
    """Where the views of each file go: into the output, in folders as theirs below what a pattern
    begins with, since cameras number the pictures of each anew; or beside the file.

    Raises UserError for two files whose views would have the same name.
    """
    output = None if config.output is None else locate(config.output).local_path()
    if config.output is not None and output is None:
        raise UserError(f"output={config.output}: views go to a folder of this machine; name one")
    outputs: dict[Path, tuple[Path, Path]] = {}
    taken: dict[Path, Path] = {}
    for path, below in sources.items():
        folder = path.parent if output is None else output / below
        stem = name_of(path.name) if path.suffix.lower() == PGM else path.stem
        left, right = folder / f"{stem}_L.tif", folder / f"{stem}_R.tif"
        if left in taken:
            raise UserError(
                f"{taken[left]} and {path} would both be written to {left}; rename one, or give "
                "one kind at a time into folders of their own"
            )
        outputs[path], taken[left] = (left, right), path
    return outputs


def _as_user_error(error: Exception, path: Path) -> Exception:
    if isinstance(error, UserError | OSError):
        return error
    if isinstance(error, MemoryError):
        return UserError(f"{path}: there is too little memory for it; close other programs")
    return UserError(str(error))  # of a file that is no picture, by its path
