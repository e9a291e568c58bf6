"""The groups of workers that a run has had, numbered: what a replaced group writes does not count.

A group whose machine was cut off from the others may train on, and write, long after another has
taken its place, and a write may be on its way for minutes. So each group says at which step it
began, under a number of its own, and puts the number into the names of what it writes. Readers
leave out what is of a later step than a later group began at.
"""

import functools
import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pipelines.errors import BusyError
from pipelines.lease import holder_of, holds, lease
from pipelines.storage import Location

OWNER = "owner"
"""The lease of the command that trains a run, in the run's folder."""
GROUPS = "groups"


@dataclass(frozen=True, slots=True)
class Group:
    """This group of workers."""

    run: Location
    number: int
    owner: int | None
    """The number of the command that started it, as its lease gave it; None: nobody's."""

    def check(self) -> None:
        """Raise BusyError where another command or another group has taken the run over."""
        _check_owner(self.run, self.owner)
        if newest_group(self.run) != self.number:
            raise BusyError(
                f"run {self.run.name}: another group of its workers was started; this one is "
                "from before and writes no more"
            )


@dataclass(frozen=True, slots=True)
class Beginnings:
    """At which step each group of a run began, by its number."""

    steps: Mapping[int, int]

    def limit(self, group: int) -> float:
        """Return the step up to which what a group wrote counts."""
        later = (step for number, step in self.steps.items() if number > group)
        return min(later, default=math.inf)


def owned(run: Location) -> AbstractContextManager[int]:
    """Have a run for this command alone while the block lasts; gives the owner's number.

    Waits where the command before may be dead on another machine. Raises BusyError where another
    command has the run.
    """
    return lease(run.child(OWNER), work=f"run {run.name}", wait=True)


def begin_group(run: Location, step: int, owner: int | None = None) -> Group:
    """Take the next number for a group that goes on from a step.

    Raises BusyError where the owner is another command by now, or another group was faster.
    """
    number = newest_group(run) + 1
    _check_owner(run, owner)
    if not run.child(GROUPS, f"{number:08d}.json").put_if_absent(json.dumps(step).encode()):
        raise BusyError(f"run {run.name}: another group of workers was started at the same time")
    return Group(run, number, owner)


def read_beginnings(run: Location) -> Beginnings:
    """Return where the groups of a run began; none of a run that is older than groups."""
    return Beginnings({number: _step(run.url, number) for number in _numbers(run)})


def newest_group(run: Location) -> int:
    """Return the number of a run's last group; 0 where it had none."""
    return max(_numbers(run), default=0)


def _check_owner(run: Location, owner: int | None) -> None:
    if owner is not None and not holds(run.child(OWNER), owner):
        raise BusyError(
            f"run {run.name} was taken over by {holder_of(run.child(OWNER))}; this command was "
            "not heard of for too long, and writes no more"
        )


def _numbers(run: Location) -> list[int]:
    stems = (name.partition(".")[0] for name in run.child(GROUPS).list())
    return [int(stem) for stem in stems if stem.isdigit()]


@functools.lru_cache(maxsize=4096)  # written once, and asked for with every look at the run
def _step(run: str, number: int) -> int:
    return int(json.loads(Location(run).child(GROUPS, f"{number:08d}.json").read_bytes()))
