"""Which split a scene or a photograph belongs to: a pure function of its name.

The seed has no part in it, and neither have the other names where that can be avoided: what was
held out from one version is held out from the next one too, though scenes are added.
"""

import hashlib
from collections.abc import Sequence

from pipelines.dataset.record import SPLITS

_SCALE = float(1 << 64)


def assign_splits(
    names: Sequence[str], *, val_fraction: float, test_fraction: float
) -> dict[str, str]:
    """Return name -> split; shares come out near the fractions, by a hash of each name.

    Where there are names enough, no split with a share above 0 stays empty, and one of ten names
    or more gets at least two, so that a held-out split does not show one photograph alone.
    """
    places = {name: place_of(name) for name in names}
    splits = {
        name: "test"
        if place < test_fraction
        else "val"
        if place < test_fraction + val_fraction
        else "train"
        for name, place in places.items()
    }
    shares = {
        "test": test_fraction,
        "val": val_fraction,
        "train": 1.0 - val_fraction - test_fraction,
    }
    wanted = [split for split in ("train", "test", "val") if shares[split] > 1e-9]
    if len(splits) < len(wanted):
        wanted = wanted[: len(splits)]
    least = 2 if len(splits) >= 10 else 1
    for split in wanted:
        while sum(s == split for s in splits.values()) < least:
            counts = {s: sum(x == s for x in splits.values()) for s in SPLITS}
            donor = max(SPLITS, key=lambda s: counts[s])
            moved = min((n for n in splits if splits[n] == donor), key=lambda n: places[n])
            splits[moved] = split
    return splits


def place_of(name: str) -> float:
    """Return a number in [0, 1) that follows from the name alone."""
    data = name.encode(errors="surrogateescape")  # a file's name need not be UTF-8
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") / _SCALE
