"""Restormer's form of DPD-blur: ``{train,val,test}/{inputL,inputR,inputC,target}/<S>.png``.

One name a scene. Its training crops, ``<S>-<n>.png`` in ``inputL_crops`` and so on, are a set of
their own: the crops of one picture are one scene.
"""

import re

from pipelines.ingest.layouts.files import Layout, Place, Role

_ROLES: dict[str, Role] = {
    "inputl": "left",
    "inputr": "right",
    "inputc": "combined",
    "target": "target",
}
_CROP = re.compile(r"(.+)-\d+")


def place(folders: tuple[str, ...], stem: str) -> Place | None:
    """Return the place of a whole picture."""
    found = _split_and_tree(folders)
    if found is None or (role := _ROLES.get(folders[-1].lower())) is None:
        return None
    return Place(role=role, key=stem, split=found[0], tree=found[1])


def place_crop(folders: tuple[str, ...], stem: str) -> Place | None:
    """Return the place of a crop."""
    found = _split_and_tree(folders)
    name = folders[-1].lower() if folders else ""
    if found is None or not name.endswith("_crops"):
        return None
    role, match = _ROLES.get(name.removesuffix("_crops")), _CROP.fullmatch(stem)
    if role is None or match is None:
        return None
    return Place(role=role, key=stem, split=found[0], tree=found[1], scene=match[1])


def _split_and_tree(folders: tuple[str, ...]) -> tuple[str, str] | None:
    """Return the split, and the folders around it: between it and the role there may be some
    (``train/DPDD/inputL``), and other ones are another set."""
    lower = [folder.lower() for folder in folders]
    for index, folder in enumerate(lower[:-1]):
        if folder in ("train", "val", "test"):
            between = folders[index + 1 : -1]
            return folder, "/".join((*folders[:index], *(("{split}", *between) if between else ())))
    return None


LAYOUT = Layout(
    name="restormer",
    form="train/inputL/X.png, train/inputR/X.png, train/target/X.png (val, test)",
    place=place,
)
CROPS = Layout(
    name="restormer-crops",
    form="train/inputL_crops/X-1.png, train/inputR_crops/X-1.png, train/target_crops/X-1.png",
    place=place_crop,
)
