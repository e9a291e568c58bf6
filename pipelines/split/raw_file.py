"""A raw file by LibRaw (rawpy): its two frames, and a picture of either view."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.deblur.exif_tree import Entry, ExifTree, read_tree
from pipelines.deblur.metadata import FORMATS
from pipelines.errors import UserError

_KEPT = (270, 271, 272, 274, 282, 283, 296, 306, 315, 700, 33432)
"""Tags of the main directory that are true of a picture made of a raw file: who, what, when."""
_COLOUR_SPACE, _PIXEL_X, _PIXEL_Y = 0xA001, 0xA002, 0xA003
_BOXES = (b"CMT1", b"CMT2", b"CMT4")
"""Of a CR3: the main directory, Exif's and the one of places."""
_CR3_HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """What a dual-pixel file holds, in linear raw numbers."""

    total: NDArray[np.uint16]
    """``(H, W)``: the sum of both views."""
    side: NDArray[np.uint16]
    """``(H, W)``: one view."""
    black_of_total: NDArray[np.int32]
    """``(H, W)``."""
    black_of_side: NDArray[np.int32]
    """``(H, W)``."""
    white: int


def read_frames(path: Path, black: int | None) -> Frames:
    """Read both frames of a file.

    black: in place of what the file says. Raises UserError where rawpy is not installed, the file
    is none that LibRaw reads, or it holds one frame.
    """
    with _opened(path, 0) as first, _opened(path, 1) as second:
        total, side = _mosaic(first, path), _mosaic(second, path)
        return Frames(
            total, side, _black(first, black), _black(second, black), int(first.white_level)
        )


def render(path: Path, mosaic: NDArray[np.uint16], black: int | None) -> NDArray[np.uint16]:
    """Return a view of a file, ``(H, W)`` raw numbers, as a picture ``(H, W, 3)``: sRGB, 16 bit.

    White balance of the camera, demosaicing and colours are LibRaw's and depend on the file alone,
    not on the view. As the sensor lies: no turn is applied.
    """
    with _opened(path, 0) as raw:
        import rawpy

        raw.raw_image_visible[:] = mosaic
        picture: NDArray[np.uint16] = raw.postprocess(
            use_camera_wb=True,
            output_color=rawpy.ColorSpace.sRGB,
            output_bps=16,
            gamma=(2.4, 12.92),
            user_flip=0,
            user_black=black,
            no_auto_bright=True,
            adjust_maximum_thr=0,
            highlight_mode=rawpy.HighlightMode.Clip,
        )
        return picture


def tags_of(data: bytes) -> ExifTree:
    """Return what a raw file says of an exposure that is true of a view of it, too."""
    tree = read_tree(data) if data[:2] in (b"II", b"MM") else _tree_of_cr3(data)
    tree = tree or ExifTree("<")
    number = (1).to_bytes(2, "little" if tree.order == "<" else "big")
    left_out = (_PIXEL_X, _PIXEL_Y)
    exif = {t: e for t, e in tree.without_maker_note().exif.items() if t not in left_out}
    if exif:
        exif[_COLOUR_SPACE] = Entry(3, 1, number)  # sRGB
    main = {t: e for t, e in tree.main.items() if t in _KEPT}
    return ExifTree(tree.order, main, exif, tree.gps)


def _tree_of_cr3(data: bytes) -> ExifTree | None:
    found: list[Mapping[int, Entry]] = []
    order = "<"
    for name in _BOXES:
        at = data.find(name, 0, _CR3_HEAD_BYTES)
        tree = read_tree(data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")])
        found.append({} if at < 4 or tree is None else tree.main)
        order = tree.order if tree is not None else order
    return ExifTree(order, *found) if any(found) else None


@contextmanager
def _opened(path: Path, frame: int) -> Iterator[Any]:
    """A frame of a file, unpacked. Raises UserError for what LibRaw says until the block ends."""
    try:
        import rawpy
    except ImportError as error:
        raise UserError(
            "raw files are read by rawpy, which is not installed: pip install 'k3dn[raw]'"
        ) from error
    try:
        with rawpy.RawPy() as raw:
            # Before the file is opened as well: LibRaw looks for the frame of a TIFF-like one there
            raw.set_unpack_params(shot_select=frame)
            raw.open_file(str(path))
            raw.set_unpack_params(shot_select=frame)
            raw.unpack()
            yield raw
    except rawpy.LibRawRequestForNonexistentImageError as error:
        raise UserError(
            f"{path} holds one frame, so it has no second view; give a file taken with Dual Pixel "
            "RAW switched on in the camera"
        ) from error
    except rawpy.LibRawError as error:
        reason = error.args[0] if error.args else error
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        is_picture = path.suffix.lower() in FORMATS
        hint = "; a picture needs no split: k3dn deblur takes two views as they are"
        raise UserError(
            f"{path}: LibRaw cannot read it ({text}){hint if is_picture else ''}"
        ) from error


def _mosaic(raw: Any, path: Path) -> NDArray[np.uint16]:
    import rawpy

    if raw.raw_type != rawpy.RawType.Flat:
        raise UserError(f"{path}: it holds colours, not the numbers of a sensor (an sRaw or mRaw)")
    return np.array(raw.raw_image_visible)


def _black(raw: Any, black: int | None) -> NDArray[np.int32]:
    levels = [black] * 4 if black is not None else raw.black_level_per_channel
    return np.asarray(levels, np.int32)[raw.raw_colors_visible]
