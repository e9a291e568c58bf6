"""Small pictures in the shape of what users bring, made on the spot."""

from pathlib import Path

import cv2
import numpy as np

HEIGHT_PX, WIDTH_PX = 48, 64


def texture(seed: int) -> np.ndarray:
    """A picture (H, W, 3) uint8 with detail on several scales."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.float32)
    for scale in (4, 8, 16):
        coarse = rng.random((HEIGHT_PX // scale, WIDTH_PX // scale, 3), np.float32)
        picture += cv2.resize(coarse, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)
    low, high = picture.min(), picture.max()
    return ((picture - low) / (high - low) * 255).astype(np.uint8)


def views_of(sharp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two views of a sharp picture: each sees it through its own half of a box blur."""
    kernel = np.zeros((5, 5), np.float32)
    kernel[1:4, :3] = 1 / 9
    left = cv2.filter2D(sharp, -1, kernel, borderType=cv2.BORDER_REFLECT)
    right = cv2.filter2D(sharp, -1, kernel[:, ::-1], borderType=cv2.BORDER_REFLECT)
    return left, right


def write_pair(folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """Write left.png and right.png into ``folder``."""
    left, right = views_of(texture(seed))
    paths = folder / "left.png", folder / "right.png"
    for path, view in zip(paths, (left, right), strict=True):
        cv2.imwrite(str(path), view)
    return paths


def write_dpd_blur(folder: Path, *, train: int = 4, val: int = 2, test: int = 2) -> Path:
    """Write a set in the DPD-blur layout: ``{split}_{l,r}/source`` and ``{split}_c/target``."""
    seed = 0
    for split, count in (("train", train), ("val", val), ("test", test)):
        for _ in range(count):
            seed += 1
            sharp = texture(seed)
            left, right = views_of(sharp)
            for place, picture in (
                (f"{split}_l/source", left),
                (f"{split}_r/source", right),
                (f"{split}_c/source", (left // 2 + right // 2)),
                (f"{split}_c/target", sharp),
            ):
                path = folder / place / f"1P0A{seed:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture)
    return folder


def write_small_samples(samples: Path, folder: Path) -> Path:
    """Write the sample folder in small: its real pairs, some RGB-D scenes, some textures."""
    real = [path for path in samples.glob("dpd-blur-mini/*/*/*") if path.suffix == ".png"]
    for path in real:
        _write(folder / path.relative_to(samples), _read(path)[:96, :128])
    for path in sorted((samples / "rgbd").glob("*.png"))[:16]:  # eight scenes, two files each
        nearest = cv2.resize(_read(path), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_NEAREST)
        _write(folder / "rgbd" / path.name, nearest)
    for path in sorted((samples / "sharp").glob("*.jpg"))[:4]:
        _write(folder / "sharp" / f"{path.stem}.png", _read(path)[:256, :256])
    return folder


def _read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None, path
    return picture


def _write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture), path
