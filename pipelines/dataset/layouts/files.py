"""What every layout answers with: the files of each pair."""

from dataclasses import dataclass

from pipelines.dataset.plan import Reject


@dataclass(frozen=True, kw_only=True, slots=True)
class PairFiles:
    """The files of one pair, by path below the source folder, with their sizes in bytes."""

    pair_id: str
    scene_id: str
    split: str
    left: tuple[str, int]
    right: tuple[str, int]
    target: tuple[str, int] | None = None
    combined: tuple[str, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Discovery:
    """What a layout found."""

    pairs: tuple[PairFiles, ...]
    rejects: tuple[Reject, ...]
