"""NYU Depth v2's labelled pictures: one file, opened once in each process, read by the picture."""

import io
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from pipelines.dataset.record import Source
from pipelines.errors import UserError
from pipelines.making.plan import Reject
from pipelines.making.shards import fault_of_input
from pipelines.storage import Location
from pipelines.synthesis.scene_sources.source import Picture, Scenes, SceneUnit, decoding
from synth.scene import Scene
from synth.sources.nyu import NyuFile

NYU = "nyu"
_READ_AHEAD = 1 << 18  # bytes: small beside a picture, large beside the names of rooms


@dataclass(kw_only=True)
class NyuReader:
    """Reads pictures of the file; keeps it open, but travels without it."""

    file: Location
    _opened: NyuFile | None = field(default=None, repr=False)

    def read(self, unit: SceneUnit) -> tuple[Scene, tuple[Source, ...]]:
        """See SceneReader."""
        sources = self.sources(unit)
        with decoding(unit, sources):
            scene = self.opened().read(unit.picture.number)
        return scene, sources

    def sources(self, unit: SceneUnit) -> tuple[Source, ...]:
        """Return the picture and its depth, with the checksum of what the file holds of them."""
        number = unit.picture.number
        try:
            digest = self.opened().sha256(number)
        except (OSError, ValueError) as error:
            if not fault_of_input(error):
                raise
            digest = ""
        return (Source(role="image", file=f"{self.file.name}#{number}", sha256=digest),)

    def opened(self) -> NyuFile:
        """Open the file where it is not open yet. Raises ValueError if it is not such a file."""
        if self._opened is None:
            file = self.file.open()
            if self.file.local_path() is None:  # HDF5 asks for a few bytes at a time
                file = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, file), _READ_AHEAD))
            self._opened = NyuFile(file)
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        """Travel without the open file."""
        return {"file": self.file, "_opened": None}


def nyu_scenes(file: Location) -> Scenes:
    """List the pictures of the file; one without a room is a reject.

    Raises UserError where the file is not what it should be.
    """
    reader = NyuReader(file=file)
    try:
        opened = reader.opened()
        rooms: dict[int, str] = {}
        rejects = []
        for number in range(1, len(opened) + 1):
            try:
                rooms[number] = opened.scene_id(number)
            except ValueError as error:
                rejects.append(_reject(_picture_id(number), str(error)))
    except FileNotFoundError as error:  # without a text of its own from object stores
        raise UserError(f"source {file}: there is no such file") from error
    except (ValueError, OSError, ModuleNotFoundError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"source {file}: {reason}") from error
    if not rooms:
        reason = rejects[0].reason if rejects else "it holds no pictures"
        raise UserError(f"source {file}: {reason}")
    return Scenes(
        kind=NYU,
        reader=reader,
        pictures=[
            Picture(picture_id=_picture_id(number), scene_id=room, number=number)
            for number, room in rooms.items()
        ],
        rejects=rejects,
        locations=[file],
    )


def _picture_id(number: int) -> str:
    return f"nyu-{number:04d}"


def _reject(picture_id: str, reason: str) -> Reject:
    """A picture whose room is not known: no split could keep it from others of that room."""
    return Reject(pair_id=picture_id, split="", path=picture_id, reason=reason, stage="discover")
