"""An input that kills the process which reads it is a reject; the pairs beside it are made."""

import multiprocessing
import signal
from pathlib import Path

import numpy as np
import pytest

from pipelines.dataset.record import decode_pair
from pipelines.dataset.shard import ShardInfo, read_row
from pipelines.making.deaths import CAREFUL_AFTER, Apart, counted, write_shard_surviving
from pipelines.making.shards import BadInput, write_shard
from pipelines.storage import locate
from tests.pipelines.dataset.makers import NoisePairs, noise_plan
from tests.pipelines.making.test_shards import claim_of, write_claim


def test_deaths_are_counted_and_forgotten(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), counted(str(tmp_path)) as deaths:
        assert deaths == 0
        1 / 0  # noqa: B018 (an error is no death)
    for number in range(3):
        with counted(str(tmp_path)) as deaths:
            assert deaths == 0
        process = multiprocessing.get_context("fork").Process(target=_die_in, args=(str(tmp_path),))
        process.start()
        process.join()
        with counted(f"{tmp_path}-other") as deaths:
            assert deaths == 0
        with counted(str(tmp_path)) as deaths:
            assert deaths == 1, number


def _die_in(name: str) -> None:
    import os

    with counted(name):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_deadly_input_is_a_reject_after_a_few_deaths(tmp_path: Path) -> None:
    plan = noise_plan(7, pairs_per_shard=3)
    item = plan.items[0]
    location = locate(str(tmp_path)).child("noise", "v1")
    write_claim(location, plan)
    keys = {"claim": claim_of(plan), "run": str(tmp_path)}
    producer = NoisePairs(deadly=1)
    spawn = multiprocessing.get_context("spawn")  # a process a try, as Ray has it
    codes = []
    for _ in range(CAREFUL_AFTER + 1):
        args = (location, item, producer)
        process = spawn.Process(target=write_shard_surviving, args=args, kwargs=keys)
        process.start()
        process.join()
        codes.append(process.exitcode)
    assert codes == [-signal.SIGKILL] * CAREFUL_AFTER + [0]
    result = write_shard(location, item, producer, claim=claim_of(plan))
    assert result.skipped and result.rows == 2
    (reject,) = result.rejects
    assert (reject.path, reject.stage) == ("1.txt", "crash")
    assert reject.reason == "making a pair of it ends the process (signal 9)"
    shard = ShardInfo(
        location=location.child(item.name),
        split="train",
        rows=2,
        bytes=result.bytes,
        sha256=result.sha256,
    )
    for row, unit in enumerate(u for u in item.units if u.number != 1):
        pair = decode_pair(read_row(shard, row))
        assert pair.pair_id == unit.pair_id
        assert np.array_equal(pair.left, NoisePairs()(unit).left)


def test_pairs_made_apart_are_the_same_and_bad_input_stays_what_it_is(tmp_path: Path) -> None:
    units = [unit for item in noise_plan(3).items for unit in item.units]
    fuse = tmp_path / "fuse"
    fuse.touch()
    apart = Apart(NoisePairs(bad=(0,), dies=str(fuse)))
    with pytest.raises(BadInput, match="it is bad") as caught:
        apart(units[0])
    assert caught.value.path == "0.txt" and caught.value.sources == apart.sources(units[0])
    pair = apart(units[1])  # its first process dies, its second does not
    assert not fuse.exists() and apart.note(pair) is None
    assert np.array_equal(pair.left, NoisePairs()(units[1]).left)
