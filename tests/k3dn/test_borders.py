"""Border values repeated outwards: torch's own pad is the oracle, as it runs and compiled."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k3dn.borders import repeat_borders


def loss_of(padded: Tensor) -> Tensor:
    weights = torch.arange(padded.numel(), dtype=padded.dtype).reshape(padded.shape).cos()
    return (padded * weights).sum()


@pytest.mark.parametrize("margin", [*itertools.product((0, 2), repeat=4), (5, 1, 7, 3)], ids=str)
def test_traced_it_is_torchs_own_with_its_gradient(margin: tuple[int, int, int, int]) -> None:
    torch.compiler.reset()
    x = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    traced = torch.compile(repeat_borders, backend="eager", fullgraph=True)
    answers = []
    for pad in (traced, lambda x, margin: F.pad(x, margin, mode="replicate")):
        one = x.clone(memory_format=torch.channels_last).requires_grad_()
        padded = pad(one, margin)
        loss_of(padded).backward()
        answers.append((padded.detach(), one.grad))
    torch.testing.assert_close(*answers)


class Padded(nn.Module):
    """A layer behind another, as where the network blurs features or compares edges."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, 3, 3, padding=1)
        self.behind = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        padded = repeat_borders(self.before(x).sigmoid(), (2, 2, 2, 2))
        return self.behind(padded).square().mean()  # type: ignore[no-any-return]


@pytest.mark.slow
def test_compiled_for_a_processor_channels_together_have_their_gradient() -> None:
    """By torch's own backend, which checks the layout of what operators return."""
    torch.compiler.reset()
    torch.manual_seed(0)
    module = Padded().to(memory_format=torch.channels_last)
    x = torch.rand(2, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    gradients = []
    for one in (torch.compile(module), module):
        module.zero_grad()
        one(x).backward()
        gradients.append([parameter.grad for parameter in module.parameters()])
    torch.testing.assert_close(*gradients)
