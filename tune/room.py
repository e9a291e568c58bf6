"""Give back the CPUs of trials that Ray Tune stopped.

Ray Tune stops a trial by killing its process; the controller of its training dies with it, but
not the placement group that the controller made: that one lives as long as the job. Ray Train's
own cleaner asks the dashboard whether the controller is alive, and a private cluster has no
dashboard. Without what is here, each stopped trial of a search would take its CPUs with it.
"""

import time
from collections.abc import Iterator
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from pipelines.progress import say

_POLL_S = 0.5
_TIMEOUT_S = 60.0


def held_groups() -> set[str]:
    """Return the placement groups (hex ids) of this job that hold or ask for room now."""
    return {group.placement_group_id.hex() for group in _groups()}


def remove_orphans() -> None:
    """Remove this job's placement groups whose maker, an actor, is dead."""
    for group in _groups():
        maker = ray.ActorID(group.creator_actor_id)
        if not maker.is_nil() and group.creator_actor_dead and not group.is_detached:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))


def wait_for_room(before: set[str]) -> None:
    """Wait until this job holds no placement groups but those in ``before``.

    What runs next would otherwise find the cluster full.
    """
    deadline_s = time.monotonic() + _TIMEOUT_S
    while held_groups() - before:
        if time.monotonic() > deadline_s:
            say("tune: a stopped trial still holds its CPUs; they are free when this command ends")
            return
        remove_orphans()
        time.sleep(_POLL_S)


def _groups() -> Iterator[Any]:
    # Ray's public table leaves out who made a group.
    from ray._private.state import state
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]

    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id()).binary()
    for one in state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(one)
        if group.creator_job_id == job and group.state != PlacementGroupTableData.REMOVED:
            yield group
