"""Measure how small and how fast the encodings of pictures are; the figures of docs/data.md.

    K3DN_SAMPLES=... python -m tests.benchmarks.encodings

Pictures: path-traced scenes and photographs of the samples (8 bit), and the photographs halved in
size, blurred and given sensor noise at 16 bit, as a defocused capture is. One thread.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pyarrow as pa

from pipelines.dataset.images import Pixels, decode_image, encode_image

Codec = tuple[Callable[[Pixels], bytes], Callable[[bytes, Pixels], Pixels]]


def plain_zstd(image: Pixels) -> bytes:
    """Raw samples and zstd, without differences."""
    return bytes(pa.Codec("zstd", compression_level=3).compress(image.tobytes(), asbytes=True))


def plain_unzstd(data: bytes, like: Pixels) -> Pixels:
    """The inverse; shape and type are those of ``like``."""
    raw = pa.Codec("zstd").decompress(data, decompressed_size=like.nbytes)
    return cast(Pixels, np.frombuffer(raw, like.dtype).reshape(like.shape))


CODECS: dict[str, Codec] = {
    "PNG": (encode_image, lambda data, _: decode_image(data, where="")),
    "raw + zstd 3": (plain_zstd, plain_unzstd),
    "packed": (lambda i: encode_image(i, "packed"), lambda data, _: decode_image(data, where="")),
}


def seconds_of(work: Callable[[], object], *, at_least_s: float = 1.0) -> float:
    """CPU seconds, best of several runs: a busy machine only ever adds to them."""
    best, spent = float("inf"), 0.0
    while spent < at_least_s:
        started = time.process_time()
        work()
        taken = time.process_time() - started
        best, spent = min(best, taken), spent + taken
    return best


def defocused_16_bit(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Half size, blurred, with noise that grows with light."""
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    blurred = cv2.GaussianBlur(small * 257, (0, 0), 2)
    noisy = blurred + rng.normal(0, 1.2, blurred.shape) * np.sqrt(blurred)
    return np.clip(noisy, 0, 65535).astype(np.uint16)


def main() -> None:
    """Print one table a set of pictures."""
    cv2.setNumThreads(1)
    samples = Path(os.environ["K3DN_SAMPLES"])
    rng = np.random.default_rng(0)
    scenes = [read(path) for path in sorted(samples.glob("rgbd/*_image.png"))[:6]]
    photographs = [read(path) for path in sorted(samples.glob("sharp/*.jpg"))[::8]]
    table("path-traced scenes, 8 bit", scenes)
    table("photographs, 8 bit", photographs)
    table("defocused, 16 bit", [defocused_16_bit(picture, rng) for picture in photographs])


def read(path: Path) -> Pixels:
    """A picture of the samples."""
    return decode_image(path.read_bytes(), where=str(path))


def table(title: str, pictures: Sequence[Pixels]) -> None:
    """Print size and speeds of every encoding."""
    raw_bytes = sum(picture.nbytes for picture in pictures)
    print(f"\n{title}: {len(pictures)} pictures, {raw_bytes / 1e6:.1f} MB")
    for name, (encode, decode) in CODECS.items():
        encoded = [encode(picture) for picture in pictures]
        both = list(zip(encoded, pictures, strict=True))
        assert all(np.array_equal(decode(data, picture), picture) for data, picture in both)
        write_s = seconds_of(lambda: [encode(picture) for picture in pictures])  # noqa: B023
        read_s = seconds_of(
            lambda: [decode(data, picture) for data, picture in both]  # noqa: B023
        )
        share = sum(len(data) for data in encoded) / raw_bytes
        print(
            f"  {name:<14} size {share:.3f}   write {raw_bytes / write_s / 1e6:5.0f} MB/s   "
            f"read {raw_bytes / read_s / 1e6:5.0f} MB/s"
        )


if __name__ == "__main__":
    main()
