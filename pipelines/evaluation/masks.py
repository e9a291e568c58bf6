"""Masks of what is in focus in pictures whose blur radii nobody knows: a folder of PNG files.

``DATASET/PAIR_ID.png``, or ``PAIR_ID.png`` for all datasets: white where a picture is in focus.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.images import decode_image
from pipelines.errors import UserError
from pipelines.storage import Location

_SUFFIX = ".png"


def mask_of(
    folder: Location, dataset: str, pair_id: str, shape: tuple[int, int]
) -> NDArray[np.bool_] | None:
    """Return the pixels in focus of a pair, ``shape`` (H, W); None where there is no mask of it.

    dataset: its name. Raises UserError for a mask that cannot be read or has another size.
    """
    for place in (folder.child(dataset, pair_id + _SUFFIX), folder.child(pair_id + _SUFFIX)):
        try:
            data = place.read_bytes()
        except FileNotFoundError:
            continue
        try:
            picture = decode_image(data, where=str(place))
        except ValueError as error:
            raise UserError(f"masks: {error}") from error
        if picture.shape[:2] != shape:
            height, width = shape
            raise UserError(
                f"masks: {place} is {picture.shape[0]} x {picture.shape[1]} px, its picture is "
                f"{height} x {width}"
            )
        return np.asarray(picture.mean(axis=2) > np.iinfo(picture.dtype).max / 2)
    return None


def remarks(folder: Location, pairs: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what a reader must know of the masks of a folder: those of no pair, pairs without one.

    pairs: the pair_ids to measure on by dataset, name@version. Raises UserError where no mask is
    of any of them.
    """
    names = _names(folder)
    wanted = {}
    for reference, ids in pairs.items():
        dataset = reference.partition("@")[0]
        wanted[reference] = [
            {f"{dataset}/{pair_id}{_SUFFIX}", f"{pair_id}{_SUFFIX}"} for pair_id in ids
        ]
    of_pairs = {name for ids in wanted.values() for both in ids for name in both}
    strangers = [name for name in names if name not in of_pairs]
    if len(strangers) == len(names):
        reference, (example, *_) = next(iter(pairs.items()))
        raise UserError(
            f"masks={folder}: {names[0]} is of no pair that is measured here, and so are all; name "
            f"them PAIR_ID{_SUFFIX}, such as {example}{_SUFFIX} for one of {reference}"
        )
    found = []
    if strangers:
        found.append(
            f"masks: {len(strangers)} of {len(names)} are of no pair that is measured here, such "
            f"as {strangers[0]}"
        )
    for reference, places in wanted.items():
        without = sum(both.isdisjoint(names) for both in places)
        if without:
            found.append(f"masks: {without} of {len(places)} pairs of {reference} have none")
    return found


def digest_of(folder: Location) -> str:
    """Return the sha256 (hex) of all masks of a folder. Raises UserError where there are none."""
    names = _names(folder)
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name} {folder.child(*name.split('/')).sha256()}\n".encode())
    return digest.hexdigest()


def _names(folder: Location) -> list[str]:
    names = sorted(name for name in folder.walk() if name.endswith(_SUFFIX))
    if not names:
        raise UserError(f"masks={folder}: there is no {_SUFFIX} file; name one PAIR_ID{_SUFFIX}")
    return names
