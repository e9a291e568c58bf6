"""The network that sharpens: in this process for weights that name no code, else in its own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from numpy.typing import NDArray

from pipelines.deblur.config import DeblurConfig
from pipelines.errors import UserError
from pipelines.picture_keys import ANY_BOX, parse_memory_mib
from pipelines.registry.loading import BOX, load_network, settle
from pipelines.registry.model_process import ModelProcess
from pipelines.registry.registry import open_store
from pipelines.storage import locate

if TYPE_CHECKING:  # torch takes seconds to come
    import torch
    from torch import nn

    from k3dn import Restorer

_PROCESS_MIB = 700
"""What a process with torch and a model takes, where it is another one."""
_MARGIN_MIB = 96
"""What is loaded with the first tile."""
_BESIDE_BYTES = 10
"""A px, beside picture and tiles: answers at smaller sizes, sums over a row of tiles."""
_GROWTH = 1.6
"""By how much the process grows beyond what tiles are planned for: memory that is free again, and
that the allocator keeps (docs/performance.md)."""


_SPARE = 1.05
"""The advice on memory over what was counted: no two runs take exactly the same."""
_NO_MEMORY = ("allocate memory", "not enough memory")
"""How torch says so of a CPU, in a RuntimeError."""


class Halted(BaseException):
    """Raised in a thread whose picture nobody waits for any more."""


class ModelUnusable(UserError):
    """There is no such model, or it takes no pictures of this kind."""


class Libraries:
    """What the process takes beside pictures and tiles: libraries and a model, measured once.

    Later there would be counted what other threads are at, and what the allocator keeps for more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken_mib: float | None = None

    def taken_mib(self, views_mib: float) -> float:
        """Return it; views_mib: of the pictures that are loaded when it is measured."""
        import psutil

        with self._lock:
            if self._taken_mib is None:
                self._taken_mib = psutil.Process().memory_info().rss / 2**20 - views_mib
            return self._taken_mib


def by_process(config: DeblurConfig) -> bool:
    """Tell whether the model of a configuration answers in a process of its own."""
    named = config.factory is not None and config.model != ANY_BOX
    return config.model.startswith("models:/") or named


class Sharpener:
    """Sharpens one picture after the other with the model of a configuration; a context manager.

    Nothing is loaded before the first picture. device: such as ``cuda:1``; None: a GPU where there
    is one. at_once: how many of them are at work in this process, which share its memory, and
    libraries: what these count as taken. Raises UserError for a model that is not there, or does
    not fit the pictures, and where memory runs out.
    """

    def __init__(
        self,
        config: DeblurConfig,
        device: str | None = None,
        *,
        at_once: int = 1,
        libraries: Libraries | None = None,
    ) -> None:
        self._config, self._device, self._at_once = config, device, at_once
        self._libraries = libraries or Libraries()
        self._halt = threading.Event()
        self._open = ExitStack()
        self._restorers: dict[str, Restorer] = {}
        self._networks: dict[str, nn.Module] = {}
        self._first: nn.Module | None = None
        self._process: ModelProcess | None = None
        self._label = ""
        self._by_process = by_process(config)
        if config.factory and config.model == ANY_BOX:
            raise UserError(f"factory={config.factory} is for a weights file: name it, model=FILE")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End a model's process, if there is one."""
        self._open.close()

    @property
    def memory_mib(self) -> int | None:
        """What the whole process may take; None: nobody said."""
        return parse_memory_mib(self._config.memory) if self._config.memory else None

    def load(self, left: NDArray[Any], right: NDArray[Any] | None) -> str:
        """Load what sharpens a pair, and return what it is called."""
        try:
            if self._by_process:
                self._start_process()
                return self._label
            reference = self._reference(left, right)
            with _memory_told(self._name(reference)):
                self._restorer(reference)
            return self._name(reference)
        except UserError as error:
            raise ModelUnusable(str(error)) from error

    def __call__(
        self,
        left: NDArray[Any],
        right: NDArray[Any] | None,
        told: Callable[[int, int], None] | None = None,
    ) -> NDArray[Any]:
        """Return the sharp picture of two views, ``(H, W, 3)`` of 8 or 16 bit, or of one.

        told: is called with the number of tiles done and of all. Raises Halted after ``halt``.
        """
        if self._by_process:
            return self._by_other_process(left, right)
        reference = self._reference(left, right)
        name = self._name(reference)
        with _memory_told(name):
            restorer = self._restorer(reference)
            settings = self._settings(left, right, restorer)
            settings.pop("precision", None)

            def after_a_tile(done: int, total: int) -> None:
                if self._halt.is_set():
                    raise Halted
                if told is not None:
                    told(done, total)

            try:
                answer: NDArray[Any] = restorer(left, right, progress=after_a_tile, **settings)
            except ValueError as error:
                raise UserError(f"{name}: {error}") from error
        self._first = self._first or self._networks[reference]
        return answer

    def _by_other_process(self, left: NDArray[Any], right: NDArray[Any] | None) -> NDArray[Any]:
        self._start_process()
        assert self._process is not None
        settings = self._settings(left, right)
        try:
            return self._process.predict(left, right, settings)
        except UserError as error:
            if "memory_mib" not in settings or "memory_mib=" not in str(error):
                raise
            raise UserError(  # it alone knows its tiles
                f"memory={self._config.memory} is too little, as it leaves "
                f"{settings['memory_mib']} MiB for tiles: {error}"
            ) from error

    def halt(self) -> None:
        """From another thread: give up the picture that is being made, and make no other."""
        self._halt.set()

    def network(self) -> "nn.Module | None":
        """The network of the first picture, None where another process has it."""
        return self._first

    def _start_process(self) -> None:
        if self._process is not None:
            return
        config, reference = self._config, self._config.model
        tracking_uri = open_store(config) if reference.startswith("models:/") else ""
        model = settle(reference, tracking_uri, config.factory)
        self._label = model.label
        self._process = self._open.enter_context(
            ModelProcess(model.reference, tracking_uri, factory=model.factory)
        )

    def _reference(self, left: NDArray[Any], right: NDArray[Any] | None) -> str:
        reference = self._config.model
        if reference != ANY_BOX:
            return reference
        if right is None:
            raise UserError(
                "the weights in the box are for a pair: give right=..., or name a model for single "
                "pictures, model=FILE"
            )
        from k3dn import box

        return BOX + box.choose(left.shape[0], left.shape[1], self._where())

    def _where(self) -> "torch.device":
        """The device, as torch has it."""
        import torch

        from k3dn import box

        return box.best_device() if self._device is None else torch.device(self._device)

    def _restorer(self, reference: str) -> "Restorer":
        if reference not in self._restorers:
            from k3dn import Restorer

            network = load_network(reference, "").to(self._where())
            try:
                restorer = Restorer(network, precision=self._config.precision)
            except ValueError as error:
                raise UserError(f"{self._name(reference)}: {error}") from error
            self._networks[reference], self._restorers[reference] = network, restorer
        return self._restorers[reference]

    @staticmethod
    def _name(reference: str) -> str:
        return reference if reference.startswith(BOX) else locate(reference).name

    def _settings(
        self, left: NDArray[Any], right: NDArray[Any] | None, restorer: "Restorer | None" = None
    ) -> dict[str, Any]:
        """Keywords of ``k3dn.deblur``, those alone that differ: an older version may lack some."""
        config = self._config
        settings: dict[str, int | str | None] = {
            "tile_px": config.tile_px,
            "halo_px": config.halo_px,
            "precision": None if config.precision == "auto" else config.precision,
            "memory_mib": self._memory_mib(left, right, restorer),
            "passes": None if config.passes == 1 else config.passes,
        }
        return {key: value for key, value in settings.items() if value is not None}

    def _memory_mib(
        self, left: NDArray[Any], right: NDArray[Any] | None, restorer: "Restorer | None"
    ) -> int | None:
        """What is left for tiles of what the process may take; None: as much as usual."""
        whole = self.memory_mib
        if whole is None:
            return None
        height, width = left.shape[:2]
        beside = (left.nbytes + height * width * _BESIDE_BYTES) / 2**20
        if self._by_process:
            taken = _PROCESS_MIB + 3 * beside
        elif self._where().type == "cuda":
            taken = 0.0  # tiles lie in the GPU's own memory
        else:
            views = (left.nbytes + (0 if right is None else right.nbytes)) / 2**20
            taken = self._libraries.taken_mib(views) + self._at_once * (views + beside)
            taken += _MARGIN_MIB
        left_over = (whole - taken) / self._at_once / _GROWTH
        least = 1
        if restorer is not None and self._config.tile_px is None:
            least = restorer.least_memory_mib(height, width, halo_px=self._config.halo_px)
        if left_over < least:
            enough = (taken + self._at_once * _GROWTH * (least + 1)) * _SPARE
            raise UserError(
                f"memory={self._config.memory} is too little: pictures of this size and the model "
                f"take {taken:.0f} MiB, tiles {self._at_once * _GROWTH * least:.0f} MiB at least; "
                f"give about {enough:.0f}MiB"
            )
        return int(left_over)


@contextmanager
def _memory_told(name: str) -> Iterator[None]:
    """Say in one line that memory has run out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or _is_out_of_memory(error):
            raise UserError(
                f"{name}: there is too little memory for this picture; close other programs, or "
                "give less to tiles, such as memory=1500MB"
            ) from error
        raise


def _is_out_of_memory(error: RuntimeError) -> bool:
    import torch

    words = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(sign in words for sign in _NO_MEMORY)
