"""Sets in one folder that tell files of a pair apart by a suffix.

NTIRE 2021: ``0500_l.png, 0500_r.png, 0500_g.png``. DPD-disp (ICCP 2020): ``001_L.jpg``,
``001_R.jpg``, ``001_B.jpg`` (combined) and ``001_D.TIF``, a disparity map; it has no sharp target.
"""

from collections.abc import Callable, Mapping

from pipelines.ingest.layouts.files import SPLIT_FOLDERS, Layout, Place, Role, Stems


def by_suffix(suffixes: Mapping[str, Role]) -> Callable[[tuple[str, ...]], Stems]:
    """Return the layout's function of a folder: its files are placed by the end of their names."""

    def folder(folders: tuple[str, ...]) -> Stems:
        split = SPLIT_FOLDERS.get(folders[-1].lower()) if folders else None
        tree = "/".join(folders[:-1] if split else folders)

        def place(stem: str) -> Place | None:
            key, line, suffix = stem.rpartition("_")
            role = suffixes.get(line + suffix)
            return None if role is None or not key else Place(role, key, split, tree)

        return place

    return folder


NTIRE = Layout(
    name="ntire",
    form="0500_l.png, 0500_r.png, 0500_g.png in one folder",
    folder=by_suffix({"_l": "left", "_r": "right", "_g": "target", "_c": "combined"}),
)
DPD_DISP = Layout(
    name="dpd-disp",
    form="001_L.jpg, 001_R.jpg, 001_B.jpg, 001_D.TIF in one folder",
    folder=by_suffix({"_L": "left", "_R": "right", "_B": "combined", "_D": "other"}),
    has_targets=False,
)
