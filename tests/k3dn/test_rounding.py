"""A restored value becomes the nearest step of the picture's type, in its range."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from k3dn import deblur


class Always(nn.Module):
    """Answers with one value everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.full_like(left, self.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("steps", "expected"),
    [(100.25, 100), (100.75, 101), (-3.0, 0), (0.75, 1), (254.75, 255), (1e9, None)],
)
def test_the_nearest_step(dtype: type, steps: float, expected: int | None) -> None:
    peak = np.iinfo(dtype).max
    view = np.zeros((16, 24, 3), dtype)
    sharp = deblur(Always(steps / peak), view, view, precision="fp32")
    assert sharp.dtype == dtype and sharp.shape == view.shape
    assert set(np.unique(sharp)) == {peak if expected is None else expected}
