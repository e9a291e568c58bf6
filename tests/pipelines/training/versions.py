"""Small dataset versions for the tests of training, written without Ray."""

import hashlib
import io
import json
from typing import Any

import numpy as np

from pipelines.dataset.record import Pair
from pipelines.dataset.shard import ShardWriter
from pipelines.dataset.version import MANIFEST, SCHEMA_VERSION, set_latest
from pipelines.storage import locate


def make_pair(
    dataset: str,
    split: str,
    number: int,
    *,
    size: tuple[int, int] = (40, 48),
    bits: int = 8,
    with_coc: bool = False,
) -> Pair:
    """A pair of noise: the views are brighter by a constant each, the right one by little.

    with_coc: its blur radius, in px, is the target's first channel over 64.
    """
    rng = np.random.default_rng([number, *split.encode()])
    peak = 2**bits - 1
    kind: Any = np.uint8 if bits == 8 else np.uint16
    target: Any = rng.integers(peak // 4, peak // 2, (*size, 3), dtype=kind)
    left, right = target + kind(peak // 8), target + kind(number)
    return Pair(
        pair_id=f"{split}-{number:02d}",
        scene_id=f"{split}-{number:02d}",
        dataset=dataset,
        split=split,
        left=left,
        right=right,
        target=target,
        coc=(target[..., 0] / 64).astype(np.float16) if with_coc else None,
    )


def write_version(root: str, name: str, version: str, pairs: list[Pair], per_shard: int = 3) -> str:
    """Write a version as the pair record says; returns ``name@version``."""
    location = locate(root).child(name, version)
    entries = []
    for split in ("train", "val", "test"):
        rows = [pair for pair in pairs if pair.split == split]
        for start in range(0, len(rows), per_shard):
            part = rows[start : start + per_shard]
            stream = io.BytesIO()
            with ShardWriter(stream) as writer:
                for pair in part:
                    writer.write(pair)
            data, shard = stream.getvalue(), f"split={split}/{start // per_shard:05d}.parquet"
            location.child(shard).write_bytes(data)
            entries.append(
                {
                    "name": shard,
                    "split": split,
                    "rows": len(part),
                    "bytes": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
            )
    digest = hashlib.sha256(json.dumps(entries).encode()).hexdigest()
    manifest = {"schema": SCHEMA_VERSION, "digest": digest, "shards": entries, "files": []}
    location.child(MANIFEST).write_bytes(json.dumps(manifest).encode())
    set_latest(locate(root), name, version)
    return f"{name}@{version}"


def write_small_datasets(root: str) -> list[str]:
    """Write ``soft`` (5 train, 3 val, 8 bit) and ``real`` (2 train, 1 val, 16 bit)."""
    soft = [make_pair("soft", "train", i) for i in range(5)]
    soft += [make_pair("soft", "val", i) for i in range(3)]
    real = [make_pair("real", "train", i, size=(33, 61), bits=16) for i in range(2)]
    real += [make_pair("real", "val", i, size=(33, 61), bits=16) for i in range(1)]
    write_version(root, "soft", "v1", soft)
    write_version(root, "real", "v1", real)
    return ["soft", "real@v1*3"]
