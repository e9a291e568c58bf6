"""PGM and PPM of 8 or 16 bit (P5, P6), as capture apps of phones write them."""

import re

import numpy as np

from synth.pictures.picture import Picture, check_size

_GAP = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"P([56])" + _GAP + rb"(\d+)" + _GAP + rb"(\d+)" + _GAP + rb"(\d+)\s")


def decode_pnm(data: bytes) -> Picture:
    """Decode grey or RGB samples; what its header calls white becomes 255 or 65535.

    Raises ValueError for a header that makes no sense, and for missing samples.
    """
    header = _HEADER.match(data[:1024])
    if header is None:
        raise ValueError("damaged PGM (its header makes no sense)")
    channels = 1 if header[1] == b"5" else 3
    width, height, white = (int(header[i]) for i in (2, 3, 4))
    check_size(width, height)
    if not 0 < white < 65536:
        raise ValueError(f"damaged PGM (its white is {white}; 1 to 65535 is expected)")
    kind = np.dtype(np.uint8 if white < 256 else ">u2")
    count = width * height * channels
    if len(data) - header.end() < count * kind.itemsize:
        raise ValueError("truncated PGM (samples are missing)")
    stored = np.frombuffer(data, kind, count, header.end()).astype(kind.newbyteorder("="))
    full = 255 if white < 256 else 65535
    if white != full:
        stored = np.rint(np.minimum(stored, white) * (full / white)).astype(stored.dtype)
    return Picture(stored.reshape(height, width, channels))
