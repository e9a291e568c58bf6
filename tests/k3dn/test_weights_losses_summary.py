"""Weights files, loss terms and the cost table."""

import json
from dataclasses import asdict

import pytest
import torch
from safetensors import safe_open

from k3dn import K3DNConfig, TrainingObjective, build_model, load_weights, save_weights
from k3dn.losses import EPSILON, LOSSES, charbonnier, edges
from k3dn.network.srp import SRPBlock
from k3dn.summary import summarize


def test_weights_round_trip(tmp_path):
    torch.manual_seed(0)
    options = {"width": 4, "psf_blocks": 1}
    model = build_model("nano", options)
    save_weights(tmp_path / "w.safetensors", model, name="nano", options=options)
    again = load_weights(tmp_path / "w.safetensors")
    assert again.config == model.config
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


def test_a_file_keeps_all_options_of_its_network(tmp_path):
    """Of two networks of equal shapes, each comes back as it was, whatever the defaults are."""
    for form in ("k3dn", "paper"):
        options = {"form": form, "gated_values": False, "scaled_softmax": False}
        model = build_model("nano", options)
        save_weights(tmp_path / form, model, name="nano", options=options)
        with safe_open(str(tmp_path / form), framework="pt") as file:
            written = json.loads(file.metadata()["options"])
        assert written == asdict(model.config)
        assert load_weights(tmp_path / form).config == model.config


def test_a_model_that_is_not_what_it_is_said_to_be_is_not_saved(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(ValueError, match="the model is not what 'nano'"):
        save_weights(path, build_model("nano"), name="nano", options={"width": 4})
    with pytest.raises(ValueError, match="did you mean 'nano'"):
        save_weights(path, build_model("nano"), name="nanno")
    with pytest.raises(ValueError, match="did you mean 'width'"):
        save_weights(path, build_model("nano"), name="nano", options={"widht": 4})
    with pytest.raises(ValueError, match=r"save the model as model.float\(\)"):
        save_weights(path, build_model("nano").double(), name="nano")
    diverged = build_model("nano")
    with torch.no_grad():
        diverged.decoder.to_image.bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"'decoder\.to_image\.bias' holds NaN"):
        save_weights(path, diverged, name="nano")
    assert not path.exists()


class Tied(torch.nn.Module):
    """Somebody's network with one tensor under two names."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 3, 1)
        self.second.weight = self.first.weight

    def forward(self, left, right):
        return self.second(self.first(left))


def test_somebodys_tied_weights_round_trip(tmp_path):
    model = Tied()
    save_weights(tmp_path / "w", model, name=f"{Tied.__module__}:Tied")
    again = load_weights(tmp_path / "w", Tied)
    assert again.first.weight is again.second.weight
    assert torch.equal(again.first.weight, model.first.weight)


def test_charbonnier_closed_form():
    assert charbonnier(torch.ones(2, 2), torch.zeros(2, 2)) == pytest.approx(
        (1 + EPSILON**2) ** 0.5
    )


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_full_precision_under_autocast(name):
    class Flat(torch.nn.Module):
        def forward(self, left, right):
            return left

    left, target = torch.full((1, 3, 16, 16), 0.7), torch.full((1, 3, 16, 16), 0.701)
    objective = TrainingObjective(Flat(), deblur_loss=name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = objective(left, left, target).deblur
    torch.testing.assert_close(found, objective(left, left, target).deblur)
    assert found > 0


def test_exception_target_of_another_size_or_unknown_loss():
    objective = TrainingObjective(build_model("nano", {"width": 2}))
    view = torch.rand(2, 3, 32, 32)
    with pytest.raises(ValueError, match="target must have the views' shape"):
        objective(view, view, view[:1])
    with pytest.raises(ValueError, match="unknown loss 'l3'"):
        TrainingObjective(build_model("nano"), deblur_loss="l3")
    for lambda_1 in (-0.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="lambda_1 must be finite and not negative"):
            TrainingObjective(build_model("nano"), lambda_1)


def test_edges_of_a_flat_picture_are_zero():
    flat = torch.full((1, 3, 12, 12), 0.7)
    torch.testing.assert_close(edges(flat), torch.zeros_like(flat))


def test_summary_counts_by_hand():
    """One SRP block at H x W: convolutions and the correlation, multiplied out."""

    class OneBlock(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.srp = SRPBlock(6, K3DNConfig(srp_residual_blocks=0, attention_window=5))

        def forward(self, left, right):
            return self.srp(torch.cat((left, right), dim=1))[:, :3]

    summary = summarize(OneBlock(), 20, 30)
    convolutions = 4 * 6 * 6 * 9 + 25 * 6 * 9
    assert summary.macs == 600 * (convolutions + 25 * 6)
    assert summary.parameters == 4 * (6 * 6 * 9 + 6) + 25 * 6 * 9 + 6


def test_summary_rows_add_up():
    summary = summarize(build_model("nano"), 64, 96)
    top = [row for row in summary.rows if "." not in row.module]
    assert sum(row.macs for row in top) == summary.macs
    assert sum(row.parameters for row in top) == summary.parameters


def test_spectra_do_not_count():
    """Training form of the authors' tiny: 3.087 M; at inference its kernels are fixed."""
    model = build_model("tiny", {"form": "paper"})
    trained = sum(parameter.numel() for parameter in model.parameters())
    assert trained == pytest.approx(3.087e6, rel=0.0005)
    assert trained - summarize(model, 64, 64).parameters == 4 * 96 * 10 * 6 * 2


AUTHORS = {
    "tiny": (3.04e6, 571.1e9),
    "lightweight": (4.97e6, 1033.7e9),
    "large": (15.92e6, 3352.0e9),
}
"""Parameters and multiply-accumulates at 1152 x 1792 that reproduce Table 1."""


@pytest.mark.slow
@pytest.mark.parametrize("name", AUTHORS)
def test_paper_form_costs_what_table_1_says(name):
    summary = summarize(build_model(name, {"form": "paper"}), 1152, 1792)
    assert summary.parameters == pytest.approx(AUTHORS[name][0], rel=0.002)
    assert summary.macs == pytest.approx(AUTHORS[name][1], rel=0.001)


@pytest.mark.slow
def test_paper_form_is_counted_at_the_size_it_runs_at():
    model = build_model("tiny", {"form": "paper"})
    assert summarize(model, 1120, 1680) == summarize(model, 1152, 1792)


OURS = {
    "nano": (206_110, 59.8e9),
    "tiny": (2_559_494, 565.2e9),
    "lightweight": (4_470_266, 1029.4e9),
    "large": (15_152_786, 3354.1e9),
}
"""As docs/readings.md says."""


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_our_form_costs_what_the_page_says_and_at_most_five_percent_more(name):
    summary = summarize(build_model(name), 1152, 1792)
    assert summary.parameters == OURS[name][0]
    assert summary.macs == pytest.approx(OURS[name][1], abs=0.051e9)
    if name in AUTHORS:
        assert summary.parameters < 1.05 * AUTHORS[name][0]
        assert summary.macs < 1.05 * AUTHORS[name][1]
