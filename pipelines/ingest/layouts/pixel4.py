"""CMU's Pixel 4 scenes (Xin et al., ICCV 2021): recognised, and not taken in.

The views are raw: green alone, 14 bit, linear light, black level 1024; the truth is the middle of
the view in another exposure, a pixel beside it. Such values are not sRGB pictures.
"""

import re

from pipelines.ingest.layouts.files import Layout, Place, Role

_VIEWS: dict[str, Role] = {"left": "left", "right": "right"}


def place(folders: tuple[str, ...], stem: str) -> Place | None:
    """Return the place of a file; the truth in its folder makes the set, views alone do not."""
    if folders and folders[-1] in ("gt_all_in_focus_im", "gt_defocus_map"):
        role: Role = "target" if folders[-1] == "gt_all_in_focus_im" else "other"
        key = stem.removesuffix("_gt")
        return Place(role=role, key=key, tree="/".join(folders[:-1]))
    if folders and folders[-1] == "calibration":
        return Place(role="other", key=stem, tree="/".join(folders[:-1]))
    match = re.fullmatch(r"(\d+)_(left|right)", stem)
    if match is None:
        return None
    return Place(role=_VIEWS[match[2]], key=match[1], tree="/".join(folders))


LAYOUT = Layout(
    name="pixel4",
    form="001_left.png, 001_right.png, gt_all_in_focus_im/001_gt.png",
    place=place,
    refusal="its views are raw (green, 14 bit, linear light, black level 1024) and its truth is "
    "the middle of them in another exposure: these are not sRGB pictures. Develop them to "
    "sRGB, cut to one size, in the layout left-right-sharp",
)
