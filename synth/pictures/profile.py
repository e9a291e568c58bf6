"""Colour profiles: sRGB, or refused. Values of another space mean other colours."""

import struct

import numpy as np
from numpy.typing import NDArray

_SRGB_D50 = np.array([[0.4361, 0.2225, 0.0139], [0.3851, 0.7169, 0.0971], [0.1431, 0.0606, 0.7141]])
_COLOURS_WITHIN = 0.01
CURVE_WITHIN = 3 / 255
"""Encoded; published sRGB profiles differ by less, gamma 2.2 by more."""
SRGB_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""x and y of red, green and blue."""
_CONVERT = "convert it to sRGB"


def check_is_srgb(profile: bytes) -> None:
    """Raise ValueError unless an ICC profile describes sRGB, or grey on sRGB's curve."""
    tags = _tags(profile)
    name, space = _name(tags.get(b"desc", b"")), profile[16:20]
    if space not in (b"RGB ", b"GRAY"):
        raise ValueError(f"its colour profile is one of {space.decode('latin-1').strip()}{name}")
    curves = [
        tags.get(k) for k in ((b"rTRC", b"gTRC", b"bTRC") if space == b"RGB " else (b"kTRC",))
    ]
    if any(curve is None for curve in curves) or b"A2B0" in tags:
        raise ValueError(f"its colour profile{name} is a table, not sRGB's formula; {_CONVERT}")
    if space == b"RGB ":
        primaries = np.array([_xyz(tags.get(k)) for k in (b"rXYZ", b"gXYZ", b"bXYZ")])
        if np.abs(primaries - _SRGB_D50).max() > _COLOURS_WITHIN:
            raise ValueError(f"its colour profile{name} has other colours than sRGB; {_CONVERT}")
    x = np.linspace(0, 1, 256)
    for curve in curves:
        assert curve is not None
        if np.abs(srgb_encode(_curve(curve, x)) - x).max() > CURVE_WITHIN:
            raise ValueError(f"its colour profile{name} has another tone curve; {_CONVERT}")


def srgb_encode(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return linear light in [0, 1] as sRGB encodes it."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    if len(profile) < 132 or profile[36:40] != b"acsp":
        raise ValueError("damaged: its colour profile makes no sense")
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for number in range(min(count, 100)):
        if 144 + 12 * number > len(profile):
            raise ValueError("damaged: its colour profile is cut off")
        key, start, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        tags[key] = profile[start : start + size]
    return tags


def _name(tag: bytes) -> str:
    if tag[:4] == b"desc" and len(tag) > 12:
        (length,) = struct.unpack_from(">I", tag, 8)
        text = tag[12 : 12 + max(length - 1, 0)].decode("ascii", "replace")
    elif tag[:4] == b"mluc" and len(tag) >= 28:
        length, start = struct.unpack_from(">II", tag, 20)
        text = tag[start : start + length].decode("utf-16-be", "replace")
    else:
        return ""
    return f" '{' '.join(text.split())[:60]}'"


def _xyz(tag: bytes | None) -> tuple[float, ...]:
    if tag is None or len(tag) < 20:
        raise ValueError("damaged: its colour profile names no primaries")
    return tuple(value / 65536 for value in struct.unpack_from(">3i", tag, 8))


def _curve(tag: bytes, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the linear light of encoded values."""
    try:
        if tag[:4] == b"curv":
            (count,) = struct.unpack_from(">I", tag, 8)
            if count == 0:
                return x
            table = np.array(struct.unpack_from(f">{count}H", tag, 12))
            if count == 1:
                return x ** (table[0] / 256)
            return np.interp(x, np.linspace(0, 1, count), table / 65535)
        if tag[:4] == b"para":
            (kind,) = struct.unpack_from(">H", tag, 8)
            count = (1, 3, 4, 5, 7)[kind]
            values = [v / 65536 for v in struct.unpack_from(f">{count}i", tag, 12)]
            g, a, b, c, d, e, f = values + [0.0] * (7 - count)
            if kind == 0:
                return x**g
            if kind < 3:  # below -b/a there is a constant, c of kind 2
                above = np.clip(a * x + b, 0, None) ** g
                return np.where(x >= -b / a, above, 0.0) + (c if kind == 2 else 0.0)
            return np.where(x >= d, np.clip(a * x + b, 0, None) ** g + e, c * x + f)
    except (struct.error, IndexError, ZeroDivisionError) as error:
        raise ValueError("damaged: a tone curve of its colour profile makes no sense") from error
    raise ValueError("its colour profile has a tone curve of an unknown kind")
