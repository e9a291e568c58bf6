"""DPD-blur (DPDD) and its re-releases with one name a scene; the pictures of a Pixel likewise.

``{train,val,test}_{l,r,c}/source/<S>[_L|_R].png`` and ``{train,val,test}_c/target/<T>.png``.
The number of a target differs from its source's by one or two in the original set. The suffixes
are optional, and so is the combined view.
"""

import re

from pipelines.ingest.layouts.files import Layout, Place, Role, Stems

_FOLDER = re.compile(r"(train|val|test)_([lrc])", re.IGNORECASE)
_ROLES: dict[str, Role] = {"l": "left", "r": "right", "c": "combined"}


def folder(folders: tuple[str, ...]) -> Stems | None:
    """Return what places the files of a folder in a tree of DPD-blur."""
    if len(folders) < 2 or (match := _FOLDER.fullmatch(folders[-2])) is None:
        return None
    split, view, kind = match[1].lower(), match[2].lower(), folders[-1].lower()
    tree = "/".join(folders[:-2])
    if kind == "target" and view == "c":
        return lambda stem: Place("target", stem, split, tree)
    if kind != "source":
        return None
    role, suffix = _ROLES[view], {"l": "_L", "r": "_R"}.get(view, "")

    def place(stem: str) -> Place:
        key = stem[: -len(suffix)] if suffix and stem.upper().endswith(suffix) else stem
        return Place(role, key, split, tree)

    return place


LAYOUT = Layout(
    name="dpd-blur",
    form="train_l/source/X_L.png, train_r/source/X_R.png, train_c/target/Y.png (val_*, test_*)",
    folder=folder,
    by_number=True,
)
