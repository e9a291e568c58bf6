"""The layout of DPD-blur (DPDD) and of its re-releases with one name a scene.

``{train,val,test}_{l,r,c}/source/<S>[_L|_R].png`` and ``{train,val,test}_c/target/<T>.png``.
The number of a target differs from its source's by one or two in the original set; both lists
sorted go together. The suffixes are optional, and so is the combined view.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.dataset.layouts.files import Discovery, PairFiles
from pipelines.dataset.plan import Reject
from pipelines.dataset.record import SPLITS

_FILE = re.compile(
    r"(?:.*/)?(?P<split>train|val|test)_(?P<view>[lrc])/(?P<kind>source|target)/"
    r"(?P<stem>[^/]+)\.(?:png|tif|tiff|jpg|jpeg)",
    re.IGNORECASE,
)
_MAX_NUMBER_DISTANCE = 2
_Entry = tuple[str, int]


@dataclass(slots=True)
class _SplitFiles:
    left: dict[str, _Entry] = field(default_factory=dict)
    right: dict[str, _Entry] = field(default_factory=dict)
    combined: dict[str, _Entry] = field(default_factory=dict)
    target: dict[str, _Entry] = field(default_factory=dict)


def discover(files: Mapping[str, int]) -> Discovery:
    """Find the pairs of a DPD-blur tree; files that are no part of one are left alone."""
    splits = {split: _SplitFiles() for split in SPLITS}
    for path, size in sorted(files.items()):
        match = _FILE.fullmatch(path)
        if match is None:
            continue
        found, stem = splits[match["split"].lower()], match["stem"]
        view = match["view"].lower()
        if match["kind"].lower() == "target":
            if view == "c":
                found.target[stem] = (path, size)
        elif view == "c":
            found.combined[stem] = (path, size)
        else:
            views, suffix = (found.left, "_L") if view == "l" else (found.right, "_R")
            views[_without(stem, suffix)] = (path, size)

    pairs: list[PairFiles] = []
    rejects: list[Reject] = []
    # Test and validation first: a scene that stands in two splits stays out of training.
    taken: dict[str, str] = {}
    for split in reversed(SPLITS):
        found = splits[split]
        stems = sorted(set(found.left) | set(found.right))
        targets = _match_targets(stems, found.target)
        for stem in stems:
            reason = _why_not(stem, found, targets, taken)
            if reason is None:
                taken[stem] = split
                pairs.append(
                    PairFiles(
                        pair_id=stem,
                        scene_id=stem,
                        split=split,
                        left=found.left[stem],
                        right=found.right[stem],
                        target=targets.get(stem),
                        combined=found.combined.get(stem),
                    )
                )
                continue
            path = (found.left.get(stem) or found.right[stem])[0]
            rejects.append(
                Reject(pair_id=stem, split=split, path=path, reason=reason, stage="discover")
            )
    pairs.sort(key=lambda pair: (SPLITS.index(pair.split), pair.pair_id))
    return Discovery(pairs=tuple(pairs), rejects=tuple(rejects))


def _why_not(
    stem: str, found: _SplitFiles, targets: Mapping[str, _Entry], taken: Mapping[str, str]
) -> str | None:
    if stem in taken:
        return f"the same scene stands in the {taken[stem]} split"
    if stem not in found.left:
        return "missing view: there is no left picture"
    if stem not in found.right:
        return "missing view: there is no right picture"
    if found.target and stem not in targets:
        return "missing target: no target file belongs to it beyond doubt"
    return None


def _match_targets(stems: list[str], targets: Mapping[str, _Entry]) -> dict[str, _Entry]:
    """Give each source its target: by equal name, else in order, else by the nearest number."""
    if set(stems) & set(targets):
        return {stem: targets[stem] for stem in stems if stem in targets}
    if len(stems) == len(targets):
        return {stem: targets[name] for stem, name in zip(stems, sorted(targets), strict=True)}
    # A file is missing, so the order tells nothing any more: take only what is unmistakable.
    near = {stem: [name for name in targets if _close(stem, name)] for stem in stems}
    chosen = {stem: names[0] for stem, names in near.items() if len(names) == 1}
    wanted = list(chosen.values())
    return {stem: targets[name] for stem, name in chosen.items() if wanted.count(name) == 1}


def _close(stem: str, name: str) -> bool:
    a, b = _number(stem), _number(name)
    return (
        a is not None
        and b is not None
        and a[0] == b[0]
        and (abs(a[1] - b[1]) <= _MAX_NUMBER_DISTANCE)
    )


def _number(stem: str) -> tuple[str, int] | None:
    match = re.fullmatch(r"(.*?)(\d+)", stem)
    return (match[1], int(match[2])) if match else None


def _without(stem: str, suffix: str) -> str:
    return stem[: -len(suffix)] if stem.upper().endswith(suffix) else stem
