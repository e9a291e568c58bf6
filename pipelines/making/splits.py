"""Which split a scene or a photograph belongs to: a pure function of its name.

The seed has no part in it, and neither have the other names where that can be avoided: what was
held out from one version is held out from the next one too, though scenes are added.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.record import SPLITS

_SCALE = float(1 << 64)
_TRAIN, _VAL, _TEST = range(len(SPLITS))


def assign_splits(
    names: Sequence[str], *, val_fraction: float, test_fraction: float
) -> dict[str, str]:
    """Return name -> split; shares come out near the fractions, by a hash of each name.

    Where there are names enough, no split with a share above 0 stays empty, and one of ten names
    or more gets at least two, so that a held-out split does not show one photograph alone.
    """
    distinct = list(dict.fromkeys(names))
    found = splits_of(distinct, val_fraction=val_fraction, test_fraction=test_fraction)
    return {name: SPLITS[number] for name, number in zip(distinct, found, strict=True)}


def splits_of(
    names: Iterable[str], *, val_fraction: float, test_fraction: float
) -> NDArray[np.int8]:
    """Return what ``assign_splits`` does as places in SPLITS, of names that differ."""
    places = np.fromiter((place_of(name) for name in names), np.float64)
    splits = np.full(len(places), _TRAIN, np.int8)
    splits[places < test_fraction + val_fraction] = _VAL
    splits[places < test_fraction] = _TEST
    shares = {_TRAIN: 1.0 - val_fraction - test_fraction, _TEST: test_fraction, _VAL: val_fraction}
    wanted = [split for split, share in shares.items() if share > 1e-9]
    least = 2 if len(splits) >= 10 else 1
    for split in wanted[: len(splits)]:
        while (counts := np.bincount(splits, minlength=len(SPLITS)))[split] < least:
            donors = np.flatnonzero(splits == np.argmax(counts))
            splits[donors[np.argmin(places[donors])]] = split
    return splits


def place_of(name: str) -> float:
    """Return a number in [0, 1) that follows from the name alone."""
    data = name.encode(errors="surrogateescape")  # a file's name need not be UTF-8
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") / _SCALE
