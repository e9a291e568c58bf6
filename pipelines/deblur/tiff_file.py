"""TIFF: the source's tags beside newly coded samples."""

import io
import struct
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from pipelines.deblur.exif_tree import (
    DNG,
    ICC,
    IPTC,
    LAYERS,
    PHOTOSHOP,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    XMP,
    Y_RESOLUTION,
    Entry,
    ExifTree,
    add_tags,
    rational,
    read_tree,
    short,
    whole_number,
)
from pipelines.deblur.metadata import INCH_CM, Metadata

_COMPRESSIONS = {1: None, 5: "lzw"}  # all else as deflate, which loses nothing either


def read_tiff(data: bytes) -> Metadata:
    """Return what a TIFF says of itself."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages: list[Any] = list(file.pages)
        page = next((p for p in pages if not int(p.subfiletype) & 5), pages[0])
        compression = int(page.compression)
        left_out = ["Photoshop's layers"] if LAYERS in page.tags else []
        more = int(page.samplesperpixel) in (2, 4)
        alpha = not more or [int(kind) for kind in page.extrasamples][-1:] not in ([], [0])
    tree = read_tree(data) or ExifTree("<")
    if any(tag in DNG for tag in tree.main):
        left_out.append("what only a DNG says")
        tree = tree.without(*DNG)
    values = {tag: entry.value for tag, entry in tree.main.items()}
    photoshop = values.get(PHOTOSHOP)
    if photoshop is None and (iptc := values.get(IPTC)) is not None:
        size = struct.pack(">I", len(iptc))
        photoshop = b"8BIM\x04\x04\0\0" + size + iptc + b"\0" * (len(iptc) % 2)
    return Metadata(
        format="tiff",
        tree=tree,
        xmp=values.get(XMP),
        icc=values.get(ICC),
        photoshop=photoshop,
        resolution=_resolution(tree),
        compression=compression,
        alpha=alpha,
        own_words=() if alpha else ("that nobody says whether its last sample is alpha",),
        left_out=tuple(left_out),
    )


def encode_tiff(pixels: NDArray[Any], metadata: Metadata) -> memoryview:
    """Return ``(H, W, 1 to 4)`` of 8 or 16 bit as a TIFF; compression: the source's, or deflate."""
    import tifffile

    tree, samples = metadata.as_tree(), pixels.shape[2]
    compression = _COMPRESSIONS.get(metadata.compression, "zlib")
    if metadata.format != "tiff":
        compression = "zlib"
        tree = _with_others(tree, metadata)
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        pixels[..., 0] if samples == 1 else pixels,
        byteorder=tree.order,  # type: ignore[arg-type]
        bigtiff=False,
        photometric="rgb" if samples >= 3 else "minisblack",
        planarconfig=None if samples == 1 else "contig",
        extrasamples=_last_sample(metadata) if samples in (2, 4) else None,
        compression=compression,
        predictor=compression is not None,
        metadata=None,
        software=False,
    )
    add_tags(file, tree)
    return file.getbuffer()


def _last_sample(metadata: Metadata) -> list[str]:
    return ["unassalpha" if metadata.alpha else "unspecified"]


def _with_others(tree: ExifTree, metadata: Metadata) -> ExifTree:
    main = dict(tree.main)
    for tag, kind, value in (
        (XMP, 1, metadata.xmp),
        (ICC, 7, metadata.icc),
        (PHOTOSHOP, 1, metadata.photoshop),
    ):
        if value is not None:
            main[tag] = Entry(kind, len(value), value)
    resolution = metadata.resolution_for("tiff")
    if resolution is not None and X_RESOLUTION not in main:
        x, y = resolution
        main |= {X_RESOLUTION: rational(tree, x), Y_RESOLUTION: rational(tree, y)}
        main[RESOLUTION_UNIT] = short(tree, 2)
    return replace(tree, main=main)


def _resolution(tree: ExifTree) -> tuple[float, float] | None:
    found = []
    for tag in (X_RESOLUTION, Y_RESOLUTION):
        entry = tree.main.get(tag)
        if entry is None or entry.kind != 5 or entry.count != 1:
            return None
        above, below = struct.unpack_from(f"{tree.order}II", entry.value)
        if not above or not below:
            return None
        found.append(above / below)
    unit = tree.main.get(RESOLUTION_UNIT)
    number = 2 if unit is None else whole_number(tree, unit)
    if number not in (2, 3):
        return None
    factor = INCH_CM if number == 3 else 1.0
    return found[0] * factor, found[1] * factor
