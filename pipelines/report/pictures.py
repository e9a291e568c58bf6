"""Pictures that travel inside the page: JPEG or PNG as data URIs."""

import base64

import numpy as np
from numpy.typing import NDArray

from pipelines.report.page_data import Picture

_JPEG_QUALITY = 88
# A ramp that rises evenly in lightness and reads with any colour vision (viridis, six stops).
_RAMP = np.array(
    [(68, 1, 84), (65, 68, 135), (42, 120, 142), (34, 168, 132), (122, 209, 81), (253, 231, 37)],
    np.float32,
)
_POSITIVE, _NEGATIVE = (24, 118, 128), (209, 73, 46)

RAMP_CSS = (
    f"linear-gradient(90deg, {', '.join(f'rgb({r:.0f} {g:.0f} {b:.0f})' for r, g, b in _RAMP)})"
)
# From red by a light grey to teal, each arm evenly darker outwards.
_DIVERGING = np.array(
    [(122, 33, 16), _NEGATIVE, (238, 236, 232), _POSITIVE, (9, 66, 74)], np.float32
)
DIVERGING_CSS = (
    "linear-gradient(90deg, "
    f"{', '.join(f'rgb({r:.0f} {g:.0f} {b:.0f})' for r, g, b in _DIVERGING)})"
)


def to_bytes(picture: Picture) -> NDArray[np.uint8]:
    """Return a picture as 8 bit; raises ValueError when it is not one."""
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"a picture must be (H, W, 3), got {picture.shape}")
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype == np.uint16:
        return np.rint(picture / 257.0).astype(np.uint8)
    if not np.issubdtype(picture.dtype, np.floating):
        raise ValueError(f"a picture must be uint8, uint16 or floating point, got {picture.dtype}")
    return np.rint(np.clip(np.nan_to_num(picture), 0.0, 1.0) * 255.0).astype(np.uint8)


def fit(picture: Picture, max_px: int) -> NDArray[np.uint8]:
    """Return a picture as 8 bit, made smaller where a side exceeds ``max_px``."""
    import cv2

    image = to_bytes(picture)
    height, width = image.shape[:2]
    scale = max_px / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def jpeg(picture: Picture) -> str:
    """Return a photograph as a data URI."""
    import cv2

    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        *(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    ]
    _, data = cv2.imencode(".jpg", to_bytes(picture)[..., ::-1], options)
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def png(image: NDArray[np.uint8]) -> str:
    """Return ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA as a data URI, without loss."""
    return f"data:image/png;base64,{base64.b64encode(png_bytes(image)).decode()}"


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """Return ``(H, W, 3)`` RGB or ``(H, W, 4)`` RGBA as the content of a PNG file."""
    import cv2

    order = [2, 1, 0, 3][: image.shape[2]]
    _, data = cv2.imencode(".png", np.ascontiguousarray(image[..., order]))
    return data.tobytes()


def ramp(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colour values in [0, 1], ``(H, W)``, dark for 0 and bright for 1."""
    return _between(_RAMP, values)


def diverging(values: NDArray[np.floating], peak: float) -> NDArray[np.uint8]:
    """Colour signed values, ``(H, W)``: red at -peak, light grey at zero, teal at peak."""
    return _between(_DIVERGING, 0.5 + 0.5 * np.asarray(values, np.float32) / max(peak, 1e-12))


def _between(colours: NDArray[np.float32], share: NDArray[np.floating]) -> NDArray[np.uint8]:
    position = np.clip(np.nan_to_num(share), 0.0, 1.0) * (len(colours) - 1)
    low = np.minimum(position.astype(int), len(colours) - 2)
    share = (position - low)[..., None]
    return np.rint((1 - share) * colours[low] + share * colours[low + 1]).astype(np.uint8)


def signed(values: NDArray[np.floating], peak: float) -> NDArray[np.uint8]:
    """Colour signed values, ``(H, W)``: teal above zero, red below, clear at zero.

    The cube root of the share of ``peak`` is the opacity, so that small taps show beside a
    large one. Clear on any background, light or dark.
    """
    share = np.clip(np.abs(values) / max(peak, 1e-12), 0.0, 1.0) ** (1 / 3)
    image = np.empty((*values.shape, 4), np.uint8)
    image[..., :3] = np.where((values >= 0)[..., None], _POSITIVE, _NEGATIVE)
    image[..., 3] = np.rint(share * 255)
    return image


def telling_window(
    before: NDArray[np.uint8], after: NDArray[np.uint8], reference: NDArray[np.uint8], side_px: int
) -> tuple[int, int]:
    """Return (y, x) of the square where ``after`` is most nearer to ``reference``.

    The corner of the window of ``side_px`` whose sum of squared error falls most.
    """
    truth = reference.astype(np.float64)
    gain = ((before - truth) ** 2 - (after - truth) ** 2).sum(axis=2)
    total = np.pad(gain.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    s = side_px
    windows = total[s:, s:] - total[:-s, s:] - total[s:, :-s] + total[:-s, :-s]
    y, x = np.unravel_index(int(np.argmax(windows)), windows.shape)
    return int(y), int(x)
