"""The pair record: one Parquet row is one dual-pixel pair. The contract between all steps."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.dataset.images import Pixels, bit_depth_of, decode_image
from pipelines.dataset.names import escaped
from pipelines.dataset.packed import Packed, pack, pack_map

SPLITS = ("train", "val", "test")
COLUMNS = ("left", "right", "target")
"""What training reads of a row."""
PICTURES = ("left", "right", "target", "combined")
IN_STRIPS = (*PICTURES, "coc")
"""Columns that can be read in part."""

_SOURCE = pa.struct([("role", pa.string()), ("file", pa.string()), ("sha256", pa.string())])
_PROVENANCE = pa.struct(
    [
        ("sources", pa.list_(_SOURCE)),
        ("layout", pa.string()),
        ("combined", pa.string()),
        ("turned_degrees", pa.int32()),
        ("kernel_family", pa.string()),
        ("parameters", pa.string()),
        ("seed", pa.int64()),
    ]
)
PAIR_SCHEMA = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("scene_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("left", pa.binary(), nullable=False),
        pa.field("right", pa.binary(), nullable=False),
        pa.field("target", pa.binary()),
        pa.field("combined", pa.binary()),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("bit_depth", pa.int8(), nullable=False),
        pa.field("y", pa.int32()),
        pa.field("x", pa.int32()),
        pa.field("coc", pa.binary()),
        pa.field("provenance", _PROVENANCE, nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One input file of a pair."""

    role: str
    """left, right, target, combined, image, depth, texture or kernels."""
    file: str
    """Its path below the source folder, or its name in a package."""
    sha256: str
    """Of its content, hex."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where a pair came from and how it was made."""

    sources: tuple[Source, ...] = ()
    """The files that it was made from."""
    layout: str | None = None
    """The dataset layout that it was read from; None for synthetic pairs."""
    combined: str = "mean"
    """'stored' where the row holds the centre view, 'mean' where the mean of the views is it."""
    turned_degrees: int = 0
    """Counter-clockwise turn on ingestion that made the disparity axis horizontal."""
    kernel_family: str | None = None
    """Synthetic pairs: the family of the point spread functions."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Synthetic pairs: camera and kernel parameters, JSON-able."""
    seed: int | None = None
    """Synthetic pairs: the seed that, with pair_id, gives every random number."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """One dual-pixel pair, decoded. Pictures are (H, W, 3) sRGB, uint8 or uint16, all alike."""

    pair_id: str
    scene_id: str
    dataset: str
    split: str
    left: Pixels
    right: Pixels
    target: Pixels | None = None
    """The all-in-focus picture."""
    combined: Pixels | None = None
    """The centre view; None where the set has none."""
    coc: NDArray[np.float16] | None = None
    """(H, W) signed radius of the blur disc in pixels, positive nearer than focus."""
    y: int | None = None
    x: int | None = None
    """Where a patch came from in its image, in pixels."""
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        """Refuse what no reader could use. Raises ValueError with the reason."""
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got '{self.split}'")
        for role in ("right", "target", "combined"):
            picture = getattr(self, role)
            if picture is None:
                continue
            if picture.shape != self.left.shape:
                raise ValueError(
                    f"mismatched sizes: left is {_size(self.left)}, {role} is {_size(picture)}"
                )
            if picture.dtype != self.left.dtype:
                raise ValueError(
                    f"mismatched bit depth: left has {bit_depth_of(self.left)} bit, "
                    f"{role} has {bit_depth_of(picture)}"
                )
        if self.coc is not None:
            if self.coc.shape != self.left.shape[:2]:
                raise ValueError(f"coc is {self.coc.shape}, the picture {self.left.shape[:2]}")
            if not np.isfinite(self.coc).all():
                raise ValueError("coc holds values that are not finite")

    @property
    def center(self) -> Pixels:
        """The centre view: the stored one, else the mean of the views, rounded half up."""
        if self.combined is not None:
            return self.combined
        total = self.left.astype(np.uint32) + self.right + 1
        return cast(Pixels, (total // 2).astype(self.left.dtype))


def encode_pair(pair: Pair) -> dict[str, Any]:
    """Return a pair as a row of PAIR_SCHEMA. The same pair gives the same bytes."""
    return encode_in_strips(pair)[0]


def encode_in_strips(pair: Pair) -> tuple[dict[str, Any], dict[str, Packed]]:
    """Return a pair as a row of PAIR_SCHEMA, and its columns of IN_STRIPS that are not null."""
    height, width, _ = pair.left.shape
    origin = pair.provenance
    packed = {
        name: pack(picture) for name in PICTURES if (picture := getattr(pair, name)) is not None
    }
    if pair.coc is not None:
        packed["coc"] = pack_map(pair.coc)
    row = {
        "pair_id": escaped(pair.pair_id),
        "scene_id": escaped(pair.scene_id),
        "dataset": pair.dataset,
        "split": pair.split,
        **dict.fromkeys(IN_STRIPS),
        **{name: value.data for name, value in packed.items()},
        "height": height,
        "width": width,
        "bit_depth": bit_depth_of(pair.left),
        "y": pair.y,
        "x": pair.x,
        "provenance": {
            "sources": [
                {"role": s.role, "file": escaped(s.file), "sha256": s.sha256}
                for s in origin.sources
            ],
            "layout": origin.layout,
            "combined": "mean" if pair.combined is None else "stored",
            "turned_degrees": origin.turned_degrees,
            "kernel_family": origin.kernel_family,
            "parameters": json.dumps(origin.parameters, sort_keys=True),
            "seed": origin.seed,
        },
    }
    return row, packed


def decode_pair(row: Mapping[str, Any]) -> Pair:
    """Return the pair that a row of PAIR_SCHEMA holds. Raises ValueError for damaged data."""
    pair_id = row["pair_id"]

    def picture(role: str) -> Pixels | None:
        data = row.get(role)
        return None if data is None else decode_image(data, where=f"{pair_id}, {role}")

    left, right = picture("left"), picture("right")
    if left is None or right is None:
        raise ValueError(f"{pair_id}: a view is missing")
    origin = row["provenance"]
    return Pair(
        pair_id=pair_id,
        scene_id=row["scene_id"],
        dataset=row["dataset"],
        split=row["split"],
        left=left,
        right=right,
        target=picture("target"),
        combined=picture("combined"),
        coc=None
        if row.get("coc") is None
        else decode_coc(row["coc"], height=row["height"], width=row["width"], where=pair_id),
        y=row.get("y"),
        x=row.get("x"),
        provenance=Provenance(
            sources=tuple(Source(**source) for source in origin["sources"]),
            layout=origin["layout"],
            combined=origin["combined"],
            turned_degrees=origin["turned_degrees"],
            kernel_family=origin["kernel_family"],
            parameters=json.loads(origin["parameters"]),
            seed=origin["seed"],
        ),
    )


def decode_coc(data: bytes, *, height: int, width: int, where: str) -> NDArray[np.float16]:
    """Return the defocus map (height, width) in px from its bytes. Raises ValueError."""
    try:
        raw = pa.Codec("zstd").decompress(data, decompressed_size=height * width * 2)
        return np.frombuffer(raw, "<f2").astype(np.float16).reshape(height, width)
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}: damaged coc ({error})") from error


def _size(picture: Pixels) -> str:
    height, width = picture.shape[:2]
    return f"{width} x {height}"
