"""Which weights are taken where nobody names any."""

import torch

from k3dn.box.shelf import FOLDER

SMALL_PX = 1_000_000
"""A processor takes ``tiny`` for pictures up to so many px: some seconds, three times nano's."""


def choose(height: int, width: int, device: torch.device) -> str:
    """The name of the package's weights for a picture of ``height`` x ``width`` px on a device.

    ``tiny`` on a GPU and for small pictures, ``nano`` otherwise, and everywhere while the package
    holds no ``tiny``. What users installed is taken where they name it.
    """
    strong = device.type != "cpu" or height * width <= SMALL_PX
    return "tiny" if strong and (FOLDER / "tiny.json").exists() else "nano"


def best_device() -> torch.device:
    """The device that pictures are restored on where nobody names one: a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
