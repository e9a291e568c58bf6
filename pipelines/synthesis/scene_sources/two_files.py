"""Pictures whose image and depth are two files below a folder: what such sources share."""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from pipelines.dataset.record import Source
from pipelines.making.plan import Reject
from pipelines.making.shards import BadInput, fault_of_input, file_source, reason_of
from pipelines.storage import Location
from pipelines.synthesis.scene_sources.source import Files, SceneUnit, decoding
from synth.scene import Scene
from synth.sources.rgbd import LonelyFile

Decode = Callable[[SceneUnit, BinaryIO, BinaryIO], Scene]
"""A unit and its open image and depth to a scene. Picklable; raises ValueError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoFileReader:
    """Reads the two files of a picture."""

    folder: Location
    decode: Decode

    def read(self, unit: SceneUnit) -> tuple[Scene, tuple[Source, ...]]:
        """See SceneReader."""
        files: list[BinaryIO] = []
        found: list[Source] = []
        for role, path, _ in unit.picture.files:
            try:
                data = self.folder.child(path).read_bytes()
            except OSError as error:
                if not fault_of_input(error):
                    raise
                raise BadInput(
                    reason_of(error), path=path, stage="read", sources=self.sources(unit)
                ) from error
            files.append(io.BytesIO(data))
            found.append(Source(role=role, file=path, sha256=hashlib.sha256(data).hexdigest()))
        sources = tuple(found)
        with decoding(unit, sources):
            scene = self.decode(unit, *files)
        return scene, sources

    def sources(self, unit: SceneUnit) -> tuple[Source, ...]:
        """Return the files with their checksums, '' for one that cannot be read."""
        files = unit.picture.files
        return tuple(file_source(role, path, self.folder.child(path)) for role, path, _ in files)


def image_and_depth(image: str, depth: str, sizes: Mapping[str, int]) -> Files:
    """Return the files of a picture. sizes: path to bytes."""
    return ("image", image, sizes[image]), ("depth", depth, sizes[depth])


def lonely_rejects(lonely: Sequence[LonelyFile]) -> list[Reject]:
    """Return the rejects for pictures without depth and depth without pictures."""
    return [
        Reject(
            pair_id=file.scene_id,
            split="",
            path=file.name,
            reason=f"there is no {file.missing} for it",
            stage="discover",
        )
        for file in lonely
    ]
