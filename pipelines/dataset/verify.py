"""Check every file of a version against its checksum: in threads here, or as tasks of a cluster."""

import os
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from pipelines.dataset.version import DatasetVersion, problem_of
from pipelines.progress import progress
from pipelines.ray_tasks import each_on_ray
from pipelines.storage import Location

_THREADS = 16
"""A file in a bucket is mostly waited for."""
_FILES_OF_A_TASK = 64
_Part = tuple[int, Sequence[Mapping[str, Any]]]
_Found = tuple[int, list[str]]


def problems_of(version: DatasetVersion, *, ray_address: str | None = None) -> list[str]:
    """Return what is wrong with the files of a version, one line each, in the manifest's order.

    Over the nodes of a Ray cluster where there is one, by ray_address or RAY_ADDRESS; no cluster is
    started for it.
    """
    entries = [*version.manifest["shards"], *version.manifest["files"]]
    starts = range(0, len(entries), _FILES_OF_A_TASK)
    parts = [(start, entries[start : start + _FILES_OF_A_TASK]) for start in starts]
    label = f"checking {version.reference}"
    found: dict[int, list[str]] = {}
    with closing(_checked(version.location, parts, ray_address)) as stream:
        for start, problems in progress(stream, total=len(parts), label=label, unit="parts"):
            found[start] = problems
    return [problem for start in starts for problem in found[start]]


def _checked(
    location: Location, parts: Sequence[_Part], ray_address: str | None
) -> Generator[_Found, None, None]:
    def check(part: _Part) -> _Found:
        start, entries = part
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(lambda entry: problem_of(location, entry), entries)
            return start, [problem for problem in found if problem is not None]

    named = ray_address or os.environ.get("RAY_ADDRESS")
    if not named or location.scheme == "memory":  # which other processes do not see
        yield from map(check, parts)
        return
    from pipelines.cluster import ray_cluster

    with ray_cluster(ray_address), closing(each_on_ray(parts, check)) as stream:
        yield from stream
