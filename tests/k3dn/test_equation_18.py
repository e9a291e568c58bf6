"""Eq. 18 worked out by hand: the untrained network is the mean of its views, by design.

So of a pair of even pictures, left 0.2 and right 0.6, it restores 0.4; a target of 0.5 it reblurs
to 0.5, which is to be the mean of the views, 0.4.
"""

import math

import pytest
import torch

from k3dn import TrainingObjective, build_model

LEFT, RIGHT, TARGET = 0.2, 0.6, 0.5
DEBLUR = {"l1": 0.1, "l2": 0.01, "charbonnier": math.hypot(0.1, 1e-3)}
REBLUR = {"l1": 0.1, "l2": 0.01, "charbonnier": math.hypot(0.1, 1e-3)}


def even(value: float, pairs: int = 2) -> torch.Tensor:
    return torch.full((pairs, 3, 32, 48), value)


@pytest.mark.parametrize("deblur_loss", list(DEBLUR))
@pytest.mark.parametrize("reblur_loss", list(REBLUR))
@pytest.mark.parametrize("lambda_1", [0.0, 0.1, 3.0])
def test_both_terms_and_their_sum(deblur_loss: str, reblur_loss: str, lambda_1: float) -> None:
    model = build_model("nano", {"width": 4, "disparity_channels": 8})
    objective = TrainingObjective(
        model, lambda_1, deblur_loss=deblur_loss, reblur_loss=reblur_loss
    ).eval()
    loss = objective(even(LEFT), even(RIGHT), even(TARGET))
    reblur = REBLUR[reblur_loss] if lambda_1 else 0.0
    assert float(loss.deblur) == pytest.approx(DEBLUR[deblur_loss], rel=1e-4)
    assert float(loss.reblur) == pytest.approx(reblur, rel=1e-4)
    assert float(loss.total) == pytest.approx(DEBLUR[deblur_loss] + lambda_1 * reblur, rel=1e-4)


def test_the_edge_term_counts_a_twentieth() -> None:
    """One bright column in the target: the edges of a line of height h, by the binomial taps."""
    model = build_model("nano", {"width": 4, "disparity_channels": 8})
    target = even(0.4, pairs=1)
    target[..., 20] += 0.32
    loss = TrainingObjective(model, 0.0).eval()(even(LEFT, pairs=1), even(RIGHT, pairs=1), target)
    epsilon = 1e-3
    plain = (math.hypot(0.32, epsilon) + 47 * epsilon) / 48
    heights = [0.32 * share for share in (1 - 0.375, 0.25, 0.25, 0.0625, 0.0625)]
    edges = (sum(math.hypot(height, epsilon) for height in heights) + 43 * epsilon) / 48
    assert float(loss.total) == pytest.approx(plain + 0.05 * edges, rel=1e-4)


def test_the_radius_counts_by_its_weight() -> None:
    """The untrained readout says 0 px; 3 px are known everywhere: sqrt(9 + 1/4) - 1/2, over 8."""
    model = build_model("nano", {"width": 4, "disparity_channels": 8})
    views = even(LEFT), even(RIGHT), even(TARGET)
    found_px = model.restore(*views[:2]).coc_px
    objective = TrainingObjective(model, 0.0, deblur_loss="l1", disparity_loss=0.2).eval()
    loss = objective(*views, torch.full((2, 1, 32, 48), 3.0))
    errors = (found_px.double() - 3.0).square() + 0.25
    expected = float((errors.sqrt() - 0.5).mean()) / 8
    assert float(loss.disparity) == pytest.approx(expected, rel=1e-4)
    assert float(loss.total) == pytest.approx(0.1 + 0.2 * expected, rel=1e-4)
