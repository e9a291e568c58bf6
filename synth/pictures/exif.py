"""What Exif says that changes how a picture is to be read: its turn and its colour space."""

import struct


def read_exif(block: bytes) -> dict[int, int | bytes]:
    """Return Orientation (0x0112), ColorSpace (0xA001) and InteropIndex (1) of an Exif block.

    block: from the byte order mark on. A block that makes no sense gives nothing.
    """
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    found: dict[int, int | bytes] = {}
    if order is None or len(block) < 8:
        return found
    waiting = [struct.unpack_from(f"{order}I", block, 4)[0]]
    for _ in range(4):  # the first folder, Exif's and interoperability's
        if not waiting:
            break
        start = waiting.pop(0)
        if start + 2 > len(block):
            continue
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(min(count, 512)):
            at = start + 2 + 12 * entry
            if at + 12 > len(block):
                break
            tag, kind, _ = struct.unpack_from(f"{order}HHI", block, at)
            if tag in (0x8769, 0xA005):
                waiting.append(struct.unpack_from(f"{order}I", block, at + 8)[0])
            elif tag in (0x0112, 0xA001) and kind == 3:
                found[tag] = struct.unpack_from(f"{order}H", block, at + 8)[0]
            elif tag == 1 and kind == 2:
                found[tag] = block[at + 8 : at + 11]
    return found


def orientation_of(exif: dict[int, int | bytes]) -> int:
    """Return Exif's Orientation as stored, 1 where it has none."""
    return int(exif.get(0x0112, 1))


def check_exif_is_srgb(exif: dict[int, int | bytes]) -> None:
    """Raise ValueError where Exif says Adobe RGB, as cameras do without a profile."""
    if exif.get(0xA001) == 2 or exif.get(1) == b"R03":
        raise ValueError("its colours are Adobe RGB (by Exif), not sRGB; convert them to sRGB")
