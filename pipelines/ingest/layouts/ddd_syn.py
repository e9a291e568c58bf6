"""DDD-syn: ``{training,testing,testing1}/{dp,gt,disp}/<n>_{l,r,m}.png``.

testing and testing1 use the same numbers for other pairs of the same scenes: the folder is part of
a pair's id, the number names the scene.
"""

import re

from pipelines.ingest.layouts.files import Layout, Place, Role

_SPLITS = {"training": "train", "testing": "test", "testing1": "test"}
_ROLES: dict[tuple[str, str], Role] = {
    ("dp", "l"): "left",
    ("dp", "r"): "right",
    ("gt", "m"): "target",
    ("disp", "dm"): "other",
    ("disp", "dl"): "other",
}


def place(folders: tuple[str, ...], stem: str) -> Place | None:
    """Return the place of a file."""
    match = re.fullmatch(r"(\d+)_([a-z]+)", stem)
    if match is None or len(folders) < 2 or folders[-2] not in _SPLITS:
        return None
    role = _ROLES.get((folders[-1], match[2]))
    if role is None:
        return None
    split = _SPLITS[folders[-2]]
    return Place(
        role=role,
        key=f"{folders[-2]}/{match[1]}",
        split=split,
        tree="/".join(folders[:-2]),
        scene=f"{split}/{match[1]}",
    )


LAYOUT = Layout(
    name="ddd-syn",
    form="training/dp/0001_l.png, training/dp/0001_r.png, training/gt/0001_m.png (testing)",
    place=place,
)
