"""Images keep every bit, and damaged ones are told from whole ones."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from pipelines.dataset.images import bit_depth_of, decode_image, encode_image

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))
pictures = st.one_of(hnp.arrays(np.uint8, shapes), hnp.arrays(np.uint16, shapes))
encodings = st.sampled_from(["png", "packed"])


def png_by_hand(image: np.ndarray, *, colour: int) -> bytes:
    """A PNG written from the specification: no filter, big-endian samples."""
    height, width = image.shape[:2]
    bits = image.dtype.itemsize * 8
    rows = image.astype(f">u{image.dtype.itemsize}").reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@given(image=pictures, encoding=encodings)
def test_every_bit_comes_back(image: np.ndarray, encoding: str) -> None:
    back = decode_image(encode_image(image, encoding), where="here")  # type: ignore[arg-type]
    assert back.dtype == image.dtype
    assert np.array_equal(back, image)


@given(image=hnp.arrays(np.uint16, shapes))
def test_sixteen_bit_png_of_another_writer(image: np.ndarray) -> None:
    back = decode_image(png_by_hand(image, colour=2), where="here")
    assert back.dtype == np.uint16
    assert np.array_equal(back, image)


@given(image=hnp.arrays(np.uint8, shapes))
def test_another_reader_reads_our_png(image: np.ndarray) -> None:
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_image(image)))), image)


def test_a_value_that_eight_bits_cannot_hold() -> None:
    image = np.full((4, 5, 3), 257 * 100 + 1, np.uint16)
    image[1, 2] = (1, 40_000, 65_535)
    for encoding in ("png", "packed"):
        assert decode_image(encode_image(image, encoding), where="x")[1, 2].tolist() == [
            1,
            40_000,
            65_535,
        ]


def test_channels_are_red_green_blue() -> None:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), (200, 100, 50)).save(file, "PNG")
    assert decode_image(file.getvalue(), where="x")[0, 0].tolist() == [200, 100, 50]


def test_grey_becomes_three_channels_and_alpha_goes() -> None:
    grey = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    back = decode_image(png_by_hand(grey, colour=0), where="x")
    assert back.dtype == np.uint16
    assert np.array_equal(back, np.stack([grey] * 3, axis=-1))
    rgba = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    assert np.array_equal(decode_image(png_by_hand(rgba, colour=6), where="x"), rgba[..., :3])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_other_formats(kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 8), (128, 128, 128)).save(file, kind)
    back = decode_image(file.getvalue(), where="x")
    assert back.shape == (8, 16, 3)
    assert np.abs(back.astype(int) - 128).max() <= 1


def test_same_pixels_same_bytes() -> None:
    image = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    for encoding in ("png", "packed"):
        assert encode_image(image, encoding) == encode_image(image.copy(order="F"), encoding)


@pytest.mark.parametrize("encoding", ["png", "packed"])
def test_truncated_anywhere_is_found(encoding: str) -> None:
    image = np.random.default_rng(1).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    data = encode_image(image, encoding)  # type: ignore[arg-type]
    for length in range(len(data)):
        with pytest.raises(ValueError, match="x"):
            decode_image(data[:length], where="x")


def test_truncated_jpeg_is_found() -> None:
    file = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    data = file.getvalue()
    for share in (0.3, 0.6, 0.95):
        with pytest.raises(ValueError, match="truncated"):
            decode_image(data[: int(share * len(data))], where="x")


@pytest.mark.parametrize("kind", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
def test_a_phones_film_behind_a_jpeg_is_no_matter(kind: dict[str, int]) -> None:
    """The film may hold the very bytes of markers; a thumbnail's end is not the picture's."""
    rng = np.random.default_rng(1)
    picture = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    thumbnail, file = io.BytesIO(), io.BytesIO()
    picture.resize((8, 8)).save(thumbnail, "JPEG")
    picture.save(file, "JPEG", exif=b"Exif\0\0" + thumbnail.getvalue(), **kind)
    data = file.getvalue()
    film = rng.bytes(10_000) + b"\xff\xda" + rng.bytes(5_000)
    assert np.array_equal(decode_image(data + film, where="x"), decode_image(data, where="x"))
    for length in range(3, len(data), 7):
        with pytest.raises(ValueError, match="truncated"):
            decode_image(data[:length], where="x")


def test_a_changed_byte_in_a_png_is_found() -> None:
    image = np.random.default_rng(2).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    data = encode_image(image)
    for position in range(8, len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x10
        with pytest.raises(ValueError, match="x"):
            decode_image(bytes(broken), where="x")


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"this is text", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"K3DP", "damaged"),
        (png_by_hand(np.zeros((1, 1, 3), np.uint8), colour=2)[:8] + b"\0" * 40, "x"),
    ],
)
def test_what_is_no_image(data: bytes, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        decode_image(data, where="x")


def test_other_sample_types_are_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.float32)).save(file, "TIFF")
    with pytest.raises(ValueError, match="float32"):
        decode_image(file.getvalue(), where="x")


def test_a_huge_picture_is_refused_before_memory_is_taken() -> None:
    data = bytearray(png_by_hand(np.zeros((1, 1, 3), np.uint8), colour=2))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(ValueError, match="60000 x 60000"):
        decode_image(bytes(data), where="x")


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int16),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_cannot_be_encoded(image: np.ndarray) -> None:
    for encoding in ("png", "packed"):
        with pytest.raises(ValueError):
            encode_image(image, encoding)


def test_bit_depth() -> None:
    assert bit_depth_of(np.zeros((1, 1, 3), np.uint8)) == 8
    assert bit_depth_of(np.zeros((1, 1, 3), np.uint16)) == 16
