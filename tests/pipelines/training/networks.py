"""Networks for tests, through the package.module:factory door: they train in milliseconds."""

import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor, nn


class TinyNetwork(nn.Module):
    """The mean of the views plus a small convolution of both."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(6, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1)
        )

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return 0.5 * (left + right) + 0.1 * self.body(torch.cat((left, right), dim=1))


class GatedNetwork(TinyNetwork):
    """Stands still at one training step until a file is there, so that a test can kill it there.

    Says so in ``<gate>.<pid>``. ``at`` counts the forward passes of a process in training, from 1.
    """

    def __init__(self, gate: str, at: int) -> None:
        super().__init__()
        self._gate, self._at, self._calls = Path(gate), at, 0

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        if self.training:
            self._calls += 1
            if self._calls == self._at and not self._gate.exists():
                self._gate.with_name(f"{self._gate.name}.{os.getpid()}").touch()
                while not self._gate.exists():
                    time.sleep(0.01)  # until the test opens the gate or kills the process
        return super().forward(left, right)


class UnstableNetwork(TinyNetwork):
    """Returns infinite values from one step on, to the end or to another one; counted from 1."""

    def __init__(self, at: int, until: int | None = None) -> None:
        super().__init__()
        self._at, self._until, self._calls = at, until, 0

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        restored = super().forward(left, right)
        self._calls += self.training
        unstable = self._at <= self._calls and (self._until is None or self._calls <= self._until)
        return restored * float("inf") if unstable else restored


class MortalNetwork(GatedNetwork):
    """Kills its process at its second training step; once, as a file says. The next one stands
    still at its sixth."""

    def __init__(self, folder: str) -> None:
        super().__init__(f"{folder}/gate", 6)
        self._died = Path(folder, "died")

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        if self.training and self._calls == 1 and not self._died.exists():
            self._died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(left, right)


class IdleNetwork(TinyNetwork):
    """Learns nothing."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return 0.5 * (left + right) + 0.0 * self.body(torch.cat((left, right), dim=1))


class MeanNetwork(nn.Module):
    """The mean of the views, less a number."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.tensor(0.0))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return 0.5 * (left + right) - self.number


class NormalisedNetwork(TinyNetwork):
    """One that normalises over the batch, and keeps its statistics."""

    def __init__(self) -> None:
        super().__init__(2)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return super().forward(left, right) + 0.1 * self.norm(left)


class SlowNetwork(TinyNetwork):
    """Takes its time in training, so that there are moments in which to kill it."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        if self.training:
            time.sleep(0.1)
        return super().forward(left, right)


HOLD = ".hold"


class HurriedNetwork(TinyNetwork):
    """Takes its time in training until a file is there, and stands still while one is there whose
    name goes on with ``HOLD``. Says in ``<gate>.<pid>`` that it trains."""

    def __init__(self, gate: str, pause_s: float) -> None:
        super().__init__()
        self._gate, self._hold, self._pause_s = Path(gate), Path(gate + HOLD), pause_s

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        if self.training and not self._gate.exists():
            self._gate.with_name(f"{self._gate.name}.{os.getpid()}").touch()
            time.sleep(self._pause_s)
            while self._hold.exists() and not self._gate.exists():
                time.sleep(0.05)  # until another process takes the file away
        return super().forward(left, right)


def hurried(gate: str, pause_s: float = 0.15) -> nn.Module:
    return HurriedNetwork(gate, pause_s)


def slow() -> nn.Module:
    return SlowNetwork()


def normalised() -> nn.Module:
    return NormalisedNetwork().double()


def mean() -> nn.Module:
    return MeanNetwork()


def tiny(width: int = 4) -> nn.Module:
    return TinyNetwork(width)


def gated(gate: str, at: int) -> nn.Module:
    return GatedNetwork(gate, at)


def unstable(at: int, until: int | None = None) -> nn.Module:
    return UnstableNetwork(at, until)


def troubled(kind: str, folder: str) -> nn.Module:
    """One that is killed at its second step and stands still later, one that is infinite from
    there, or one that learns nothing."""
    if kind == "dies":
        return MortalNetwork(folder)
    return UnstableNetwork(2) if kind == "soars" else IdleNetwork()


def doubled(width: int = 2) -> nn.Module:
    """In double precision, so that two ways to one gradient agree to many digits."""
    return TinyNetwork(width).double()
