"""NYU Depth v2, the labelled pictures: one MATLAB 7.3 file, which is HDF5.

Silberman, Hoiem, Kohli and Fergus, "Indoor Segmentation and Support Inference from RGBD Images",
ECCV 2012. MATLAB stores arrays column by column, so HDF5 has their axes in reverse: `images`,
H x W x 3 x N there, are (N, 3, W, H) uint8, `depths` (N, W, H) floats in metres with the holes
filled in by the authors, and `scenes`, a cell of N names, (1, N) references to arrays of letters.
`rawDepths` has far too many holes to be used and is left alone.
"""

import hashlib
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from synth.scene import Scene
from synth.sources.patterns import Size
from synth.sources.rgbd import rgbd_scene

_NAME = "NYU Depth v2 file"


class NyuFile:
    """An open labelled file; `len` is how many pictures it holds. They are numbered from 1.

    Nothing is read before it is asked for, and then of one picture only. The file object must be
    seekable; it is left open. Use as a context manager, or call `close`.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Open it. Raises ValueError if it is not such a file, ModuleNotFoundError without h5py."""
        try:
            import h5py
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "NYU Depth v2 is read through h5py, which is not installed: "
                "pip install 'k3dn[synth]'"
            ) from None
        with _one_line(f"{_NAME}: is not a readable HDF5 (MATLAB 7.3) file"):
            self._hdf5 = h5py.File(file, "r")
        # Left open over a file object written in Python, HDF5 would call it when Python is gone.
        weakref.finalize(self, self._hdf5.close)
        self._scenes: np.ndarray | None = None  # references, once one is asked for
        self._last: tuple[int, tuple[np.ndarray, np.ndarray]] | None = None
        try:
            self._images = self._dataset("images", "(N, 3, W, H) uint8")
            self._depths = self._dataset("depths", "(N, W, H) floats")
            self._check()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._images.shape[0])

    def close(self) -> None:
        """Let go of the file object, which stays open."""
        self._hdf5.close()

    def scene_id(self, number: int) -> str:
        """`nyu-` and the name of the room (kitchen_0004), of which there are several pictures.

        Raises ValueError for a number that is not there, and if the room has no name.
        """
        where = self._where(number)
        with _one_line(f"{where}: its scene cannot be read"):
            if self._scenes is None:
                self._scenes = self._dataset("scenes", "(1, N) references")[()].reshape(-1)
            reference = self._scenes[number - 1]
            if not reference:
                raise ValueError(f"{where}: it has no scene, so no split can keep it from others")
            letters = self._hdf5[reference][()]
        # An empty name is stored as its size, in 64 bits; letters have 16.
        name = "".join(map(chr, letters.reshape(-1))) if letters.dtype == np.uint16 else ""
        if not name.strip() or not name.isprintable():
            raise ValueError(f"{where}: its scene's name is empty or not text")
        return f"nyu-{name}"

    def read(
        self, number: int, *, size: Size | None = None, rng: np.random.Generator | None = None
    ) -> Scene:
        """Read one picture with its depth. size, rng: as for `synth.sources.fit.fit_scene`.

        Raises ValueError, with the picture's number and the reason, on what is not a scene.
        """
        where = self._where(number)
        scene_id = self.scene_id(number)
        image_CWH, depth_WH = self._stored(number)
        image = np.ascontiguousarray(image_CWH.transpose(2, 1, 0))
        depth_m = np.ascontiguousarray(depth_WH.T)
        return rgbd_scene(scene_id, image, depth_m, where=where, size=size, rng=rng)

    def sha256(self, number: int) -> str:
        """Checksum, hex, of one picture and its depth as the file holds them. Raises ValueError."""
        digest = hashlib.sha256()
        for array in self._stored(number):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _stored(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The picture (3, W, H) and its depth (W, H); the last is kept, for it is asked twice."""
        if self._last is None or self._last[0] != number:
            with _one_line(f"{self._where(number)}: it cannot be read"):
                self._last = number, (self._images[number - 1], self._depths[number - 1])
        return self._last[1]

    def _where(self, number: int) -> str:
        if not 1 <= number <= len(self):
            raise ValueError(f"NYU image {number}: the file has images 1 to {len(self)}")
        return f"NYU image {number}"

    def _dataset(self, key: str, form: str) -> Any:
        with _one_line(f"{_NAME}: '{key}' cannot be read"):
            found = self._hdf5.get(key)
        if not hasattr(found, "shape"):
            raise ValueError(f"{_NAME}: has no array '{key}', which should be {form}")
        return found

    def _check(self) -> None:
        images, depths = self._images, self._depths
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
            raise ValueError(
                f"{_NAME}: 'images' should be (N, 3, W, H) uint8, got {images.shape} {images.dtype}"
            )
        if depths.shape != (images.shape[0], *images.shape[2:]) or depths.dtype.kind != "f":
            raise ValueError(
                f"{_NAME}: 'depths' should be {(images.shape[0], *images.shape[2:])} floats like "
                f"the images, got {depths.shape} {depths.dtype}"
            )
        scenes = self._dataset("scenes", "(1, N) references")
        if scenes.size != len(self) or scenes.dtype.kind != "O":
            raise ValueError(
                f"{_NAME}: 'scenes' should be (1, {len(self)}) references, got {scenes.shape} "
                f"{scenes.dtype}"
            )


@contextmanager
def _one_line(message: str) -> Iterator[None]:
    """HDF5's complaints about a file's contents as ValueError; those of storage go on as they are.

    h5py reports both as OSError; its own carry neither a number nor a type.
    """
    try:
        yield
    except (OSError, RuntimeError, KeyError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise
        reason = next(iter(str(error.args[0] if error.args else error).splitlines()), "")
        raise ValueError(f"{message} ({reason})") from None
