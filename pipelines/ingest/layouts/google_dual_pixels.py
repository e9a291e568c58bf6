"""Google's dual-pixel set (Garg et al., ICCV 2019): recognised, and not taken in.

``{train,test}/raw_left_pd/<capture>/result_pd_left_center.png`` and likewise ``raw_right_pd``, from
five phones a capture. The views are raw: green alone, linear light. Its truth is depth; none of the
pictures is sharp.
"""

import re

from pipelines.ingest.layouts.files import Layout, Place, Role

_VIEWS: dict[str, Role] = {"raw_left_pd": "left", "raw_right_pd": "right"}
_STEM = re.compile(r"result_pd_(?:left|right)_(\w+)")


def place(folders: tuple[str, ...], stem: str) -> Place | None:
    """Return the place of a view; the folders above say which it is."""
    match = _STEM.fullmatch(stem)
    at = next((index for index, folder in enumerate(folders) if folder in _VIEWS), None)
    if match is None or at is None:
        return None
    split = folders[at - 1] if at and folders[at - 1] in ("train", "test") else None
    key = "/".join((*folders[at + 1 :], match[1]))
    tree = "/".join(folders[: at - 1 if split else at])
    return Place(role=_VIEWS[folders[at]], key=key, split=split, tree=tree)


LAYOUT = Layout(
    name="google-dual-pixels",
    form="train/raw_left_pd/CAPTURE/result_pd_left_center.png, train/raw_right_pd/...",
    place=place,
    has_targets=False,
    refusal="its views are raw (green, linear light) and none of its pictures is sharp: these are "
    "not sRGB pictures. Develop them to sRGB, in the layout left-right-sharp without a target",
)
