"""The flats of Canon's R6 Mark II: ``flat/<n>/{left,right,target_left,target_right}.png``.

The target is the mean of its two views (f/20), or one picture: ``target``, ``sharp`` or ``gt``.
``box`` and ``casual`` have a depth map and no sharp target.
"""

from pipelines.ingest.layouts.files import Layout, Place, Role, Stems

_ROLES: dict[str, Role] = {
    "left": "left",
    "right": "right",
    **dict.fromkeys(("target_left", "target", "sharp", "gt"), "target"),
    "target_right": "target_right",
    "depth": "other",
}


def folder(folders: tuple[str, ...]) -> Stems | None:
    """Return what places the files of a folder: they are one pair."""
    if not folders:
        return None
    groups = [index for index, folder in enumerate(folders) if folder in ("flat", "box", "casual")]
    start = groups[-1] if groups else len(folders) - 1
    key, tree = "/".join(folders[start:]), "/".join(folders[:start])

    def place(stem: str) -> Place | None:
        role = _ROLES.get(stem)
        return None if role is None else Place(role, key, None, tree)

    return place


LAYOUT = Layout(
    name="canon-r6ii",
    form="flat/0600/left.png, right.png, target_left.png, target_right.png",
    folder=folder,
)
