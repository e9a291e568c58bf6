"""How far a kernel and its inverse undo each other, in each parametrisation: docs/readings.md.

    python -m tests.benchmarks.inverse [WEIGHTS.safetensors ...]

error: ||k * g - impulse|| / ||k * g||, 0 for a true inverse and 1 for none, median and worst over
the kernels of a block, of the kernels as they are cropped. gain: largest amplification of a
frequency by the inverse. gradient tail: 99.9th percentile over median of the gradient's size, when
a random target is fitted by the blurred picture of noise.
"""

import sys

import torch
from torch import Tensor, nn

import k3dn
from k3dn.network.config import K3DNConfig
from k3dn.network.dense import EXTRA_REACH, WIENER_FLOOR, DenseKernelSet, wiener_inverse
from k3dn.network.kernels import AuthorsKernels, BoundedKernels, KernelSet
from k3dn.network.psf import depthwise

_SIZE = 64
Pair = tuple[Tensor, Tensor]


def error_and_gain(pair: Pair) -> tuple[float, float, float]:
    """Median and worst error, and the largest gain, of kernels and inverses ``(C, K, K)``."""
    blur, inverse = (torch.fft.rfft2(kernels, s=(_SIZE, _SIZE)) for kernels in pair)
    both = torch.fft.irfft2(blur * inverse, s=(_SIZE, _SIZE))
    centre = pair[0].shape[-1] // 2 + pair[1].shape[-1] // 2
    impulse = torch.zeros_like(both)
    impulse[:, centre, centre] = 1.0
    # The authors' kernels have unit norm, not unit gain: the best multiple of the impulse counts.
    scale = both[:, centre, centre, None, None]
    errors = (both - scale * impulse).flatten(1).norm(dim=1) / both.flatten(1).norm(dim=1)
    return float(errors.median()), float(errors.max()), float(inverse.abs().max())


def gradient_tail(module: nn.Module, kernels: Tensor) -> float:
    """Spread of the gradient over the trained numbers."""
    x = torch.randn(4, kernels.shape[0], 32, 32)
    (depthwise(x, kernels) - torch.randn_like(x)).square().mean().backward()
    sizes = torch.cat([p.grad.abs().flatten() for p in module.parameters() if p.grad is not None])
    return float(torch.quantile(sizes, 0.999) / sizes.median())


def pair_of(module: nn.Module) -> Pair:
    """Blurring and deblurring kernels, ``(C, K, K)`` each."""
    if isinstance(module, KernelSet):
        return module.blurring_kernels(), module.deblurring_kernels()
    kernels = module().flatten(0, 1)
    side = kernels.shape[-1] + 2 * EXTRA_REACH
    return kernels, wiener_inverse(kernels, WIENER_FLOOR, side)


def main() -> None:
    torch.manual_seed(0)
    config = K3DNConfig(width=32, dense_kernels=0)
    sets: dict[str, nn.Module] = {
        "authors' form, start": AuthorsKernels(config),
        "bounded log spectrum, start": BoundedKernels(config),
        "dense, Wiener, start": DenseKernelSet(K3DNConfig(width=4, dense_kernels=8, window_px=32)),
    }
    for spread in (0.5, 1.0):
        far = BoundedKernels(config)
        for parameter in far.parameters():
            nn.init.normal_(parameter, std=spread)
        sets[f"bounded log spectrum, std {spread}"] = far
    for path in sys.argv[1:]:
        model = k3dn.load_weights(path)
        for index, block in enumerate(model.psf_blocks):  # type: ignore[arg-type]
            sets[f"{path}, block {index}"] = block.kernel_set
    print("| kernels | error, median / worst | gain | gradient tail |")
    print("|---|---|---|---|")
    for name, module in sets.items():
        pair = pair_of(module)
        with torch.no_grad():
            median, worst, gain = error_and_gain(pair)
        tail = gradient_tail(module, pair[1])
        print(f"| {name} | {median:.3f} / {worst:.3f} | {gain:.1f} | {tail:.0f} |")


if __name__ == "__main__":
    main()
