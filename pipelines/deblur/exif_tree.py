"""The tags of Exif and TIFF as a tree, from one file into another; values stay the bytes they are.

A TIFF is an Exif block with a picture in it. From TIFF to TIFF, and between TIFF and the others,
tags move one by one; between the others the block moves whole (``metadata``).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO

_SIZES = {
    **{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4},
    **{16: 8, 17: 8, 18: 8},
}
_BIG_KINDS = (16, 17, 18)  # of BigTIFF alone
_EXIF, _GPS, _INTEROP = 0x8769, 0x8825, 0xA005
MAKER_NOTE = 0x927C

XMP, PHOTOSHOP, IPTC, ICC = 700, 34377, 33723, 34675
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296

DNG = frozenset(
    {
        *(*range(50706, 50742), *range(50778, 50782), *range(50827, 50835), *range(50879, 50884)),
        *(
            *range(50931, 50976),
            50981,
            50982,
            51008,
            51009,
            51022,
            51041,
            51043,
            51044,
            51058,
            51081,
        ),
        *(*range(51089, 51092), *range(51105, 51115), 51125, *range(51177, 51183)),
        *range(52525, 52554),
    }
)
"""What a DNG says of its sensor's samples, and that it is one: untrue of a picture of it."""

LAYERS = 37724
"""Photoshop's layers: pictures of their own, that would show the old one."""

STRUCTURE = frozenset(
    {
        *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281),
        *(284, 288, 289, 290, 291, 292, 293, 297, 317, 320, 321, 322, 323, 324, 325, 326, 327, 328),
        *(330, 338, 339, 340, 341, 342, 343, 344, 345, 347, 512, 513, 514, 515, 517, 518, 519, 520),
        *(521, 529, 530, 531, 532, 559, LAYERS),
    }
)
"""Tags that say how a picture's samples lie in its file, or that point to further pictures."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A tag's value."""

    kind: int
    """Type of TIFF, 1 to 13."""
    count: int
    value: bytes
    """In the tree's byte order."""


@dataclass(frozen=True, slots=True)
class ExifTree:
    """The directories of an Exif block."""

    order: str
    """``<`` or ``>``."""
    main: Mapping[int, Entry] = field(default_factory=dict)
    exif: Mapping[int, Entry] = field(default_factory=dict)
    gps: Mapping[int, Entry] = field(default_factory=dict)
    interop: Mapping[int, Entry] = field(default_factory=dict)

    def without(self, *tags: int) -> "ExifTree":
        """Return the tree without these tags of the main directory."""
        return replace(self, main={t: e for t, e in self.main.items() if t not in tags})

    def without_maker_note(self) -> "ExifTree":
        """Return the tree without what the camera's maker alone understands."""
        return replace(self, exif={t: e for t, e in self.exif.items() if t != MAKER_NOTE})


def read_tree(block: bytes) -> ExifTree | None:
    """Return the tags of an Exif block or a TIFF file (of its first full picture).

    The tags of ``STRUCTURE`` are left out. None for what makes no sense; a value that lies beyond
    the end is left out.
    """
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return None
    reader = _Reader(block, order)
    try:
        start, main = reader.first(), dict[int, Entry]()
        for _ in range(16):
            if not start:
                break
            main, following = reader.directory(start)
            kind = main.get(254)
            if kind is None or not reader.number(kind) & 5:
                break
            start = following
        exif = reader.below(main, _EXIF)
        tree = ExifTree(order, main, exif, reader.below(main, _GPS), reader.below(exif, _INTEROP))
    except (struct.error, OverflowError):
        return None
    dropped = (*STRUCTURE, _EXIF, _GPS)
    tree = tree.without(*dropped)
    return replace(tree, exif={t: e for t, e in tree.exif.items() if t != _INTEROP})


class _Reader:
    """Directories of a classic TIFF or a BigTIFF."""

    def __init__(self, block: bytes, order: str) -> None:
        self._block, self._order = block, order
        self._big = struct.unpack_from(f"{order}H", block, 2)[0] == 43

    def first(self) -> int:
        """Where the first directory lies."""
        return int(self._unpack("Q", 8) if self._big else self._unpack("I", 4))

    def directory(self, start: int) -> tuple[dict[int, Entry], int]:
        """The entries of a directory, and where the next one lies."""
        count = self._unpack("Q" if self._big else "H", start)
        start += 8 if self._big else 2
        length, inline = (20, 8) if self._big else (12, 4)
        found: dict[int, Entry] = {}
        for at in range(start, start + length * min(count, 4096), length):
            tag, kind = struct.unpack_from(f"{self._order}HH", self._block, at)
            number = self._unpack("Q" if self._big else "I", at + 4)
            size = number * _SIZES.get(kind, 0)
            where = at + length - inline
            if size > inline:
                where = self._unpack("Q" if self._big else "I", where)
            if size and where + size <= len(self._block):
                found[tag] = Entry(kind, number, self._block[where : where + size])
        end = start + length * count
        return found, self._unpack("Q" if self._big else "I", end)

    def below(self, entries: Mapping[int, Entry], pointer: int) -> dict[int, Entry]:
        """The directory that an entry points to."""
        if pointer not in entries:
            return {}
        try:
            return self.directory(self.number(entries[pointer]))[0]
        except (struct.error, OverflowError):
            return {}

    def number(self, entry: Entry) -> int:
        """An entry's value as an unsigned number."""
        return int.from_bytes(entry.value, "little" if self._order == "<" else "big")

    def _unpack(self, form: str, at: int) -> int:
        return int(struct.unpack_from(self._order + form, self._block, at)[0])


def exif_block(tree: ExifTree) -> bytes:
    """Return a tree as an Exif block, from its byte order mark on."""
    body, start = _packed(tree, 8)
    mark = b"II" if tree.order == "<" else b"MM"
    return mark + struct.pack(f"{tree.order}HI", 42, start) + body


def rational(tree: ExifTree, value: float) -> Entry:
    """Return a number from 0.0001 to 4.2e9 as TIFF's RATIONAL."""
    below = 10_000 if value < 400_000 else 1
    return Entry(5, 1, struct.pack(f"{tree.order}II", round(value * below), below))


def whole_number(tree: ExifTree, entry: Entry) -> int | None:
    """Return the first value of BYTE, SHORT or LONG; None for other kinds."""
    size = {1: 1, 3: 2, 4: 4}.get(entry.kind)
    if size is None or len(entry.value) < size:
        return None
    return int.from_bytes(entry.value[:size], "little" if tree.order == "<" else "big")


def short(tree: ExifTree, value: int) -> Entry:
    """Return a number as TIFF's SHORT."""
    return Entry(3, 1, struct.pack(f"{tree.order}H", value))


def add_tags(file: BinaryIO, tree: ExifTree) -> None:
    """Give the one picture of a classic TIFF file the tags of a tree of the file's byte order.

    The new directory goes to the file's end; what says how the samples lie stays the file's own.
    """
    file.seek(0)
    head = file.read(8)
    (start,) = struct.unpack_from(f"{tree.order}I", head, 4)
    file.seek(start)
    (count,) = struct.unpack(f"{tree.order}H", file.read(2))
    own: dict[int, Entry] = {}
    for number in range(count):
        file.seek(start + 2 + 12 * number)
        tag, kind, length, _ = struct.unpack(f"{tree.order}HHII", file.read(12))
        if tag not in STRUCTURE:
            continue
        size = length * _SIZES[kind]
        if size <= 4:
            file.seek(start + 2 + 12 * number + 8)
        else:
            file.seek(start + 2 + 12 * number + 8)
            file.seek(struct.unpack(f"{tree.order}I", file.read(4))[0])
        own[tag] = Entry(kind, length, file.read(size))
    end = file.seek(0, 2)
    end += file.write(b"\0" * (end % 2))
    body, at = _packed(replace(tree, main={**tree.main, **own}), end)
    file.write(body)
    file.seek(4)
    file.write(struct.pack(f"{tree.order}I", at))


def _packed(tree: ExifTree, base: int) -> tuple[bytes, int]:
    """All directories as they lie from ``base`` on, and where the main one begins."""
    body = bytearray()

    def put(entries: Mapping[int, Entry]) -> int:
        fields = b""
        for tag, entry in sorted(entries.items()):
            if entry.kind in _BIG_KINDS:
                continue
            value = entry.value.ljust(4, b"\0")
            if len(value) > 4:
                value = struct.pack(f"{tree.order}I", base + len(body))
                body.extend(entry.value + b"\0" * (len(entry.value) % 2))
            fields += struct.pack(f"{tree.order}HHI", tag, entry.kind, entry.count) + value
        start = base + len(body)
        body.extend(struct.pack(f"{tree.order}H", len(fields) // 12) + fields + b"\0\0\0\0")
        return start

    def pointer(entries: Mapping[int, Entry]) -> Entry:
        return Entry(4, 1, struct.pack(f"{tree.order}I", put(entries)))

    main, exif = dict(tree.main), dict(tree.exif)
    if tree.interop:
        exif[_INTEROP] = pointer(tree.interop)
    if exif:
        main[_EXIF] = pointer(exif)
    if tree.gps:
        main[_GPS] = pointer(tree.gps)
    start = put(main)
    return bytes(body), start
