"""What several steps say of pictures in their keys: a size, memory, tiles, weights in the box."""

import math
import re


def parse_size(text: str) -> tuple[int, int]:
    """Read ``1152x1792`` as (height, width) in px; raises ValueError."""
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ValueError(f"size must be HEIGHTxWIDTH such as 1152x1792, got {text!r}")
    if min(int(height), int(width)) < 16:
        raise ValueError(f"size must be at least 16x16, got {text!r}")
    return int(height), int(width)


ANY_BOX = "box"
"""The model of ``k3dn deblur`` that means weights in the box, whichever suit."""
DEFAULT_MEMORY = "1GiB"
_UNITS = {"mb": 1e6, "mib": 2**20, "gb": 1e9, "gib": 2**30}


def parse_bytes(text: str, key: str) -> int:
    """Read ``1.5GB`` or ``800MiB``, the value of a key, as bytes; raises ValueError, as for less
    than a MiB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]+)", text.strip().lower())
    size = float(found[1]) * _UNITS.get(found[2], 0) if found else 0.0
    if not 2**20 <= size < math.inf:
        raise ValueError(f"{key} must be a size such as 1500MB or 2GiB, got {text[:40]!r}")
    return round(size)


def parse_memory_mib(text: str) -> int:
    """Read the key ``memory`` as whole MiB; raises ValueError."""
    return parse_bytes(text, "memory") // 2**20


def check_tiles(tile_px: int | None, halo_px: int) -> None:
    """Raise ValueError for tiles that no picture is cut into."""
    if tile_px is not None and tile_px < 32:
        raise ValueError(f"tile_px must be at least 32, got {tile_px}")
    if halo_px < 0:
        raise ValueError(f"halo_px must not be negative, got {halo_px}")
