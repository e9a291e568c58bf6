"""Google's dual-pixel set (Garg et al., ICCV 2019): recognised, and not taken in.

``{train,test}/raw_left_pd/<capture>/result_pd_left_center.png`` and likewise ``raw_right_pd``, from
five phones a capture. The views are raw: green alone, linear light. Its truth is depth; none of the
pictures is sharp.
"""

import re

from pipelines.ingest.layouts.files import Layout, Place, Role, Stems

_VIEWS: dict[str, Role] = {"raw_left_pd": "left", "raw_right_pd": "right"}
_STEM = re.compile(r"result_pd_(?:left|right)_(\w+)")


def folder(folders: tuple[str, ...]) -> Stems | None:
    """Return what places the views of a folder; the folders above say which they are."""
    at = next((index for index, folder in enumerate(folders) if folder in _VIEWS), None)
    if at is None:
        return None
    role, split = _VIEWS[folders[at]], folders[at - 1] if at else ""
    split = split if split in ("train", "test") else ""
    tree = "/".join(folders[: at - 1 if split else at])

    def place(stem: str) -> Place | None:
        match = _STEM.fullmatch(stem)
        if match is None:
            return None
        return Place(role, "/".join((*folders[at + 1 :], match[1])), split or None, tree)

    return place


LAYOUT = Layout(
    name="google-dual-pixels",
    form="train/raw_left_pd/CAPTURE/result_pd_left_center.png, train/raw_right_pd/...",
    folder=folder,
    has_targets=False,
    refusal="its views are raw (green, linear light) and none of its pictures is sharp: these are "
    "not sRGB pictures. Develop them to sRGB, in the layout left-right-sharp without a target",
)
