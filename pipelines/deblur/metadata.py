"""What a photograph's file says beside its samples, in a form that each format can take."""

from dataclasses import dataclass
from typing import Literal

from pipelines.deblur.exif_tree import ICC, PHOTOSHOP, XMP, ExifTree, exif_block, read_tree

Format = Literal["png", "jpeg", "tiff", "webp"]

FORMATS: dict[str, Format] = {
    ".png": "png",
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "jpeg"),
    **dict.fromkeys((".tif", ".tiff"), "tiff"),
    ".webp": "webp",
}
"""By suffix."""

INCH_CM = 2.54

_PX_AN_INCH: dict[Format, tuple[float, float]] = {
    **{"png": (0.02, 54e6), "jpeg": (0.5, 65535.0), "tiff": (1e-4, 4.2e9), "webp": (0.0, 0.0)},
}
"""The least and the largest resolution that a format can state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """What is kept of a file."""

    format: Format
    exif: bytes | None = None
    """Exif block from its byte order mark on; None for TIFF, which has ``tree``."""
    tree: ExifTree | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    """The colour profile."""
    photoshop: bytes | None = None
    """Photoshop's resources (8BIM), IPTC among them."""
    resolution: tuple[float, float] | None = None
    """Horizontal and vertical, px an inch, where the container says so itself."""
    own: tuple[tuple[bytes, bytes], ...] = ()
    """Kind and content of all that a file of the same format takes as it stands."""
    own_words: tuple[str, ...] = ()
    """What of that no other format takes, in words."""
    compression: int = 1
    """A TIFF's."""
    alpha: bool = True
    """Whether a last sample beside grey or colours is known to be alpha."""
    left_out: tuple[str, ...] = ()
    """What no written file takes, in words."""

    def as_exif(self) -> bytes | None:
        """Return the Exif block, made of a TIFF's tags where it was one."""
        if self.tree is None:
            return self.exif
        tree = self.tree.without(XMP, PHOTOSHOP, ICC)
        return exif_block(tree) if tree.main or tree.exif or tree.gps else None

    def as_tree(self) -> ExifTree:
        """Return the tags one by one."""
        found = self.tree or (read_tree(self.exif) if self.exif else None)
        return found or ExifTree("<")

    def resolution_for(self, other: Format) -> tuple[float, float] | None:
        """Return the resolution as a format can state it, None where it cannot."""
        least, most = _PX_AN_INCH[other]
        found = self.resolution
        return found if found and least <= min(found) and max(found) <= most else None

    def not_taken_by(self, other: Format) -> tuple[str, ...]:
        """Return what a file of a format does not take, in words."""
        lost = list(self.left_out)
        if other != self.format:
            lost += self.own_words
            if other != "webp" and self.resolution and not self.resolution_for(other):
                lost.append(f"a resolution of {max(self.resolution):.3g} px an inch")
            if self.photoshop is not None and other in ("png", "webp"):
                lost.append("IPTC and Photoshop's resources")
        return tuple(lost)
