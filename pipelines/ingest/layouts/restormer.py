"""Restormer's form of DPD-blur: ``{train,val,test}/{inputL,inputR,inputC,target}/<S>.png``.

One name a scene. Its training crops, ``<S>-<n>.png`` in ``inputL_crops`` and so on, are a set of
their own: the crops of one picture are one scene.
"""

import re

from pipelines.ingest.layouts.files import Layout, Place, Role, Stems

_ROLES: dict[str, Role] = {
    "inputl": "left",
    "inputr": "right",
    "inputc": "combined",
    "target": "target",
}
_CROP = re.compile(r"(.+)-\d+")


def folder(folders: tuple[str, ...]) -> Stems | None:
    """Return what places the whole pictures of a folder."""
    found = _split_and_tree(folders)
    if found is None or (role := _ROLES.get(folders[-1].lower())) is None:
        return None
    split, tree = found
    return lambda stem: Place(role, stem, split, tree)


def folder_of_crops(folders: tuple[str, ...]) -> Stems | None:
    """Return what places the crops of a folder."""
    found = _split_and_tree(folders)
    name = folders[-1].lower() if folders else ""
    role = _ROLES.get(name.removesuffix("_crops")) if name.endswith("_crops") else None
    if found is None or role is None:
        return None
    split, tree = found

    def place(stem: str) -> Place | None:
        match = _CROP.fullmatch(stem)
        return None if match is None else Place(role, stem, split, tree, match[1])

    return place


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
    folder=folder,
)
CROPS = Layout(
    name="restormer-crops",
    form="train/inputL_crops/X-1.png, train/inputR_crops/X-1.png, train/target_crops/X-1.png",
    folder=folder_of_crops,
)
