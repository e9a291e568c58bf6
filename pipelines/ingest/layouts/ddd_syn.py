"""DDD-syn: ``{training,testing,testing1}/{dp,gt,disp}/<n>_{l,r,m}.png``.

testing and testing1 use the same numbers for other pairs of the same scenes: the folder is part of
a pair's id, the number names the scene.
"""

import re

from pipelines.ingest.layouts.files import Layout, Place, Role, Stems

_STEM = re.compile(r"(\d+)_([a-z]+)")
_SPLITS = {"training": "train", "testing": "test", "testing1": "test"}
_ROLES: dict[tuple[str, str], Role] = {
    ("dp", "l"): "left",
    ("dp", "r"): "right",
    ("gt", "m"): "target",
    ("disp", "dm"): "other",
    ("disp", "dl"): "other",
}


def folder(folders: tuple[str, ...]) -> Stems | None:
    """Return what places the files of a folder."""
    if len(folders) < 2 or folders[-2] not in _SPLITS:
        return None
    above, kind, tree = folders[-2], folders[-1], "/".join(folders[:-2])
    split = _SPLITS[above]

    def place(stem: str) -> Place | None:
        match = _STEM.fullmatch(stem)
        role = None if match is None else _ROLES.get((kind, match[2]))
        if match is None or role is None:
            return None
        return Place(role, f"{above}/{match[1]}", split, tree, f"{split}/{match[1]}")

    return place


LAYOUT = Layout(
    name="ddd-syn",
    form="training/dp/0001_l.png, training/dp/0001_r.png, training/gt/0001_m.png (testing)",
    folder=folder,
)
