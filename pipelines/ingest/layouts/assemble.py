"""From the places of files to pairs: one set, each file once, nothing merged or lost in silence."""

import functools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pipelines.dataset.names import escaped
from pipelines.dataset.record import SPLITS
from pipelines.errors import UserError
from pipelines.ingest.layouts.files import Discovery, Layout, PairFiles, Place
from pipelines.ingest.layouts.targets import in_natural_order, match_targets, natural_key
from pipelines.making.plan import LEFT_OUT, Reject
from pipelines.making.splits import assign_splits

READ = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp")
OTHER_PICTURES = tuple(
    f".{name}"
    for name in (
        *("arw", "avif", "bmp", "cr2", "cr3", "dng", "exr", "gif", "heic", "heif"),
        *("jp2", "jxl", "nef", "pfm", "pgm", "ppm"),
    )
)

_Entry = tuple[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedFile:
    """A file and its place in a layout."""

    path: str
    size: int
    place: Place


@dataclass(slots=True)
class Seen:
    """The files of a source as one layout sees them."""

    placed: list[PlacedFile] = field(default_factory=list)
    left_out: list[Reject] = field(default_factory=list)

    @property
    def paths(self) -> set[str]:
        """Return the files that have a place."""
        return {file.path for file in self.placed}

    def has(self, *roles: str) -> bool:
        """Tell whether there is a file of each role."""
        return {file.place.role for file in self.placed}.issuperset(roles)


def place_files(files: Mapping[str, int], layouts: Sequence[Layout]) -> list[Seen]:
    """Give each file its place in each of the layouts; hidden ones and those that are not pictures
    are left out. Each name is taken apart once: there may be millions."""
    all_seen = [Seen() for _ in layouts]
    for path, size in sorted(files.items()):
        above, _, name = path.rpartition("/")
        folders, hidden = _folders(above)
        stem, suffix = _stem_and_suffix(name)
        if hidden or _hides(name):
            if suffix in READ:
                reject = _left_out(path, "hidden file (macOS or an editor made it)")
                for seen in all_seen:
                    seen.left_out.append(reject)
            continue
        for layout, seen in zip(layouts, all_seen, strict=True):
            place = layout.place(folders, stem)
            if place is None:
                continue
            if suffix in READ or suffix in OTHER_PICTURES:
                seen.placed.append(PlacedFile(path=path, size=size, place=place))
            else:
                seen.left_out.append(_left_out(path, f"no picture ({suffix or 'no suffix'})"))
    return all_seen


def without_place(files: Mapping[str, int], seen: Seen) -> list[str]:
    """Return the pictures that are neither hidden nor part of the layout, in order."""
    known = seen.paths | {reject.path for reject in seen.left_out}
    return [
        path
        for path in sorted(files)
        if path not in known
        and path.lower().endswith((*READ, *OTHER_PICTURES))
        and not is_hidden(path)
    ]


def is_hidden(path: str) -> bool:
    """Tell whether a file or a folder above it is hidden, or one that macOS adds to archives."""
    return any(map(_hides, path.split("/")))


def _hides(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


@functools.lru_cache(1024)
def _folders(above: str) -> tuple[tuple[str, ...], bool]:
    """Return the folders of a path, and whether one is hidden or what macOS adds to archives."""
    folders = tuple(part for part in above.split("/") if part not in ("", "."))
    return folders, any(map(_hides, folders))


def _stem_and_suffix(name: str) -> tuple[str, str]:
    """As pathlib has them, the suffix in small letters."""
    dot = name.rfind(".")
    return (name[:dot], name[dot:].lower()) if 0 < dot < len(name) - 1 else (name, "")


def assemble(
    seen: Seen,
    layout: Layout,
    *,
    source: str,
    strangers: Sequence[str] = (),
    offsets: Sequence[int] | None = None,
    fractions: Mapping[str, float] | None = None,
) -> Discovery:
    """Make pairs of the files that have a place.

    strangers: pictures that have none, to be listed. fractions: val_fraction and test_fraction, for
    a set without splits of its own.
    Raises UserError: more than one set, names that can be read in two ways.
    """
    _check_one_tree(seen.placed, layout, source)
    keyed: dict[str | None, dict[str, _Files]] = defaultdict(lambda: defaultdict(_Files))
    targets: dict[str | None, dict[str, _Files]] = defaultdict(lambda: defaultdict(_Files))
    for file in seen.placed:
        place = file.place
        if place.role == "other":
            continue
        is_target = place.role in ("target", "target_right")
        files = (targets if is_target else keyed)[place.split][place.key]
        files.scene = place.scene or place.key
        files.roles[place.role].append((file.path, file.size))

    homeless = [_left_out(path, f"no place in the layout {layout.name}") for path in strangers]
    found = _Found(rejects=[*seen.left_out, *homeless])
    # A set of views alone is one; a set with some targets wants one for each pair.
    wants_target = any(targets.values()) and layout.has_targets
    # Test and validation first: a scene that stands in two splits stays out of training.
    for split in (*reversed(SPLITS), None):
        sources, theirs = keyed.get(split, {}), targets.get(split, {})
        target_of, why_not = _targets_of(
            split, sources, theirs, layout, offsets, found, source=source
        )
        for key in in_natural_order(sources):
            files = sources[key]
            target = theirs.get(target_of.get(key, ""))
            reason, path = _why_not(files, target)
            if reason is None and wants_target and target is None:
                reason = why_not.get(key, "missing target: this split has none")
            found.add(key, split, files, target, reason, path)
    return found.discovery(fractions or {})


def views_of(seen: Seen) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Return left and right view of each pair, by its key, with its split and tree before it where
    the key alone is not one pair's; and why other files have no partner, by path."""
    keyed: dict[tuple[str, str, str], _Files] = defaultdict(_Files)
    for file in seen.placed:
        place = file.place
        if place.role in ("left", "right"):
            entries = keyed[place.tree, place.split or "", place.key].roles[place.role]
            entries.append((file.path, file.size))
    times = Counter(key for _, _, key in keyed)
    pairs: dict[str, tuple[str, str]] = {}
    alone: dict[str, str] = {}
    for (tree, split, key), files in sorted(keyed.items()):
        reason, path = _why_not(files, None)
        left, right = files.first("left"), files.first("right")
        if reason is not None or left is None or right is None:
            alone[path] = reason or "missing view"
        else:
            above = (tree, split) if times[key] > 1 else ()
            pairs["/".join(filter(None, (*above, key)))] = (left[0], right[0])
    return pairs, alone


@dataclass(slots=True)
class _Files:
    """The files of one pair, or of one target, by role; more than one of a role is a question."""

    roles: dict[str, list[_Entry]] = field(default_factory=lambda: defaultdict(list))
    scene: str = ""

    def first(self, role: str) -> _Entry | None:
        return self.roles[role][0] if self.roles.get(role) else None

    @property
    def any_path(self) -> str:
        order = ("left", "right", "combined", "target", "target_right")
        return next(self.roles[role][0][0] for role in order if self.roles.get(role))


@dataclass(slots=True)
class _Found:
    """Pairs and rejects as they come, and which scenes are held out already."""

    rejects: list[Reject]
    pairs: list[tuple[str | None, PairFiles]] = field(default_factory=list)
    offsets: dict[str, Counter[int]] = field(default_factory=dict)
    taken: dict[str, tuple[str, tuple[int, int]]] = field(default_factory=dict)
    """Scene to its split and the sizes of the views of one of its pairs."""

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
        left, right = files.first("left"), files.first("right")
        pair_id, scene_id = key, files.scene
        if reason is None and left is not None and right is not None:
            held = self.taken.get(scene_id)
            sizes = (left[1], right[1])
            if held is not None and held[0] != split:
                if not scene_id.isdigit() or held[1] == sizes:
                    reason = f"the same scene is in the {held[0]} split"
                else:  # numbering that restarts in each split, and other pictures
                    pair_id = scene_id = f"{split}/{key}"
        if reason is not None or left is None or right is None:
            self.reject(key, split, path, reason or "missing view")
            return
        self.taken.setdefault(scene_id, (split or "", (left[1], right[1])))
        pair = PairFiles(
            pair_id=escaped(pair_id),
            scene_id=escaped(scene_id),
            split=split or "",
            left=left,
            right=right,
            target=None if target is None else target.first("target"),
            combined=files.first("combined"),
            target_right=None if target is None else target.first("target_right"),
        )
        self.pairs.append((split, pair))

    def discovery(self, fractions: Mapping[str, float]) -> Discovery:
        homeless = {pair.scene_id for split, pair in self.pairs if split is None}
        split_of = assign_splits(sorted(homeless), **fractions) if homeless else {}
        pairs = [_in_split(pair, split or split_of[pair.scene_id]) for split, pair in self.pairs]
        pairs.sort(key=lambda pair: (SPLITS.index(pair.split), natural_key(pair.pair_id)))
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
    sources: Mapping[str, _Files],
    targets: Mapping[str, _Files],
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
    roles = [(role, files.roles.get(role, [])) for role in ("left", "right", "combined")]
    if target is not None:
        roles += [(role, target.roles.get(role, [])) for role in ("target", "target_right")]
    for role, entries in roles:
        if len(entries) > 1:
            names = " and ".join(escaped(path) for path, _ in entries)
            return f"two files are its {role} picture: {names}", entries[0][0]
        for path, _ in entries:
            suffix = PurePosixPath(path).suffix.lower()
            if suffix not in READ:
                return f"{suffix} is not read; PNG, TIFF, JPEG and WebP are", path
    if target is not None and not target.roles.get("target"):
        return "missing target: it has a right view alone", target.any_path
    missing = [role for role in ("left", "right") if not files.roles.get(role)]
    if len(missing) == 2:
        return "missing views: there is neither a left nor a right picture", files.any_path
    if missing:
        return f"missing view: there is no {missing[0]} picture", files.any_path
    return None, files.roles["left"][0][0]


def _check_one_tree(placed: Sequence[PlacedFile], layout: Layout, source: str) -> None:
    trees = Counter(file.place.tree for file in placed)
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
    homes = Counter(file.place.split or "" for file in placed if file.place.role != "other")
    if homes[""] and len(homes) > 1:
        split = next(name for name in homes if name)
        raise UserError(
            f"{source} holds {homes.total() - homes['']} pictures in folders of a split ({split}) "
            f"and {homes['']} outside of them, which may be another set: move the ones or the "
            "others away, or take what you want by patterns, e.g. left='{split}/l/*.png'"
        )


def _left_out(path: str, reason: str) -> Reject:
    return Reject(pair_id="", split="", path=path, reason=reason, stage=LEFT_OUT)
