"""The step ``export``: the pairs of a dataset version as pictures, for programs that read files.

Pairs of a published preset get the names that the published set has; others the folders of
DPD-blur, which `k3dn ingest` and most networks for dual-pixel pictures read.
"""

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.cluster import ray_cluster
from pipelines.dataset.config import ExportConfig
from pipelines.dataset.images import encode_image
from pipelines.dataset.record import Pair, decode_pair
from pipelines.dataset.shard import ShardInfo, read_row
from pipelines.dataset.version import open_version
from pipelines.errors import UserError
from pipelines.progress import progress
from pipelines.ray_tasks import each_on_ray
from pipelines.storage import Location, locate

_DPD_BLUR = {
    "left": "{split}_l/source/{pair_id}.png",
    "right": "{split}_r/source/{pair_id}.png",
    "combined": "{split}_c/source/{pair_id}.png",
    "target": "{split}_c/target/{pair_id}.png",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """What was written."""

    reference: str
    """The dataset version, name@version."""
    output: str
    pairs: int
    files: int

    def describe(self) -> str:
        """Return the text for a human."""
        return (
            f"{self.pairs} pairs of {self.reference}, {self.files} files\npictures: {self.output}"
        )

    def next_steps(self) -> list[str]:
        """Return command lines that one may run next."""
        return []


def run(config: ExportConfig) -> ExportResult:
    """Write the pictures; what is there under their names is replaced. Raises UserError."""
    version = open_version(locate(config.root), config.dataset)
    output = locate(config.to)
    shards = [shard for split in config.splits for shard in version.shards(split)]
    if not shards:
        raise UserError(f"{version.reference} has no pairs in {', '.join(config.splits)}")
    rows = sum(shard.rows for shard in shards)

    def work(shard: ShardInfo) -> int:
        return sum(_write(decode_pair(read_row(shard, row)), output) for row in range(shard.rows))

    with (
        ray_cluster(config.ray_address),
        closing(each_on_ray(shards, work)) as done,
    ):
        counts = progress(done, total=len(shards), label=version.reference, unit="shards")
        files = sum(counts)
    return ExportResult(reference=version.reference, output=output.url, pairs=rows, files=files)


def names_of(pair: Pair) -> list[Mapping[str, str]]:
    """Return the path of each of a pair's files by role; twice where a published set has it twice.

    Roles: left, right, combined, target, and disparity, which is the blur radius in pixels.
    """
    published = pair.provenance.parameters.get("files")
    if published:
        return list(published)
    keys = {"split": pair.split, "pair_id": file_name_of(pair.pair_id)}
    return [
        {role: pattern.format_map(keys) for role, pattern in _DPD_BLUR.items() if _has(pair, role)}
    ]


def file_name_of(pair_id: str) -> str:
    """Return what the file of a pair is called, less its suffix, in one folder with all others:
    pairs of a tree of scenes have slashes in their ids."""
    return re.sub("[/%]", lambda sign: f"%{ord(sign[0]):02X}", pair_id)


def _has(pair: Pair, role: str) -> bool:
    return getattr(pair, role) is not None


def _write(pair: Pair, output: Location) -> int:
    written = 0
    for names in names_of(pair):
        for role, path in names.items():
            output.child(path).write_bytes(_encoded(pair, role))
            written += 1
    return written


def _encoded(pair: Pair, role: str) -> bytes:
    if role == "disparity":
        assert pair.coc is not None  # published sets that have it are synthetic
        return encode_pfm(pair.coc.astype(np.float32))
    return encode_image(pair.center if role == "combined" else getattr(pair, role))


def encode_pfm(plane: NDArray[np.float32]) -> bytes:
    """Return a map (H, W) as a grey PFM file: little-endian, bottom row first."""
    height, width = plane.shape
    header = f"Pf\n{width} {height}\n-1.0\n".encode()
    return header + np.ascontiguousarray(plane[::-1], dtype="<f4").tobytes()
