"""The step ``ingest``: a folder of real dual-pixel pairs becomes a dataset version."""

import hashlib
from dataclasses import dataclass

import numpy as np

from pipelines.config import SHARED_KEYS, as_dict
from pipelines.dataset.config import IngestConfig
from pipelines.dataset.images import Pixels, decode_image
from pipelines.dataset.layouts import discover
from pipelines.dataset.layouts.files import PairFiles
from pipelines.dataset.logged import log_version
from pipelines.dataset.plan import make_plan
from pipelines.dataset.provenance import code_fingerprint, processor_kind
from pipelines.dataset.publish import VersionResult, cheap_to_read, publish
from pipelines.dataset.record import Pair, Provenance, Source
from pipelines.dataset.shards import BadInput, fault_of_input, file_source, reason_of
from pipelines.errors import UserError
from pipelines.storage import Location, locate

_ROLES = ("left", "right", "target", "combined")
_CODE = ("pipelines.dataset",)


@dataclass(frozen=True, kw_only=True, slots=True)
class RealPairs:
    """Reads real pairs from their files."""

    source: Location
    dataset: str
    layout: str

    def __call__(self, unit: PairFiles) -> Pair:
        """Read, decode and check one pair. Raises BadInput."""
        sources: list[Source] = []
        pictures: dict[str, Pixels] = {}
        bad: BadInput | None = None
        for role, path in _files(unit):
            try:
                data = self.source.child(path).read_bytes()
            except OSError as error:
                if not fault_of_input(error):
                    raise
                sources.append(Source(role=role, file=path, sha256=""))
                bad = bad or BadInput(reason_of(error), path=path, stage="read")
                continue
            sources.append(_source(role, path, data))
            try:
                pictures[role] = decode_image(data, where=path)
            except ValueError as error:
                reason = str(error).removeprefix(f"{path}: ")
                bad = bad or BadInput(reason, path=path, stage="decode")
        try:
            if bad is not None:
                raise bad
            if np.array_equal(pictures["left"], pictures["right"]):
                raise BadInput(
                    "left and right are the same picture", path=unit.right[0], stage="check"
                )
            return Pair(
                pair_id=unit.pair_id,
                scene_id=unit.scene_id,
                dataset=self.dataset,
                split=unit.split,
                left=pictures["left"],
                right=pictures["right"],
                target=pictures.get("target"),
                combined=pictures.get("combined"),
                provenance=Provenance(sources=tuple(sources), layout=self.layout),
            )
        except BadInput as error:
            error.sources = tuple(sources)
            raise
        except ValueError as error:
            raise BadInput(str(error), path=unit.left[0], stage="check", sources=sources) from error

    def processor(self) -> str:
        """Pictures are copied, not computed; the manifest names the machine all the same."""
        return processor_kind()

    def sources(self, unit: PairFiles) -> tuple[Source, ...]:
        """Return the files of the pair with their checksums, '' for one that cannot be read."""
        return tuple(file_source(role, p, self.source.child(p)) for role, p in _files(unit))


def run(config: IngestConfig) -> VersionResult:
    """Make the dataset version and log it to MLflow. Raises UserError."""
    result = make(config)
    log_version(config, result)
    return result


def make(config: IngestConfig) -> VersionResult:
    """Make the dataset version, or find it there. Raises UserError."""
    source, root = locate(config.source), locate(config.root)
    if not source.exists():
        raise UserError(f"there is nothing at {source}; source names the folder with the pictures")
    layout, found = discover(source.walk(), layout=config.layout, source=source.url)
    code = code_fingerprint(_CODE)
    plan = make_plan(
        dataset=config.dataset,
        version=config.version,
        units=found.pairs,
        rejects=found.rejects,
        content_config={"layout": layout},
        pairs_per_shard=config.pairs_per_shard,
    )
    settings = {k: v for k, v in as_dict(config).items() if k not in SHARED_KEYS}
    return publish(
        plan,
        root,
        RealPairs(source=source, dataset=config.dataset, layout=layout),
        config=settings | {"layout": layout, "source": source.url},
        code=code,
        max_rejected=config.max_rejected,
        move_latest=config.set_latest,
        ray_address=config.ray_address,
        read_inputs=cheap_to_read(source),
    )


def _files(unit: PairFiles) -> list[tuple[str, str]]:
    return [(role, entry[0]) for role in _ROLES if (entry := getattr(unit, role)) is not None]


def _source(role: str, path: str, data: bytes) -> Source:
    return Source(role=role, file=path, sha256=hashlib.sha256(data).hexdigest())
