"""From the places of files to pairs: one set, each file once, nothing merged or lost in silence.

There may be tens of millions of files: what most pairs are, a file for each role, is told for all
at once; the others are looked at one by one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.dataset.names import escaped
from pipelines.dataset.record import SPLITS
from pipelines.errors import UserError
from pipelines.ingest.layouts.files import Discovery, Layout, Place
from pipelines.ingest.layouts.gathered import TARGETS, VIEWS, Gathering, Rows
from pipelines.ingest.layouts.natural import natural_order
from pipelines.ingest.layouts.pairs import Pairs, Part
from pipelines.ingest.layouts.placing import READ, left_out, suffix_of
from pipelines.ingest.layouts.targets import Matching, match_targets
from pipelines.ingest.layouts.unlike_views import check_views_share_names
from pipelines.listing import Listing
from pipelines.making.plan import Reject

_HELD_OUT = SPLITS[1:]


def assemble(
    files: Iterable[tuple[int, str, Place | Reject | None]],
    listing: Listing,
    layout: Layout,
    *,
    source: str,
    offsets: Sequence[int] | None = None,
    fractions: Mapping[str, float] | None = None,
) -> Discovery:
    """Make pairs of the files that have a place.

    files: of the listing in order, with their places, as ``placed`` has them. fractions:
    val_fraction and test_fraction, for a set without splits of its own.
    Raises UserError: more than one set, names that can be read in two ways.
    """
    gathered: dict[str | None, Gathering] = {}
    trees, homes = Counter[str](), Counter[str]()
    rejects: list[Reject] = []
    strangers: list[str] = []
    for number, path, place in files:
        if place is None:
            strangers.append(path)
            continue
        if isinstance(place, Reject):
            rejects.append(place)
            continue
        trees[place.tree] += 1
        if place.role == "other":
            continue
        homes[place.split or ""] += 1
        if place.split not in gathered:
            gathered[place.split] = Gathering()
        gathered[place.split].add(number, path, place)
    _check_one_tree(trees, homes, layout, source)

    rejects += [left_out(path, f"no place in the layout {layout.name}") for path in strangers]
    # A set of views alone is one; a set with some targets wants one for each pair.
    wants_target = layout.has_targets and any(g.has_targets for g in gathered.values())
    found = _Found(listing=listing, rejects=rejects, wants_target=wants_target)
    # Test and validation first: a scene that stands in two splits stays out of training.
    every: list[Rows] = []
    for split in (*reversed(SPLITS), None):
        if (theirs := gathered.pop(split, None)) is None:
            continue
        rows = theirs.rows()
        every.append(rows)
        sources, targets = rows.holding(VIEWS), rows.holding(TARGETS)
        where = f"{source}, {split}" if split else source
        matching = _matched(rows, sources, targets, layout, offsets, where=where)
        found.add(split, rows, sources, targets, matching)
    check_views_share_names(every, listing, source)
    return found.discovery(fractions or {})


def views_of(
    files: Iterable[tuple[str, Place]],
) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Return left and right view of each pair, by its key, with its split and tree before it where
    the key alone is not one pair's; and why other files have no partner, by path."""
    keyed: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for path, place in files:
        if place.role in ("left", "right"):
            names = place.tree, place.split or "", place.key
            keyed.setdefault(names, {}).setdefault(place.role, []).append(path)
    times = Counter(key for _, _, key in keyed)
    pairs: dict[str, tuple[str, str]] = {}
    alone: dict[str, str] = {}
    for (tree, split, key), group in sorted(keyed.items(), key=lambda item: item[0]):
        reason, path = _why_not({role: group[role] for role in VIEWS if role in group})
        if reason is not None:
            alone[path] = reason
        else:
            above = (tree, split) if times[key] > 1 else ()
            named = "/".join(filter(None, (*above, key)))
            pairs[named] = (group["left"][0], group["right"][0])
    return pairs, alone


@dataclass(slots=True)
class _Found:
    """Pairs and rejects as they come, and which scenes are held out already."""

    listing: Listing
    rejects: list[Reject]
    wants_target: bool
    parts: dict[str | None, Part] = field(default_factory=dict)
    """By split, in the natural order of their keys."""
    offsets: dict[str, Counter[int]] = field(default_factory=dict)
    held_out: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """The scenes of test and validation, each with its split and the views of one of its pairs."""

    def reject(self, key: str, split: str | None, path: str, reason: str) -> None:
        self.rejects.append(
            Reject(pair_id=key, split=split or "", path=path, reason=reason, stage="discover")
        )

    def add(
        self,
        split: str | None,
        rows: Rows,
        sources: NDArray[np.int32],
        targets: NDArray[np.int32],
        matching: Matching,
    ) -> None:
        """Take in a split. sources, targets: the rows that have them, as they were matched."""
        for target in matching.alone:
            row = int(targets[target])
            file = next(file for role in TARGETS for file in rows.all_files(role, row))
            why = "missing views: no left or right picture belongs to it"
            self.reject(rows.keys[row], split, self.listing.paths[file], why)
        if matching.offsets:
            self.offsets[split or "all"] = matching.offsets
        order = natural_order(rows.names(sources))
        at = matching.target_of[order]
        there = at >= 0
        part = Part(
            rows,
            split or "",
            at=sources[order],
            target_at=np.full(len(at), -1, np.int32),
            renamed=np.zeros(len(at), np.bool_),
        )
        part.target_at[there] = targets[at[there]]
        kept = self._are_whole(part)
        # The others one by one, and all where a scene may be held out by an earlier split.
        for index in range(len(kept)) if self.held_out else np.flatnonzero(~kept).tolist():
            row = int(part.at[index])
            if kept[index]:
                reason, path = self._held_out(part, index), ""
                if reason is None:
                    continue
                path = self.listing.paths[rows.files["left"][row]]
            else:
                reason, path = _why_not(self._paths(part, index))
                if reason is None:  # it lacks its target alone
                    missing = "missing target: this split has none"
                    reason = matching.why_not.get(int(order[index]), missing)
            kept[index] = False
            self.reject(rows.keys[row], split, path, reason)
        self.parts[split] = part = part.where(kept)
        if split in _HELD_OUT:
            for index, row in enumerate(part.at.tolist()):
                views = int(rows.files["left"][row]), int(rows.files["right"][row])
                self.held_out.setdefault(part.names(index)[1], (split, *views))

    def _are_whole(self, part: Part) -> NDArray[np.bool_]:
        """Tell which rows, with their targets, make a pair without a question."""
        files, odd = part.rows.files, part.rows.odd
        whole = (files["left"][part.at] >= 0) & (files["right"][part.at] >= 0)
        for role in VIEWS:
            whole &= ~odd[role][part.at]
        has = part.target_at >= 0
        if not self.wants_target and not np.any(has):
            return whole
        for role in TARGETS:
            whole &= ~(has & odd[role][part.target_at])
        whole &= ~has | (files["target"][part.target_at] >= 0)
        return whole & has if self.wants_target else whole

    def _held_out(self, part: Part, index: int) -> str | None:
        """Return why a pair is left out for its scene; where numbering restarts in each split (a
        mere number, and other pictures) it is another scene, and gets another name."""
        _, scene = part.names(index)
        held = self.held_out.get(scene)
        if held is None or held[0] == part.split:
            return None
        views = [part.rows.files[role][part.at[index]] for role in ("left", "right")]
        sizes = self.listing.sizes
        if scene.isdigit() and [sizes[n] for n in views] != [sizes[n] for n in held[1:]]:
            part.renamed[index] = True
            return None
        return f"the same scene is in the {held[0]} split"

    def _paths(self, part: Part, index: int) -> dict[str, list[str]]:
        """Return the files of a pair by role."""
        at = dict.fromkeys(VIEWS, int(part.at[index]))
        at |= dict.fromkeys(TARGETS, int(part.target_at[index]))
        found = {role: part.rows.all_files(role, row) for role, row in at.items() if row >= 0}
        paths = self.listing.paths
        return {role: [paths[file] for file in files] for role, files in found.items() if files}

    def discovery(self, fractions: Mapping[str, float]) -> Discovery:
        """Return what was found; a set without splits is split by its scenes."""
        if (homeless := self.parts.pop(None, None)) is not None:
            self.parts |= homeless.split_by_scene(**fractions)
        parts = [self.parts[split] for split in SPLITS if split in self.parts]
        if any(part.has_other_names for part in parts):
            parts = [part.in_order_of_names() for part in parts]
        pairs = Pairs(self.listing, parts)
        return Discovery(pairs=pairs, rejects=tuple(self.rejects), offsets=dict(self.offsets))


def _matched(
    rows: Rows,
    sources: NDArray[np.int32],
    targets: NDArray[np.int32],
    layout: Layout,
    offsets: Sequence[int] | None,
    *,
    where: str,
) -> Matching:
    """Match the rows that have views with those that have targets."""
    number = np.full(len(rows.keys), -1, np.int32)
    number[targets] = np.arange(len(targets))
    return match_targets(
        rows.names(sources),
        rows.names(targets),
        number[sources],
        where=where,
        offsets=offsets if layout.by_number else (0,),
    )


def _why_not(files: Mapping[str, Sequence[str]]) -> tuple[str | None, str]:
    """Return why these files, by role, make no pair, or None, and the path to name."""
    for role, paths in files.items():
        if len(paths) > 1:
            names = " and ".join(map(escaped, paths))
            return f"two files are its {role} picture: {names}", paths[0]
        suffix = suffix_of(paths[0])
        if suffix not in READ:
            return f"{suffix} is not read; PNG, TIFF, JPEG and WebP are", paths[0]
    first = next(iter(files.values()))[0]
    if "target_right" in files and "target" not in files:
        return "missing target: it has a right view alone", files["target_right"][0]
    if "left" in files and "right" in files:
        return None, first
    if "left" not in files and "right" not in files:
        return "missing views: there is neither a left nor a right picture", first
    return f"missing view: there is no {'right' if 'left' in files else 'left'} picture", first


def _check_one_tree(trees: Counter[str], homes: Counter[str], layout: Layout, source: str) -> None:
    """Raise UserError for more than one set. trees: pictures by tree; homes: by split, '' where
    there is none."""
    if len(trees) > 1:
        named = [
            f"{escaped(tree) or '.'} ({count} pictures)" for tree, count in trees.most_common()
        ]
        below = next(escaped(tree) for tree, _ in trees.most_common() if tree)
        raise UserError(
            f"{source} holds {len(trees)} sets in the layout {layout.name}: {', '.join(named[:4])}"
            f"{' ...' if len(named) > 4 else ''}; "
            + (
                f"take one by patterns, e.g. left='{below}/...' right='{below}/...'"
                if "{split}" in below
                else f"name one, e.g. source={source}/{below}"
            )
        )
    if homes[""] and len(homes) > 1:
        split = next(name for name in homes if name)
        raise UserError(
            f"{source} holds {homes.total() - homes['']} pictures in folders of a split ({split}) "
            f"and {homes['']} outside of them, which may be another set: move the ones or the "
            "others away, or take what you want by patterns, e.g. left='{split}/l/*.png'"
        )
