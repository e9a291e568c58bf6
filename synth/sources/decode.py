"""Pictures and depth maps from open files."""

import io
import re
import struct
from typing import BinaryIO

import numpy as np

_PNG = b"\x89PNG"
# A marker, as against a stuffed byte (00), a restart (D0 to D7) and padding (FF) in a scan.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


MAX_PIXELS = 1 << 28
"""Larger pictures are refused, PNG before memory is taken for them: 268 megapixels."""


def decode_picture(file: BinaryIO, where: str) -> np.ndarray:
    """A picture as it is stored: (H, W) or (H, W, 3 or 4) RGB; .npy arrays, too.

    where: what the messages call it. Raises ValueError, beginning with where, for anything else.
    """
    data = file.read()
    if not data:
        raise ValueError(f"{where} is an empty file")
    if data.startswith(b"\x93NUMPY"):
        try:
            array = np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError, OSError, MemoryError):  # the last of a header that lies
            raise ValueError(f"{where} is no readable array") from None
        planes = array.shape[2:] or (1,)
        if array.dtype.kind not in "uif" or planes not in ((1,), (3,), (4,)) or not array.size:
            raise ValueError(f"{where} is an array {array.shape} of {array.dtype}, no picture")
        _check_size(array.shape[1], array.shape[0], where)
        return array
    if data.startswith(_PNG):
        width, height = struct.unpack_from(">II", data.ljust(24, b"\0"), 16)
        _check_size(width, height, where)
    if _is_cut_off(data):
        raise ValueError(f"{where} is cut off")
    import cv2

    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:  # more pixels than it takes, or a damaged header
        raise ValueError(f"{where} is no readable picture ({_first_line(error)})") from None
    if picture is None:
        raise ValueError(f"{where} is no readable picture")
    _check_size(picture.shape[1], picture.shape[0], where)
    if picture.ndim == 3:
        picture = picture[..., [2, 1, 0, *range(3, picture.shape[2])]]
    return np.ascontiguousarray(picture)


def _check_size(width: int, height: int, where: str) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{where} has {width} x {height} pixels, more than is accepted")


def _is_cut_off(data: bytes) -> bool:
    # OpenCV hands out half a picture, without a word, where a PNG or JPEG ends early.
    if data.startswith(_PNG):
        return b"IEND" not in data[-64:]
    if data.startswith(b"\xff\xd8"):
        return not _has_jpeg_end(data)
    return False


def _has_jpeg_end(data: bytes) -> bool:
    """Whether a JPEG comes to its end marker; what follows (a phone's film) is no matter.

    `pipelines.dataset.images` has the same rule, as it does without synth and its torch.
    """
    position = 2
    while (head := _MARKER.search(data, position)) is not None:
        kind, position = data[head.start() + 1], head.end()
        if kind == 0xD9:
            return True
        if kind == 0x01:  # TEM stands alone
            continue
        # A segment states its length; pictures inside it (thumbnails) are stepped over with it.
        position += int.from_bytes(data[position : position + 2], "big")
    return False


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
