"""The network that sharpens: in this process for weights that name no code, else in its own."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from pipelines.deblur.config import DeblurConfig
from pipelines.errors import UserError
from pipelines.picture_keys import ANY_BOX, parse_memory_mib
from pipelines.registry.loading import BOX, load_network, settle
from pipelines.registry.model_process import ModelProcess
from pipelines.registry.registry import open_store
from pipelines.storage import locate

_PROCESS_MIB = 700
"""What a process with torch and a model takes, where it is another one."""
_MARGIN_MIB = 96
"""What is loaded with the first tile."""
_BESIDE_BYTES = 10
"""A px, beside picture and tiles: answers at smaller sizes, sums over a row of tiles."""
_GROWTH = 1.6
"""By how much the process grows beyond what tiles are planned for: memory that is free again, and
that the allocator keeps (docs/performance.md)."""


class Halted(BaseException):
    """Raised in a thread whose picture nobody waits for any more."""


class ModelUnusable(UserError):
    """There is no such model, or it takes no pictures of this kind."""


def by_process(config: DeblurConfig) -> bool:
    """Tell whether the model of a configuration answers in a process of its own."""
    named = config.factory is not None and config.model != ANY_BOX
    return config.model.startswith("models:/") or named


class Sharpener:
    """Sharpens one picture after the other with the model of a configuration; a context manager.

    Nothing is loaded before the first picture. device: such as ``cuda:1``; None: a GPU where there
    is one. at_once: how many of them are at work in this process, which share its memory. Raises
    UserError for a model that is not there, or does not fit the pictures.
    """

    def __init__(
        self, config: DeblurConfig, device: str | None = None, *, at_once: int = 1
    ) -> None:
        self._config, self._device, self._at_once = config, device, at_once
        self._halt = threading.Event()
        self._open = ExitStack()
        self._restorers: dict[str, Any] = {}
        self._networks: dict[str, Any] = {}
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
        settings = self._settings(left)
        if self._by_process:
            self._start_process()
            assert self._process is not None
            return self._process.predict(left, right, settings)
        import torch

        reference = self._reference(left, right)
        restorer, name = self._restorer(reference), self._name(reference)
        settings.pop("precision", None)

        def after_a_tile(done: int, total: int) -> None:
            if self._halt.is_set():
                raise Halted
            if told is not None:
                told(done, total)

        try:
            answer: NDArray[Any] = restorer(left, right, progress=after_a_tile, **settings)
            return answer
        except ValueError as error:
            raise UserError(f"{name}: {error}") from error
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise UserError(
                f"{name}: there is too little memory for a tile; give less, such as memory=1500MB"
            ) from error

    def halt(self) -> None:
        """From another thread: give up the picture that is being made, and make no other."""
        self._halt.set()

    def network(self) -> Any:
        """The network in this process that was used last, None where another process has it."""
        return next(reversed(self._networks.values()), None)

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

    def _where(self) -> Any:
        """The device, as torch has it."""
        import torch

        from k3dn import box

        return box.best_device() if self._device is None else torch.device(self._device)

    def _restorer(self, reference: str) -> Any:
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

    def _settings(self, left: NDArray[Any]) -> dict[str, int | str]:
        """Keywords of ``k3dn.deblur``, those alone that differ: an older version may lack some."""
        config = self._config
        settings: dict[str, int | str | None] = {
            "tile_px": config.tile_px,
            "halo_px": config.halo_px,
            "precision": None if config.precision == "auto" else config.precision,
            "memory_mib": self._memory_mib(left),
            "passes": None if config.passes == 1 else config.passes,
        }
        return {key: value for key, value in settings.items() if value is not None}

    def _memory_mib(self, left: NDArray[Any]) -> int | None:
        """What is left for tiles of what the process may take; None: as much as usual."""
        if self._config.memory is None:
            return None
        import psutil

        whole = parse_memory_mib(self._config.memory)
        height, width = left.shape[:2]
        picture = (left.nbytes + height * width * _BESIDE_BYTES) / 2**20
        if self._by_process:
            taken = _PROCESS_MIB + 3 * picture
        else:
            beside = self._at_once * picture + _MARGIN_MIB
            taken = psutil.Process().memory_info().rss / 2**20 + beside
        if taken + 1 > whole:
            raise UserError(
                f"memory={self._config.memory} is too little: pictures of this size and the model "
                f"take {taken:.0f} MiB before the first tile; give about {taken * 1.5:.0f}MiB"
            )
        return max(1, int((whole - taken) / self._at_once / _GROWTH))
