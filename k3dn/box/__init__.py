"""Weights that come with the package, and those that a user installed beside them.

``load("nano")`` gives a network; ``entry("nano").facts`` says what it was trained on and what it
gains; docs/box.md says how the box is filled.
"""

from k3dn.box.choice import best_device, choose
from k3dn.box.entry import Data, Entry, Facts, Figure
from k3dn.box.shelf import PREFIX, entries, entry, install, load, names, path_of, user_folder

__all__ = [
    "PREFIX",
    "Data",
    "Entry",
    "Facts",
    "Figure",
    "best_device",
    "choose",
    "entries",
    "entry",
    "install",
    "load",
    "names",
    "path_of",
    "user_folder",
]
