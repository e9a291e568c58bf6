"""Batches of pairs that are made as they are asked for, by processes of this one and its GPU.

A pair is a function of the run's seed and its position alone, on one kind of device: however many
processes make pairs, and wherever a run goes on. Scenes are made by processes; what a lens and a
sensor make of them, on a GPU where training is, else by the same processes.
"""

import itertools
import os
import signal
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipelines.errors import UserError
from pipelines.storage import locate
from pipelines.training.batch import Batch, collate, wants_coc
from pipelines.training.live.pack import Pack, read_pack
from pipelines.training.live.pairs import make_pairs
from pipelines.training.live.pool import AT_ONCE, Pool, draw_cuts, pool_size
from pipelines.training.live.scenes import LANES, LiveScenes, Unexposed, names
from pipelines.training.live.vary import (
    PLAIN,
    WHITE,
    Noise,
    Variation,
    add_noise,
    draw_noise,
    draw_variation,
    vary,
)
from pipelines.training.order import seed_of, step_samples
from pipelines.training.plan import RunPlan, pack_of
from synth.randomness import generator

AHEAD = 8
"""Pairs that each process makes ahead."""
HELD_OUT_PX = 256
"""Side of the pairs of a validation."""
_CPU = torch.device("cpu")

Item = tuple[Unexposed, Variation, Noise]
Triple = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A finished pair."""

    position: int
    name: str
    levels: NDArray[np.uint8]
    """(3, H, W, 3): left, right, target."""
    coc_px: NDArray[np.float16]
    """(H, W)."""


class LivePairs(Dataset[Any]):
    """Pairs, or what they are made of, by position."""

    def __init__(
        self,
        plan: RunPlan,
        size: tuple[int, int],
        *,
        split: str = "train",
        exposed: bool = True,
        varied: bool = True,
    ) -> None:
        """exposed: give finished pairs (`Made`), not what a GPU makes them of (`Item`). varied: as
        they are trained on; held-out pairs are what a camera gives in any case."""
        self._config, self._size, self._exposed = plan.config, size, exposed
        self._varied = varied and split == "train"
        self._scenes = LiveScenes(_pack(plan), plan.config.live, seed=plan.config.seed, split=split)
        self._split = split

    def __getitem__(self, position: int) -> Item | Made:
        item = self._scenes.take(position, self._size)
        variation, noise = self._variation(position)
        if not self._exposed:
            return item, variation, noise
        levels, coc_px = make_pairs([item], [variation], _CPU)
        if noise.strength:
            rng = torch.Generator().manual_seed(seed_of(self._config.seed, "noise", position))
            levels = add_noise(levels, [variation], [noise], rng)
        return Made(
            position,
            names([item])[0],
            levels[0].permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy(),
            coc_px[0].half().numpy(),
        )

    def _variation(self, position: int) -> tuple[Variation, Noise]:
        config = self._config
        if not self._varied:
            return PLAIN, Noise(0.0, shared=False)
        rng = generator(config.seed, f"live {self._split} {position} vary")
        variation = draw_variation(
            rng,
            exchange_views=config.exchange_views,
            recolour=config.recolour,
            same_views=config.same_views,
        )
        return variation, draw_noise(rng, config.noise)


class LiveReader:
    """What ``SampleReader`` is to versions: a worker's samples of any step, for Ray's readers."""

    def __init__(
        self, plan: RunPlan, rank: int, world_size: int, *, with_coc: bool = False
    ) -> None:
        plan.check_arrived()
        patch = plan.config.patch
        self._pairs = LivePairs(plan, (patch, patch))
        self._slice = plan.config.batch_size, rank, world_size
        self._with_coc = with_coc

    def __call__(self, batch: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
        """Return the columns of the steps ``batch["step"]``."""
        due = [n for step in batch["step"] for n in step_samples(int(step), *self._slice)]
        return _columns([self._pairs[position] for position in due], self._with_coc)


class LiveBatches:
    """A `BatchSource` of pairs made here."""

    def __init__(self, device: torch.device) -> None:
        """device: where the batches are wanted."""
        self._device = device

    def __call__(
        self, plan: RunPlan, rank: int, world_size: int, start: int, stop: int | None
    ) -> Generator[Batch, None, None]:
        """Yield a worker's batches of the steps from start to stop, or without end."""
        if plan.config.live.repeat > 1.0:
            yield from self._of_a_pool(plan, world_size, start, stop)
            return
        config = plan.config
        patch, with_coc = config.patch, wants_coc(config)
        here = config.pair_device == "cpu" or self._device.type == "cpu"
        pairs = LivePairs(plan, (patch, patch), exposed=here)
        steps = itertools.count(start) if stop is None else range(start, stop)
        due = (step_samples(step, config.batch_size, rank, world_size) for step in steps)
        size = len(step_samples(0, config.batch_size, rank, world_size))
        items = _made(pairs, itertools.chain.from_iterable(due), config.pair_workers)
        while batch := list(itertools.islice(items, size)):
            if here:
                yield collate(_columns(batch, with_coc))
            else:
                yield _on_device(batch, self._device, with_coc, seed=config.seed)

    def _of_a_pool(
        self, plan: RunPlan, world_size: int, start: int, stop: int | None
    ) -> Generator[Batch, None, None]:
        config, live, device = plan.config, plan.config.live, self._device
        if world_size > 1:
            raise UserError(f"live.repeat={live.repeat:g} is for one worker, here are {world_size}")
        if config.patch > live.pool_px:
            raise UserError(
                f"patch must be at most live.pool_px={live.pool_px}, got {config.patch}"
            )
        size = pool_size(
            pairs=live.pool,
            side_px=live.pool_px,
            repeat=live.repeat,
            patch_px=config.patch,
            batch=config.batch_size,
        )
        here = config.pair_device == "cpu" or device.type == "cpu"
        pairs = LivePairs(plan, (live.pool_px, live.pool_px), exposed=here, varied=False)
        made = size.kept(start).start // AT_ONCE * AT_ONCE
        items = _made(pairs, itertools.count(made), config.pair_workers)
        pool, with_coc = Pool(size, device), wants_coc(config)
        shares = {key: getattr(config, key) for key in ("exchange_views", "recolour", "same_views")}
        for step in itertools.count(start) if stop is None else range(start, stop):
            while made < size.made(step):
                _fill(pool, list(itertools.islice(items, AT_ONCE)), device)
                made += AT_ONCE
            indices = list(step_samples(step, config.batch_size, 0, 1))
            cuts = draw_cuts(size, step, len(indices), config.patch, seed=config.seed, **shares)
            levels, coc_px = pool.cut(cuts, config.patch)
            variations = [cut.variation for cut in cuts]
            levels, coc_px = vary(levels, coc_px, variations)
            if config.noise:
                draw = generator(config.seed, f"live train step {step} noise")
                noise = [draw_noise(draw, config.noise) for _ in cuts]
                rng = torch.Generator(device).manual_seed(seed_of(config.seed, "noise", step))
                levels = add_noise(levels, variations, noise, rng)
            pictures = levels.div_(WHITE).transpose(0, 1).contiguous().unbind(0)
            radii = (coc_px[:, None].contiguous(),) if with_coc else ()
            yield Batch(indices, pool.names(cuts), *pictures, *radii)


class LiveHeldOut:
    """The held-out pairs of a run that makes its own: by the pack's scenes for validation."""

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self.count = plan.config.max_val_pairs
        self._made: dict[int, Triple] = {}

    def pairs(self, numbers: Sequence[int]) -> Iterator[Triple]:
        """Yield left, right and target (H, W, 3) of some of the pairs; made once."""
        missing = [number for number in numbers if number not in self._made]
        if missing:
            pairs = LivePairs(self._plan, (HELD_OUT_PX, HELD_OUT_PX), split="val")
            workers = min(_workers(self._plan.config.pair_workers), len(missing))
            for number, made in zip(missing, _made(pairs, missing, workers), strict=True):
                left, right, target = made.levels
                self._made[number] = left, right, target
        for number in numbers:
            yield self._made[number]


class _Indices:
    def __init__(self, positions: Iterable[int]) -> None:
        self._positions = positions

    def __iter__(self) -> Iterator[int]:
        return iter(self._positions)


def _made(pairs: LivePairs, positions: Iterable[int], workers: int | None) -> Iterator[Any]:
    """Yield the items of positions, in order, made by processes ahead of time."""
    count = _workers(workers)
    if count == 0:
        yield from (pairs[position] for position in positions)
        return
    yield from DataLoader(
        pairs,
        batch_size=None,
        sampler=_Indices(positions),
        num_workers=count,
        collate_fn=_as_it_is,
        worker_init_fn=_leave_signals_to_the_parent,
        prefetch_factor=AHEAD,
        multiprocessing_context="fork",
    )


def _workers(wanted: int | None) -> int:
    """How many processes make pairs: all processors but one, by which lanes divide evenly."""
    if wanted is not None:
        return wanted
    most = max(1, len(os.sched_getaffinity(0)) - 1)
    return max(n for n in range(1, most + 1) if LANES % n == 0)


def _as_it_is(item: Any) -> Any:
    return item


def _leave_signals_to_the_parent(_number: int) -> None:
    """A stop in order makes a few more steps, which need pairs; the parent ends these processes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _columns(made: Sequence[Any], with_coc: bool) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {
        "index": np.array([item.position for item in made], np.int64),
        "pair_id": np.array([item.name for item in made], dtype=object),
        "pictures": np.stack([item.levels for item in made]).astype(np.uint16) * np.uint16(257),
    }
    return columns | ({"coc": np.stack([item.coc_px for item in made])} if with_coc else {})


def _on_device(items: Sequence[Item], device: torch.device, with_coc: bool, *, seed: int) -> Batch:
    """Make a batch beside what the device is at, in a stream of its own."""
    unexposed, variations, noise = (list(of) for of in zip(*items, strict=True))
    with _beside(device) as made:
        levels, coc_px = make_pairs(unexposed, variations, device)
        if any(one.strength for one in noise):
            rng = torch.Generator(device)
            rng.manual_seed(seed_of(seed, "noise", unexposed[0].position))
            levels = add_noise(levels, variations, noise, rng)
        pictures = levels.div_(WHITE).transpose(0, 1).contiguous().unbind(0)
        made += [*pictures, *((coc_px[:, None].contiguous(),) if with_coc else ())]
    return Batch([item.position for item in unexposed], names(unexposed), *made)


def _fill(pool: Pool, items: Sequence[Any], device: torch.device) -> None:
    """Put pairs into a pool, finished ones or what they are made of."""
    if isinstance(items[0], Made):
        levels = torch.from_numpy(
            np.stack([made.levels for made in items]).transpose(0, 1, 4, 2, 3)
        )
        coc_px = torch.from_numpy(np.stack([made.coc_px for made in items]))
        positions, of = [made.position for made in items], [made.name for made in items]
        pool.put(positions, levels.to(device), coc_px.to(device), of)
        return
    unexposed, variations, _ = (list(of) for of in zip(*items, strict=True))
    with _beside(device) as made_there:
        made_there += make_pairs(unexposed, variations, device)
    levels, coc_px = made_there
    pool.put([item.position for item in unexposed], levels, coc_px, names(unexposed))


@contextmanager
def _beside(device: torch.device) -> Iterator[list[Tensor]]:
    """Work in a stream of its own, in full precision; what is put into the list is waited for by
    the device's other work, not by the program."""
    beside = _stream(device)
    made: list[Tensor] = []
    with torch.cuda.stream(beside), _full_precision():
        yield made
    current = torch.cuda.current_stream(device)
    current.wait_stream(beside)
    for tensor in made:
        tensor.record_stream(current)


@contextmanager
def _full_precision() -> Iterator[None]:
    """Kernels and pictures are not to be rounded to the 10 bits that training may do with."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


_STREAMS: dict[torch.device, "torch.cuda.Stream"] = {}


def _stream(device: torch.device) -> "torch.cuda.Stream":
    if device not in _STREAMS:
        _STREAMS[device] = torch.cuda.Stream(device)
    return _STREAMS[device]


_PACKS: dict[str, Pack] = {}


def _pack(plan: RunPlan) -> Pack:
    """The pack of a run, read once a process. Raises UserError where it is another one by now."""
    (source,) = plan.sources
    if source.digest not in _PACKS:
        location = locate(pack_of(plan.config) or "")
        pack = read_pack(location.read_bytes(), where=str(location.url))
        if pack.digest != source.digest:
            raise UserError(f"{location.url} changed while run {plan.name} was going on")
        _PACKS[source.digest] = pack
    return _PACKS[source.digest]
