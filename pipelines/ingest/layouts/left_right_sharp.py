"""Folders of left, right and sharp pictures, one name a scene: ``[split/]left/<S>.png``.

The folders may be called as sets in circulation call them; MDP's ``{train,val}/{l,r,c}`` is one,
without sharp targets.
"""

from pipelines.ingest.layouts.files import SPLIT_FOLDERS, Layout, Place, Role, Stems

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("left", "l", "left_view"), "left"),
    **dict.fromkeys(("right", "r", "right_view"), "right"),
    **dict.fromkeys(("center", "centre", "combined", "c"), "combined"),
    **dict.fromkeys(("sharp", "target", "gt", "ground_truth", "all_in_focus"), "target"),
}


def folder(folders: tuple[str, ...]) -> Stems | None:
    """Return what places the files of a folder; the split may stand above or below the role."""
    lower = [folder.lower() for folder in folders]
    split: str | None
    if lower and lower[-1] in _ROLES:
        role, split = _ROLES[lower[-1]], SPLIT_FOLDERS.get(lower[-2]) if len(lower) > 1 else None
        tree = "/".join(folders[: -2 if split else -1])
    elif len(lower) > 1 and lower[-1] in SPLIT_FOLDERS and lower[-2] in _ROLES:
        role, split, tree = _ROLES[lower[-2]], SPLIT_FOLDERS[lower[-1]], "/".join(folders[:-2])
    else:
        return None
    return lambda stem: Place(role, stem, split, tree)


LAYOUT = Layout(
    name="left-right-sharp",
    form="left/X.png, right/X.png, sharp/X.png, in folders train, val, test or without",
    folder=folder,
    by_number=True,
)
