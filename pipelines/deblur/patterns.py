"""Patterns such as ``'DCIM/*/*_L.tif'``: where they begin, and which files they name."""

import glob
import os
from pathlib import Path


def folders_before(pattern: str) -> str:
    """Return the folders that a pattern begins with, by their names, up to the last slash."""
    parts = pattern.split("/")
    known = 0
    while known < len(parts) - 1 and Path("/".join(parts[: known + 1]) or "/").is_dir():
        known += 1
    return "".join(f"{part}/" for part in parts[:known])


def files_of(pattern: str) -> list[str]:
    """Return the paths of the files that a pattern names, sorted; ``~`` is one's own folder.

    Signs in the names of its first folders are part of these names, brackets and all.
    """
    pattern = os.path.expanduser(pattern)  # noqa: PTH111 (keeps './' and '//')
    before = folders_before(pattern)
    escaped = glob.escape(before) + pattern.removeprefix(before)
    paths = glob.glob(escaped, recursive=True)  # noqa: PTH207 (absolute ones, too)
    return sorted(path for path in paths if Path(path).is_file())
