"""Pictures and depth maps from open files."""

import io
from typing import BinaryIO

import numpy as np

from synth.pictures import MAX_PIXELS, decode


def decode_picture(file: BinaryIO, where: str, *, colour: bool = True) -> np.ndarray:
    """A picture as it is stored, upright: (H, W) or (H, W, 2 to 4) RGB; .npy arrays, too.

    where: what the messages call it. colour: see `pictures.decode`; False for depth. Raises
    ValueError, beginning with where, for anything else.
    """
    data = file.read()
    if data.startswith(b"\x93NUMPY"):
        try:
            array = np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError, OSError, MemoryError):  # the last of a header that lies
            raise ValueError(f"{where} is not a readable array") from None
        planes = array.shape[2:] or (1,)
        if array.dtype.kind not in "uif" or planes not in ((1,), (3,), (4,)) or not array.size:
            raise ValueError(f"{where} is an array {array.shape} of {array.dtype}, no picture")
        if array.shape[0] * array.shape[1] > MAX_PIXELS:
            size = f"{array.shape[1]} x {array.shape[0]}"
            raise ValueError(f"{where} has {size} pixels, more than is accepted")
        return array
    picture = decode(data, where=where, colour=colour).upright
    return picture[..., 0] if picture.shape[2] == 1 else picture
