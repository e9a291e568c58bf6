"""What a source of scenes is to the step ``synth``: what it holds, and a reader for the workers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from pipelines.dataset.record import Source
from pipelines.making.plan import Reject
from pipelines.making.shards import BadInput
from pipelines.storage import Location
from synth.scene import Scene
from synth.sources.rgbd import BadDepth

Files = tuple[tuple[str, str, int], ...]
"""(role, path below the source, bytes) of each file of a picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One picture with depth that a source holds."""

    picture_id: str
    """Unique in the source."""
    scene_id: str
    """Pictures of one room, street or table have the same, and never straddle splits."""
    files: Files = ()
    """Image and depth; empty for the sources that have no files for each picture."""
    number: int = 0
    """By which a preset knows the scene: NYU's image, SYNTHIA's sequence, from 1."""
    frame: str = ""
    """SYNTHIA's name of the frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneUnit:
    """One synthetic pair to make."""

    pair_id: str
    scene_id: str
    split: str
    picture: Picture
    """What it is made from."""
    textures: tuple[str, ...] = ()
    """Photographs for the surfaces of a scene that is made, all of this pair's split."""
    part: int | None = None
    """Which part of a published preset it belongs to."""

    @property
    def path(self) -> str:
        """What a table of rejects calls its input."""
        return self.picture.files[0][1] if self.picture.files else self.picture.picture_id


class SceneReader(Protocol):
    """Reads or makes scenes. Picklable: it travels to the workers."""

    def read(self, unit: SceneUnit) -> tuple[Scene, tuple[Source, ...]]:
        """Return the scene of a unit, a pure function of it and its files. Raises BadInput."""
        ...

    def sources(self, unit: SceneUnit) -> tuple[Source, ...]:
        """Return the files of a unit as they are now, without decoding them."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenes:
    """What a source holds."""

    kind: str
    """places, procedural, motorcycle, folder, nyu or synthia-sf."""
    reader: SceneReader
    pictures: Sequence[Picture]
    rejects: Sequence[Reject] = ()
    """What cannot be a picture, with the reason."""
    textures: Sequence[str] = ()
    """Names of the photographs for scenes that are made."""
    locations: Sequence[Location] = field(default=())
    """Where the files lie."""


@contextmanager
def decoding(unit: SceneUnit, sources: tuple[Source, ...]) -> Iterator[None]:
    """Turn what `synth` says of unusable files into BadInput, which names the one at fault."""
    try:
        yield
    except ValueError as error:
        paths = {role: path for role, path, _ in unit.picture.files}
        path = paths.get("depth", unit.path) if isinstance(error, BadDepth) else unit.path
        raise BadInput(str(error), path=path, stage="decode", sources=sources) from error
