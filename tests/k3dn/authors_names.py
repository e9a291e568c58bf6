"""A state dictionary in the naming of the authors' public network, with random weights.

Sizes as in docs/readings.md: b base width, ed residual blocks a stage, ld PSF blocks, po residual
blocks in an SRP block. Weights are scaled so that features keep their size and kernels' weights
differ from window to window.
"""

from itertools import pairwise

import torch
from torch import Tensor

SIZES = {"tiny": (24, 2, 4, 1), "lightweight": (32, 2, 4, 2), "large": (48, 4, 8, 4)}
DISPARITY_CHANNELS = 256


class _State(dict[str, Tensor]):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, std: float = 1.0) -> Tensor:
        return std * torch.randn(*shape, generator=self._random, dtype=torch.float64)

    def filters(self, name: str, *shape: int, bias: bool = False, gain: float = 1.4) -> None:
        inputs = torch.Size(shape[1:]).numel()
        self[f"{name}.weight"] = self.normal(*shape, std=gain * inputs**-0.5)
        if bias:
            self[f"{name}.bias"] = self.normal(shape[0], std=0.1)

    def normalised(self, convolution: str, norm: str, *shape: int) -> None:
        self.filters(convolution, *shape)
        channels = shape[0]
        self[f"{norm}.weight"] = 1.0 + self.normal(channels, std=0.2)
        self[f"{norm}.bias"] = self.normal(channels, std=0.2)
        self[f"{norm}.running_mean"] = self.normal(channels, std=0.1)
        self[f"{norm}.running_var"] = 0.3 + self.normal(channels).square()
        self[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    def residual(self, name: str, channels: int, blocks: int) -> None:
        for block in range(blocks):
            for layer, gain in ((0, 1.4), (1, 0.5)):
                filters = f"{name}.layers.{block}.main.{layer}.main.0"
                self.filters(filters, channels, channels, 3, 3, gain=gain)


def authors_state(
    b: int, ed: int, ld: int, po: int, *, single: bool = False, srp: bool = True, seed: int = 0
) -> dict[str, Tensor]:
    """Random weights in float64 under the authors' names."""
    state = _State(seed)
    entering = 3 if single else 6
    for index, (inputs, outputs) in enumerate(((entering, b), (b, 2 * b), (2 * b, 4 * b))):
        state.filters(f"feat_extract.{index}.main.0", outputs, inputs, 3, 3)
        state.residual(f"Encoder.{index}", outputs, ed)
    for index, (inputs, outputs) in enumerate(((4 * b, 2 * b), (4 * b, b), (2 * b, b))):
        # Transposed: inputs first; each output meets 4 of the 16 taps.
        name = f"feat_extract.{index + 3}.main.0"
        state[f"{name}.weight"] = state.normal(inputs, outputs, 4, 4, std=0.7 * inputs**-0.5)
        joined = outputs + (2 * b, b, entering)[index]
        state.residual(f"Decoder.{index}", joined, ed)
        if srp:
            _srp(state, f"srp.{index}", joined, po)
    state.filters("out.main.0", 3, b + entering, 3, 3)
    (_single if single else _pair)(state)
    for index in range(ld):
        _psf(state, f"deblur.{index}", 4 * b)
    return dict(state)


def _srp(state: _State, name: str, channels: int, blocks: int) -> None:
    for part in ("conv_q", "conv_k", "conv_o.0", "conv_o.2"):
        state.filters(f"{name}.{part}", channels, channels, 3, 3, bias=True, gain=0.7)
    state.filters(f"{name}.conv_v", channels, 81, 3, 3, bias=True)
    state.residual(f"{name}.conv_o.1", channels, blocks)


def _pair(state: _State) -> None:
    feature = "disp.feature"
    layers = ("start.0", 3, 32), ("start.1", 32, 64), ("layer1.0", 64, 128), ("layer1.1", 128, 128)
    for layer, inputs, outputs in layers:
        name = f"{feature}.{layer}"
        state.normalised(f"{name}.conv", f"{name}.bn", outputs, inputs, 3, 3)
    for branch in ("branch1", "branch3"):
        name = f"{feature}.{branch}.1"
        state.normalised(f"{name}.0", f"{name}.1", 32, 128, 1, 1)
    state.normalised(f"{feature}.end.0.conv", f"{feature}.end.0.bn", 96, 192, 3, 3)
    state.filters(f"{feature}.end.1.conv", 32, 96, 1, 1)
    for layer, inputs, outputs in (
        ("start.0", 64, 32), ("start.1", 32, 48), ("start.2", 48, 48),
        ("conv1a.0", 48, 64), ("conv1a.1", 64, 64),
    ):  # fmt: skip
        name = f"disp.matching.{layer}"
        state.normalised(f"{name}.conv", f"{name}.bn", outputs, inputs, 3, 3, 3)
    state.filters("disp.fc.0", DISPARITY_CHANNELS, 64, bias=True, gain=4.0)


def _single(state: _State) -> None:
    channels = (3, 32, 64, 128, 128, 128, 256, 128, 64, 64, 64, 64)
    for index, (inputs, outputs) in enumerate(pairwise(channels)):
        side = 1 if index == 5 else 3
        name = f"disp.model.{index}"
        state.normalised(f"{name}.conv", f"{name}.bn", outputs, inputs, side, side)
    state.filters("disp.fc.0", DISPARITY_CHANNELS, 64, bias=True, gain=4.0)


def _psf(state: _State, name: str, channels: int) -> None:
    state[f"{name}.conv1.weight"] = state.normal(1, channels, 1, 10, 6, 2)
    order = torch.randperm(channels, generator=state._random)
    state[f"{name}.conv2.p"] = torch.eye(channels, dtype=torch.float64)[order]
    state[f"{name}.conv2.sign_s"] = state.normal(channels).sign()
    state[f"{name}.conv2.log_s"] = state.normal(channels, std=0.3)
    # Whole matrices are saved; what lies on the other side of the diagonal is not used.
    for part in ("lower", "upper"):
        state[f"{name}.conv2.{part}"] = state.normal(channels, channels, std=0.3 * channels**-0.5)
    state[f"{name}.conv2.modulation.weight"] = state.normal(channels, DISPARITY_CHANNELS)
    state[f"{name}.conv2.modulation.bias"] = 1.0 + state.normal(channels, std=0.1)
    state[f"{name}.inter.to_w"] = state.normal(1, channels, 1, 9, 5)
    state.filters(f"{name}.inter.to_r", channels, DISPARITY_CHANNELS, bias=True)
    state.filters(f"{name}.inter.out", DISPARITY_CHANNELS, channels, bias=True)
