"""Photographs for the surfaces of scenes that are made, kept decoded while a task runs."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.images import decode_image
from pipelines.dataset.record import Source
from pipelines.making.shards import file_source
from pipelines.storage import Location
from synth.sources.textures import skimage_textures

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_KEPT = 16
_MAX_SIDE_PX = 2048
_Picture = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(kw_only=True)
class TextureShelf:
    """The photographs of scikit-image or of a folder, by name.

    Holds the last few decoded. A fresh one for each run: it never outlives the files it read.
    """

    folder: Location | None
    """None: the photographs that come with scikit-image."""
    _kept: OrderedDict[str, tuple[_Picture, Source]] = field(default_factory=OrderedDict)
    _sources: dict[str, Source] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Return the names of the photographs, sorted."""
        if self.folder is None:
            return sorted(skimage_textures())
        return [n for n in self.folder.walk() if n.lower().endswith(PICTURE_SUFFIXES)]

    def picture(self, name: str) -> tuple[_Picture, Source]:
        """Return a photograph (H, W, 3), at most 2048 px a side, and where it came from.

        Raises ValueError for a damaged file or one below 2 x 2 px, OSError for an unreadable one.
        """
        if name not in self._kept:
            self._kept[name] = self._load(name)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(name)
        return self._kept[name]

    def source(self, name: str) -> Source:
        """Return where a photograph comes from without decoding it."""
        if name in self._kept:
            return self._kept[name][1]
        if self.folder is None:
            return _bundled_source(name)
        if name not in self._sources:
            self._sources[name] = file_source("texture", name, self.folder.child(name))
        return self._sources[name]

    def _load(self, name: str) -> tuple[_Picture, Source]:
        if self.folder is None:
            everything = skimage_textures()  # read as a whole, and fewer than are kept
            self._kept |= {n: (p, _bundled_source(n)) for n, p in everything.items()}
            return self._kept[name]
        data = self.folder.child(name).read_bytes()
        source = Source(role="texture", file=name, sha256=hashlib.sha256(data).hexdigest())
        picture = decode_image(data, where=name)
        if min(picture.shape[:2]) < 2:
            raise ValueError(f"{name}: a photograph must be at least 2 x 2 pixels")
        return _shrink(picture), source

    def __getstate__(self) -> dict[str, object]:
        """Travel without the pictures."""
        return {"folder": self.folder, "_kept": OrderedDict(), "_sources": {}}


def _bundled_source(name: str) -> Source:
    # The file is the package's: its version stands in the manifest.
    return Source(role="texture", file=f"skimage:{name}", sha256="")


def _shrink(picture: _Picture) -> _Picture:
    side = max(picture.shape[:2])
    if side <= _MAX_SIDE_PX:
        return picture
    import cv2

    scale = _MAX_SIDE_PX / side
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    return cast(_Picture, cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
