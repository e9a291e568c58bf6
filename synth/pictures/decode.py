"""PNG, JPEG, TIFF, WebP and PGM to arrays: every sample as stored, or refused with the reason."""

from synth.pictures.picture import Picture


def decode(data: bytes, *, where: str, colour: bool = True) -> Picture:
    """Decode a PNG, JPEG, TIFF, WebP, PGM or PPM.

    colour: the samples are sRGB colours or grey of 8 or 16 bit, and other colour spaces are
    refused. False for depth: profiles are no matter, and TIFF may hold integers or floats.
    where: path or pair_id, named in messages. Raises ValueError with the reason: empty, truncated
    or damaged data, another format, sample type or colour space, more than MAX_PIXELS.
    """
    try:
        return _decode(data, colour)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def check_kind(head: bytes) -> None:
    """Raise ValueError for a file that is none of the formats that are read, by its first bytes.

    head: 32 bytes or more, all of a shorter file. For who would not read all of a large one.
    """
    if not head:
        raise ValueError("the file is empty")
    if head[4:12] == b"ftypcrx " or (head[:4] in _TIFFS and head[8:10] == b"CR"):
        raise ValueError("it is a camera's raw file, not a picture; develop it or split its views")
    if head.startswith(_READ) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return
    if head.startswith(b"version https://git-lfs"):
        raise ValueError("it is a pointer of Git LFS and not the picture: run git lfs pull")
    if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise ValueError("it is a web page and not the picture: fetch it again")
    known = other_kind(head)
    hint = f"; it is {known}: save it as PNG or TIFF" if known else ""
    raise ValueError(f"not an image in a format that is read: PNG, JPEG, TIFF or WebP{hint}")


def _decode(data: bytes, colour: bool) -> Picture:
    check_kind(data[:32])
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        from synth.pictures.png import decode_png

        return decode_png(data, colour=colour)
    if data[:3] == b"\xff\xd8\xff":
        from synth.pictures.jpeg import decode_jpeg

        return decode_jpeg(data, colour=colour)
    if data[:4] in _TIFFS:
        from synth.pictures.tiff import decode_tiff

        return decode_tiff(data, colour=colour)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        from synth.pictures.webp import decode_webp

        return decode_webp(data, colour=colour)
    from synth.pictures.pnm import decode_pnm

    return decode_pnm(data)


def other_kind(data: bytes) -> str:
    """Return what a file that is not read may be, by how it begins; nothing where nobody knows."""
    if data[4:8] == b"ftyp":
        return _ISO_BRANDS.get(data[8:12], "a film or a picture of a phone")
    return next((name for mark, name in _OTHER_KINDS if data.startswith(mark)), "")


_TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_READ = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", *_TIFFS, b"P5", b"P6")
_ISO_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"mif1", b"msf1", b"hevc"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}
_OTHER_KINDS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"<svg", "a drawing (SVG)"),
)
