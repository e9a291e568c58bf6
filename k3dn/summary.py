"""Size and cost of a network, by module."""

import copy
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from k3dn.network.kernels import KernelSet
from k3dn.network.srp import SRPBlock


@dataclass(frozen=True)
class Row:
    """One module: its numbers at inference and multiply-accumulates of one forward pass."""

    module: str
    parameters: int
    macs: int


@dataclass(frozen=True)
class Summary:
    """A network at one picture size."""

    parameters: int
    macs: int
    rows: tuple[Row, ...]


def summarize(model: nn.Module, height: int, width: int, *, depth: int = 2) -> Summary:
    """Count parameters and multiply-accumulates for one pair of ``height`` x ``width`` px.

    Counted are convolutions, matrix products and the local correlation (s^2 C a position), as
    in the paper's Table 1 ("Flops" there are multiply-accumulates), at the size to which the
    network itself brings a picture. Spectra of kernels do not count as parameters, also as
    there: a trained network holds fixed kernels in their place. Nothing is computed: the network
    runs on the meta device. Rows are modules down to ``depth`` levels.
    """
    model = copy.deepcopy(model).to("meta").eval()
    counter = FlopCounterMode(display=False)
    correlation = _count_correlation(model)
    view = torch.empty(1, 3, height, width, device="meta")
    with counter, torch.no_grad():
        model(view, view)
    names = [name for name, _ in model.named_modules() if name and name.count(".") < depth]
    counts = counter.get_flop_counts()
    prefix = type(model).__name__

    def macs_of(name: str) -> int:
        if name and isinstance(model.get_submodule(name), nn.ModuleList):
            # A list is never called itself, so the counter has no entry for it.
            children = model.get_submodule(name).named_children()
            return sum(macs_of(f"{name}.{child}") for child, _ in children)
        path = f"{prefix}.{name}" if name else "Global"
        below = (n for n in correlation if not name or n == name or n.startswith(f"{name}."))
        return sum(counts.get(path, {}).values()) // 2 + sum(correlation[n] for n in below)

    rows = []
    for name in names:
        module = model.get_submodule(name)
        row = Row(name, _parameters(module), macs_of(name))
        if row.parameters or row.macs:
            rows.append(row)
    return Summary(_parameters(model), macs_of(""), tuple(rows))


def _parameters(module: nn.Module) -> int:
    kernels = [part for part in module.modules() if isinstance(part, KernelSet)]
    spectra = {id(p) for part in kernels for p in part.parameters()}
    return sum(p.numel() for p in module.parameters() if id(p) not in spectra)


def _count_correlation(model: nn.Module) -> defaultdict[str, int]:
    """Multiply-accumulates of the local correlation by SRP block, filled as the model runs."""
    counts: defaultdict[str, int] = defaultdict(int)
    for name, module in model.named_modules():
        if isinstance(module, SRPBlock):

            def count(
                block: SRPBlock, inputs: tuple[torch.Tensor], _: object, name: str = name
            ) -> None:
                counts[name] += block.window**2 * inputs[0].numel()

            module.register_forward_hook(count)
    return counts
