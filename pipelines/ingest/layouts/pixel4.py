"""CMU's Pixel 4 scenes (Xin et al., ICCV 2021): recognised, and not taken in.

The views are raw: green alone, 14 bit, linear light, black level 1024; the truth is the middle of
the view in another exposure, a pixel beside it. Such values are not sRGB pictures.
"""

import re

from pipelines.ingest.layouts.files import Layout, Place, Role, Stems

_VIEW = re.compile(r"(\d+)_(left|right)")
_VIEWS: dict[str, Role] = {"left": "left", "right": "right"}


def folder(folders: tuple[str, ...]) -> Stems:
    """Return what places the files of a folder; the truth in its folder makes the set, views alone
    do not."""
    kind, tree = folders[-1] if folders else "", "/".join(folders[:-1])
    if kind in ("gt_all_in_focus_im", "gt_defocus_map"):
        role: Role = "target" if kind == "gt_all_in_focus_im" else "other"
        return lambda stem: Place(role, stem.removesuffix("_gt"), None, tree)
    if kind == "calibration":
        return lambda stem: Place("other", stem, None, tree)
    here = "/".join(folders)

    def place(stem: str) -> Place | None:
        match = _VIEW.fullmatch(stem)
        return None if match is None else Place(_VIEWS[match[2]], match[1], None, here)

    return place


LAYOUT = Layout(
    name="pixel4",
    form="001_left.png, 001_right.png, gt_all_in_focus_im/001_gt.png",
    folder=folder,
    refusal="its views are raw (green, 14 bit, linear light, black level 1024) and its truth is "
    "the middle of them in another exposure: these are not sRGB pictures. Develop them to "
    "sRGB, cut to one size, in the layout left-right-sharp",
)
