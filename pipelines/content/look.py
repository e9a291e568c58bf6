"""A look at the pictures of one pair: all that can be told of it by itself."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.content import target as targets
from pipelines.content.colour import of_colours
from pipelines.content.findings import Finding
from pipelines.content.likeness import perceptual_hash, signature, small_grey
from pipelines.content.picture import of_depth, of_light, of_missing_parts
from pipelines.content.target import Scene
from pipelines.content.views import EQUAL, Axis, look_at_views, of_sharpness, of_signatures

Pixels = NDArray[Any]

_SMALLEST_PX = 64


@dataclass(frozen=True, slots=True)
class Look:
    """What was found of a pair."""

    findings: tuple[Finding, ...]
    scene: Scene | None = None
    """None for pictures too small to be told apart."""
    hash: int = 0
    """``perceptual_hash`` of the target, or of the left view where there is none; 0 likewise."""
    axis: Axis | None = None
    """Along what parallax runs, where a close look could tell."""
    near: float | None = None
    """Share of the places out of focus that lie nearer than focus, by x_L - x_R > 0."""
    downwards: float | None = None
    """Correlation of x_L - x_R with how far down a place lies; positive where the lower is nearer,
    as it is on most photographs."""

    @property
    def fault(self) -> Finding | None:
        """The first finding that no pair can be made with."""
        return next((finding for finding in self.findings if finding.fault), None)


def look_at_pair(
    left: Pixels,
    right: Pixels,
    target: Pixels | None = None,
    *,
    combined: Pixels | None = None,
    close: bool = True,
) -> Look:
    """Look at the pictures of a pair, ``(H, W, 3)`` of one size and type.

    close: measure parallax and the target's place, too, which takes as long as decoding the files;
    else only what shows from afar.
    """
    pictures = {"left": left, "right": right}
    if target is not None:
        pictures["target"] = target
    grey = {role: small_grey(picture) for role, picture in pictures.items()}
    findings = [f for role, p in pictures.items() for f in of_light(role, p, grey[role])]
    findings += of_missing_parts(pictures)
    findings += of_depth(pictures)
    if np.array_equal(left, right):
        findings.append(EQUAL)
    if min(left.shape[:2]) < _SMALLEST_PX:
        return Look(tuple(findings))
    if target is not None:
        findings += targets.of_equal_pictures(target, left, right, combined)
    unlike = of_signatures(signature(grey["left"]), signature(grey["right"]))
    findings += unlike or of_colours("right", right, left)
    mean = (grey["left"] + grey["right"]) / np.float32(2)
    scene = Scene(signature(mean), None if target is None else signature(grey["target"]))
    shown = grey.get("target", grey["left"])
    look = Look(tuple(findings), scene, perceptual_hash(shown))
    if look.fault is not None:
        return look
    views = look_at_views(left, right) if close else None
    if views is not None:
        findings += [finding for finding in views.findings if finding.kind != "sharp"]
        findings += of_sharpness(left, right)
    if target is not None:
        of_scene = targets.of_scene(scene)
        findings += of_scene
        if not any(finding.fault for finding in of_scene):  # another scene has its own light
            findings += targets.of_exposure(grey["target"], mean)
            findings += of_colours("target", target, left)
        if views is not None and not any(finding.fault for finding in findings):
            findings += targets.of_place(target, left, right, views.parallax)
    if views is None or views.parallax is None or views.axis != "rows":
        axis = None if views is None else views.axis
        return Look(tuple(findings), scene, look.hash, axis)
    near, downwards = _signs(views.parallax.place[:, 0], views.parallax.shift[:, 1])
    return Look(tuple(findings), scene, look.hash, "rows", near, downwards)


def _signs(
    down: NDArray[np.float32], shift: NDArray[np.float32]
) -> tuple[float | None, float | None]:
    out = np.abs(shift) > 0.5
    if out.sum() < 6:
        return None, None
    near = float((shift[out] > 0).mean())
    if np.ptp(shift) < 1 or np.ptp(down) == 0:
        return near, None
    return near, float(np.corrcoef(down, shift)[0, 1])
