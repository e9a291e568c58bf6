"""From the places of files to pairs: one set, each file once, nothing merged or lost in silence.

Millions of pairs are made at once, so little is kept of each: its files in one record, which is let
go when the pair is made.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.dataset.names import escaped
from pipelines.dataset.record import SPLITS
from pipelines.errors import UserError
from pipelines.ingest.layouts.files import Discovery, Layout, PairFiles, Place, Role
from pipelines.ingest.layouts.placing import READ, left_out, suffix_of
from pipelines.ingest.layouts.targets import in_natural_order, match_targets, natural_key
from pipelines.making.plan import Reject
from pipelines.making.splits import assign_splits

_Entry = tuple[str, int]
_TARGETS = ("target", "target_right")
_HELD_OUT = SPLITS[1:]


@dataclass(slots=True)
class _Files:
    """The files of one pair, or of one target, by role: paths with their sizes in bytes."""

    scene: str = ""
    left: _Entry | None = None
    right: _Entry | None = None
    combined: _Entry | None = None
    target: _Entry | None = None
    target_right: _Entry | None = None
    more: dict[str, list[str]] | None = None
    """Paths beyond the first of a role, which are a question."""

    def take(self, role: Role, entry: _Entry) -> None:
        if getattr(self, role) is None:
            setattr(self, role, entry)
        else:
            self.more = self.more or {}
            self.more.setdefault(role, []).append(entry[0])

    @property
    def any_path(self) -> str:
        entries = (self.left, self.right, self.combined, self.target, self.target_right)
        return next(entry[0] for entry in entries if entry is not None)


_Keyed = dict[str, _Files]


def assemble(
    files: Iterable[tuple[str, Place | Reject | None]],
    sizes: Mapping[str, int],
    layout: Layout,
    *,
    source: str,
    offsets: Sequence[int] | None = None,
    fractions: Mapping[str, float] | None = None,
) -> Discovery:
    """Make pairs of the files that have a place.

    files: paths in order, with their places, as ``placed`` has them. sizes: of all, in bytes.
    fractions: val_fraction and test_fraction, for a set without splits of its own.
    Raises UserError: more than one set, names that can be read in two ways.
    """
    keyed: dict[str | None, _Keyed] = {}
    targets: dict[str | None, _Keyed] = {}
    trees, homes = Counter[str](), Counter[str]()
    rejects: list[Reject] = []
    strangers: list[str] = []
    for path, place in files:
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
        groups = (targets if place.role in _TARGETS else keyed).setdefault(place.split, {})
        group = groups.get(place.key)
        if group is None:
            group = groups[place.key] = _Files()
        group.scene = place.scene or place.key
        group.take(place.role, (path, sizes[path]))
    _check_one_tree(trees, homes, layout, source)

    rejects += [left_out(path, f"no place in the layout {layout.name}") for path in strangers]
    found = _Found(rejects=rejects)
    # A set of views alone is one; a set with some targets wants one for each pair.
    wants_target = any(targets.values()) and layout.has_targets
    # Test and validation first: a scene that stands in two splits stays out of training.
    for split in (*reversed(SPLITS), None):
        sources, theirs = keyed.pop(split, {}), targets.pop(split, {})
        target_of, why_not = _targets_of(
            split, sources, theirs, layout, offsets, found, source=source
        )
        for key in in_natural_order(sources):
            group = sources.pop(key)
            target = theirs.pop(target_of.get(key, ""), None)
            reason, path = _why_not(group, target)
            if reason is None and wants_target and target is None:
                reason = why_not.get(key, "missing target: this split has none")
            found.add(key, split, group, target, reason, path)
    return found.discovery(fractions or {})


def views_of(
    files: Iterable[tuple[str, Place]],
) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Return left and right view of each pair, by its key, with its split and tree before it where
    the key alone is not one pair's; and why other files have no partner, by path."""
    keyed: dict[tuple[str, str, str], _Files] = {}
    for path, place in files:
        if place.role in ("left", "right"):
            names = place.tree, place.split or "", place.key
            keyed.setdefault(names, _Files()).take(place.role, (path, 0))
    times = Counter(key for _, _, key in keyed)
    pairs: dict[str, tuple[str, str]] = {}
    alone: dict[str, str] = {}
    for (tree, split, key), group in sorted(keyed.items(), key=lambda item: item[0]):
        reason, path = _why_not(group, None)
        if reason is not None or group.left is None or group.right is None:
            alone[path] = reason or "missing view"
        else:
            above = (tree, split) if times[key] > 1 else ()
            named = "/".join(filter(None, (*above, key)))
            pairs[named] = (group.left[0], group.right[0])
    return pairs, alone


@dataclass(slots=True)
class _Found:
    """Pairs and rejects as they come, and which scenes are held out already."""

    rejects: list[Reject]
    pairs: dict[str | None, list[PairFiles]] = field(default_factory=dict)
    """By split, in the natural order of their keys."""
    renamed: bool = False
    """Whether a pair has another id than its key."""
    offsets: dict[str, Counter[int]] = field(default_factory=dict)
    held_out: dict[str, PairFiles] = field(default_factory=dict)
    """The scenes of test and validation, each with one of its pairs."""

    def reject(self, key: str, split: str | None, path: str, reason: str) -> None:
        self.rejects.append(
            Reject(pair_id=key, split=split or "", path=path, reason=reason, stage="discover")
        )

    def add(
        self,
        key: str,
        split: str | None,
        files: _Files,
        target: _Files | None,
        reason: str | None,
        path: str,
    ) -> None:
        left, right = files.left, files.right
        pair_id, scene_id = key, files.scene
        if reason is None and left is not None and right is not None:
            held = self.held_out.get(scene_id)
            if held is not None and held.split != split:
                same_sizes = (held.left[1], held.right[1]) == (left[1], right[1])
                if not scene_id.isdigit() or same_sizes:
                    reason = f"the same scene is in the {held.split} split"
                else:  # numbering that restarts in each split, and other pictures
                    pair_id = scene_id = f"{split}/{key}"
        if reason is not None or left is None or right is None:
            self.reject(key, split, path, reason or "missing view")
            return
        pair = PairFiles(
            pair_id=escaped(pair_id),
            scene_id=escaped(scene_id),
            split=split or "",
            left=left,
            right=right,
            target=None if target is None else target.target,
            combined=files.combined,
            target_right=None if target is None else target.target_right,
        )
        self.renamed = self.renamed or pair.pair_id != key
        if split in _HELD_OUT:
            self.held_out.setdefault(scene_id, pair)
        self.pairs.setdefault(split, []).append(pair)

    def discovery(self, fractions: Mapping[str, float]) -> Discovery:
        homeless = self.pairs.pop(None, [])
        if homeless:
            split_of = assign_splits(sorted({pair.scene_id for pair in homeless}), **fractions)
            for pair in homeless:
                split = split_of[pair.scene_id]
                self.pairs.setdefault(split, []).append(_in_split(pair, split))
        pairs: list[PairFiles] = []
        for split in SPLITS:
            theirs = self.pairs.pop(split, [])
            if self.renamed:
                theirs.sort(key=lambda pair: natural_key(pair.pair_id))
            pairs += theirs
        return Discovery(
            pairs=tuple(pairs), rejects=tuple(self.rejects), offsets=dict(self.offsets)
        )


def _in_split(pair: PairFiles, split: str) -> PairFiles:
    return PairFiles(
        pair_id=pair.pair_id,
        scene_id=pair.scene_id,
        split=split,
        left=pair.left,
        right=pair.right,
        target=pair.target,
        combined=pair.combined,
        target_right=pair.target_right,
    )


def _targets_of(
    split: str | None,
    sources: _Keyed,
    targets: _Keyed,
    layout: Layout,
    offsets: Sequence[int] | None,
    found: _Found,
    *,
    source: str,
) -> tuple[dict[str, str], dict[str, str]]:
    """Return source key to target key, and to the reason where it has none; reject lone targets."""
    matching = match_targets(
        sources,
        targets,
        where=f"{source}, {split}" if split else source,
        offsets=offsets if layout.by_number else (0,),
    )
    for key in matching.alone:
        path = targets[key].any_path
        found.reject(key, split, path, "missing views: no left or right picture belongs to it")
    if matching.offsets:
        found.offsets[split or "all"] = matching.offsets
    return matching.target_of, matching.why_not


def _why_not(files: _Files, target: _Files | None) -> tuple[str | None, str]:
    """Return why these files make no pair, or None, and the path to name."""
    entries = [("left", files.left), ("right", files.right), ("combined", files.combined)]
    more = files.more
    if target is not None:
        entries += [("target", target.target), ("target_right", target.target_right)]
        more = (more or {}) | target.more if target.more else more
    for role, entry in entries:
        if entry is None:
            continue
        path = entry[0]
        if more and role in more:
            names = " and ".join(map(escaped, (path, *more[role])))
            return f"two files are its {role} picture: {names}", path
        suffix = suffix_of(path)
        if suffix not in READ:
            return f"{suffix} is not read; PNG, TIFF, JPEG and WebP are", path
    if target is not None and target.target is None:
        return "missing target: it has a right view alone", target.any_path
    if files.left is None or files.right is None:
        if files.left is files.right:
            return "missing views: there is neither a left nor a right picture", files.any_path
        missing = "left" if files.left is None else "right"
        return f"missing view: there is no {missing} picture", files.any_path
    return None, files.left[0]


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
