"""A picture that kills the process which looks at it: the same command, given again, lists it."""

import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.dataset.record import Pair
from pipelines.ingest.findings import FAULT
from pipelines.ingest.ingest import RealPairs
from pipelines.ingest.layouts import discover
from pipelines.ingest.layouts.files import PairFiles
from pipelines.ingest.looking import look_at_set
from pipelines.ingest.source_files import open_source
from tests.pipelines.content.scenes import clean
from tests.pipelines.ingest.test_content import write


@dataclass(frozen=True)
class Deadly:
    """Reads pairs as the ingest does; one of them ends the process."""

    pairs: RealPairs
    deadly: str

    def __call__(self, unit: PairFiles) -> Pair:
        if unit.pair_id == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.pairs.as_stored(unit)


@pytest.mark.slow
def test_a_deadly_picture_is_bad_and_the_others_are_looked_at(tmp_path: Path) -> None:
    source = open_source(str(write(tmp_path / "set", {"train": [clean(n) for n in range(4)]})))
    layout, found = discover(source.walk(), layout="auto", source="")
    pairs = RealPairs(source=source, dataset="set", layout=layout)
    read = Deadly(pairs, "train002")
    first = multiprocessing.get_context("spawn").Process(
        target=look_at_set, args=(found.pairs, read), kwargs={"everything": True}
    )
    first.start()
    first.join()
    assert first.exitcode == -signal.SIGKILL
    seen = look_at_set(found.pairs, read, everything=True)
    (fault,) = [row for row in seen.rows if row.severity == FAULT]
    assert (fault.pair_id, fault.kind) == ("train002", "crash")
    assert fault.text == "reading it ends the process (signal 9)"
    healthy = look_at_set(found.pairs, pairs.as_stored, everything=True)
    assert [one.pair_id for one in healthy.shown if one.pair_id != "train002"] == [
        one.pair_id for one in seen.shown
    ]
    assert [unit for unit in seen.units if unit.pair_id != "train002"] == [
        unit for unit in healthy.units if unit.pair_id != "train002"
    ]
    assert len(seen.units) == 4
