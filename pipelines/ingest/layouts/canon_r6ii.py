"""The flats of Canon's R6 Mark II: ``flat/<n>/{left,right,target_left,target_right}.png``.

The target is the mean of its two views (f/20), or one picture: ``target``, ``sharp`` or ``gt``.
``box`` and ``casual`` have a depth map and no sharp target.
"""

from pipelines.ingest.layouts.files import Layout, Place, Role

_ROLES: dict[str, Role] = {
    "left": "left",
    "right": "right",
    **dict.fromkeys(("target_left", "target", "sharp", "gt"), "target"),
    "target_right": "target_right",
    "depth": "other",
}


def place(folders: tuple[str, ...], stem: str) -> Place | None:
    """Return the place of a file."""
    role = _ROLES.get(stem)
    if role is None or not folders:
        return None
    groups = [index for index, folder in enumerate(folders) if folder in ("flat", "box", "casual")]
    start = groups[-1] if groups else len(folders) - 1
    return Place(role=role, key="/".join(folders[start:]), tree="/".join(folders[:start]))


LAYOUT = Layout(
    name="canon-r6ii",
    form="flat/0600/left.png, right.png, target_left.png, target_right.png",
    place=place,
)
