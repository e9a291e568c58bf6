"""The pairs of a set: millions of them as a few numbers each, one by one as ``PairFiles``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, repeat

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.names import escaped
from pipelines.dataset.record import SPLITS
from pipelines.ingest.layouts.files import PairFiles
from pipelines.ingest.layouts.gathered import TARGETS, VIEWS, Rows
from pipelines.ingest.layouts.natural import natural_order
from pipelines.listing import Computed, Listing, Texts
from pipelines.making.splits import splits_of

_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True)
class Part:
    """The pairs of one split."""

    rows: Rows
    split: str
    at: NDArray[np.int32]
    """Of each pair the row with its views."""
    target_at: NDArray[np.int32]
    """Of each pair the row with its target, -1 where it has none."""
    renamed: NDArray[np.bool_]
    """Which pairs have their split in their id: the same number is another scene elsewhere."""

    def names(self, index: int) -> tuple[str, str]:
        """Return the id and the scene of a pair, as its files are called."""
        row = int(self.at[index])
        key = self.rows.keys[row]
        if self.renamed[index]:
            key = f"{self.split}/{key}"
            return key, key
        return key, self.rows.scene(row)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Part":
        """Return some of the pairs."""
        return replace(
            self,
            at=self.at[chosen],
            target_at=self.target_at[chosen],
            renamed=self.renamed[chosen],
        )

    @property
    def has_other_names(self) -> bool:
        """Whether the id of a pair may be another text than the key that its files share."""
        return bool(np.any(self.renamed)) or any(escaped(key) != key for key in self.rows.keys)

    def in_order_of_names(self) -> "Part":
        """Return the pairs in the natural order of their ids."""
        ids = Texts(escaped(self.names(index)[0]) for index in range(len(self.at)))
        return self.where(natural_order(ids))

    def split_by_scene(self, **fractions: float) -> "dict[str | None, Part]":
        """Return the pairs by split, a scene in one."""
        scenes = (escaped(self.names(index)[1]) for index in range(len(self.at)))
        if self.rows.scenes is None:  # each is a scene
            found = splits_of(scenes, **fractions)
        else:
            numbers: dict[str, int] = {}
            scene_of = [numbers.setdefault(scene, len(numbers)) for scene in scenes]
            found = splits_of(numbers, **fractions)[scene_of]
        return {
            split: replace(self.where(found == number), split=split)
            for number, split in enumerate(SPLITS)
        }

    def pairs(self, listing: Listing, start: int, stop: int) -> Iterator[PairFiles]:
        """Yield some of the pairs."""
        views, targets = self.at[start:stop], self.target_at[start:stop]
        files = {role: self.rows.files[role][views] for role in VIEWS}
        for role in TARGETS:
            found = np.full(len(targets), -1, np.int32)
            found[targets >= 0] = self.rows.files[role][targets[targets >= 0]]
            files[role] = found
        columns = (_files(listing, places) for places in files.values())
        for index, (left, right, combined, target, second) in enumerate(
            zip(*columns, strict=True), start
        ):
            assert left is not None and right is not None
            pair_id, scene_id = self.names(index)
            yield PairFiles(
                pair_id=escaped(pair_id),
                scene_id=escaped(scene_id),
                split=self.split,
                left=left,
                right=right,
                target=target,
                combined=combined,
                target_right=second,
            )


def _files(listing: Listing, places: NDArray[np.int32]) -> Iterator[tuple[str, int] | None]:
    """Yield path and size of files by place, None for -1."""
    if not np.any(places < 0):
        return listing.files(places.tolist())
    if np.all(places < 0):
        return repeat(None, len(places))
    return (None if place < 0 else listing.file(place) for place in places.tolist())


class Pairs(Computed[PairFiles]):
    """The pairs of all splits, in order."""

    def __init__(self, listing: Listing, parts: Sequence[Part]) -> None:
        """listing: of the files that the parts name."""
        self._listing, self._parts = listing, parts
        self._ends = list(accumulate(len(part.at) for part in parts))

    def __len__(self) -> int:
        """Return how many there are."""
        return self._ends[-1] if self._ends else 0

    def some(self, start: int, stop: int) -> Iterator[PairFiles]:
        """Yield the pairs at these places."""
        before = 0
        for part, end in zip(self._parts, self._ends, strict=True):
            for first in range(max(start, before), min(stop, end), _AT_ONCE):
                last = min(first + _AT_ONCE, stop, end)
                yield from part.pairs(self._listing, first - before, last - before)
            before = end


class Marked(Computed[PairFiles]):
    """Pairs, some of them in another form: with a fault, or to be turned."""

    def __init__(self, pairs: Sequence[PairFiles], marked: Mapping[int, PairFiles]) -> None:
        """marked: by place."""
        self._pairs, self._marked = pairs, marked

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._pairs)

    def some(self, start: int, stop: int) -> Iterator[PairFiles]:
        """Yield the pairs at these places."""
        for first in range(start, stop, _AT_ONCE):
            last = min(first + _AT_ONCE, stop)
            for place, pair in enumerate(self._pairs[first:last], first):
                yield self._marked.get(place, pair)
