"""Which pairs of two splits have hashes that hardly differ: in threads here, or as tasks of a
cluster. All are compared with all: a second of a processor for some 10^9 of them."""

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.content.likeness import mirrored_hash
from pipelines.progress import progress
from pipelines.ray_tasks import each_on_ray

SAME_BITS = 12
"""Most bits of 64 in which hashes of one scene differ, where the signatures are there to say so."""
SAME_BITS_ALONE = 6
"""The same where there are none."""
MIRRORED = {
    "": (False, False),
    "mirrored": (True, False),
    "upside down": (False, True),
    "turned by half": (True, True),
}
"""How a picture can stand twice: left and right exchanged, top and bottom."""
_COMPARED_BY_A_TASK = 1 << 34
_SOON = 1 << 31
"""So few comparisons are made at once, and nothing is said of them."""

Places = list[tuple[int, int]]
_Part = tuple[str, str, int, int]
_Found = tuple[_Part, dict[str, Places]]


@dataclass(frozen=True, slots=True)
class Hashes:
    """The perceptual hashes of a split."""

    values: NDArray[np.uint64]
    signed: NDArray[np.bool_]
    """Of which pairs there are signatures, which can say more."""


def same_hashes(
    splits: Mapping[str, Hashes], order: Sequence[tuple[str, str]], *, ray_address: str | None
) -> dict[tuple[str, str, str], Places]:
    """Return the indices of pairs whose hashes differ in few bits, by both splits and how the first
    picture is mirrored, in order.

    order: which splits are compared. ray_address: where many are compared they are by the nodes of
    a Ray cluster, if it or RAY_ADDRESS names one; none is started for it.
    """
    parts: list[_Part] = []
    for one, other in order:
        many = len(splits[one].values)
        rows = max(1, _COMPARED_BY_A_TASK // max(1, len(MIRRORED) * len(splits[other].values)))
        parts += [(one, other, n, min(n + rows, many)) for n in range(0, many, rows)]
    found: dict[tuple[str, str, str], Places] = {}
    with closing(_compared(splits, parts, ray_address)) as stream:
        together = dict(stream)
    for part in parts:
        for how, places in together[part].items():
            found.setdefault((*part[:2], how), []).extend(places)
    return found


def _compared(
    splits: Mapping[str, Hashes], parts: Sequence[_Part], ray_address: str | None
) -> Generator[_Found, None, None]:
    def compare(part: _Part) -> _Found:
        one, other, start, stop = part
        return part, _near(splits[one], splits[other], start, stop)

    rows = [(stop - start) * len(splits[other].values) for _, other, start, stop in parts]
    if len(MIRRORED) * sum(rows) <= _SOON:
        yield from map(compare, parts)
        return
    with closing(_beside_each_other(compare, parts, ray_address)) as stream:
        label = "comparing pairs of splits"
        yield from progress(stream, total=len(parts), label=label, unit="parts")


def _beside_each_other(
    compare: Callable[[_Part], _Found], parts: Sequence[_Part], ray_address: str | None
) -> Generator[_Found, None, None]:
    if ray_address or os.environ.get("RAY_ADDRESS"):
        from pipelines.cluster import ray_cluster

        with ray_cluster(ray_address), closing(each_on_ray(parts, compare)) as stream:
            yield from stream
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(compare, parts)


def _near(one: Hashes, other: Hashes, start: int, stop: int) -> dict[str, Places]:
    """Compare some of one split with all of the other."""
    found: dict[str, Places] = {}
    for how, (across, down) in MIRRORED.items():
        turned = mirrored_hash(one.values[start:stop], across=across, down=down)
        places = found[how] = []
        for index, value in enumerate(turned, start):
            apart = np.bitwise_count(other.values ^ value)
            for place in np.flatnonzero(apart <= SAME_BITS):
                both = one.signed[index] and other.signed[place]
                if both or apart[place] <= SAME_BITS_ALONE:
                    places.append((index, int(place)))
    return found
