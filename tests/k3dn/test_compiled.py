"""A K3DN behind torch.compile: one graph, the same answers, and still a K3DN to all else."""

import numpy as np
import pytest
import torch

from k3dn import TrainingObjective, build_model, deblur, explain, load_weights, save_weights

pytestmark = pytest.mark.slow  # torch.export and torch.compile take their time

SIZES = {"width": 4, "disparity_channels": 8}


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()


def awake(**options):
    torch.manual_seed(0)
    model = build_model("nano", {**SIZES, **options}).eval()
    torch.nn.init.normal_(model.decoder.to_image.weight, std=0.05)
    return model


def compiled(model):
    """Traced as for a GPU, and run by torch's own operators: no C compiler is needed."""
    return torch.compile(model, backend="eager", fullgraph=True)


@pytest.mark.parametrize("options", [{}, {"dense_kernels": 4, "window_px": 32}], ids=str)
def test_restoring_and_a_training_step_are_one_graph_each(options):
    model = awake(**options)
    left, right, target = torch.rand(3, 1, 3, 48, 64)
    with torch.no_grad():
        torch.testing.assert_close(compiled(model)(left, right), model(left, right))
    coc = 8 * torch.rand(1, 1, 48, 64) - 4
    objective = TrainingObjective(model, disparity_loss=0.1)
    loss = compiled(objective)(left, right, target, coc)
    loss.total.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    torch.testing.assert_close(loss, objective(left, right, target, coc))


def test_nan_is_told_whether_it_is_given_or_made():
    view = np.full((32, 32, 3), 0.5, np.float32)
    given = view.copy()
    given[3, 4, 1] = np.nan
    broken = awake()
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    for network in (awake(), compiled(awake())):
        with pytest.raises(ValueError, match="left has NaN"):
            deblur(network, given, view)
        with pytest.raises(ValueError, match="right has NaN"):
            deblur(network, view, given)
    with pytest.raises(ValueError, match="the network returned NaN"):
        deblur(compiled(broken), view, view / 2)


@pytest.fixture
def untraced():
    """What is compiled runs as it was: the tests below look at the doors, not at the graph."""
    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.mark.usefixtures("untraced")
def test_a_compiled_network_reblurs_in_training():
    left, right, target = torch.rand(3, 1, 3, 32, 48)
    assert TrainingObjective(compiled(awake()))(left, right, target).reblur > 0


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("options", [{"window_px": 64}, {"pad_to_grid": False}], ids=str)
def test_tiles_keep_to_the_grid_of_a_compiled_network(options):
    model = awake(**options)
    left, right = np.random.default_rng(0).integers(0, 256, (2, 64, 150, 3)).astype(np.uint8)
    expected = deblur(model, left, right, tile_px=32, halo_px=64, precision="fp32")
    found = deblur(compiled(model), left, right, tile_px=32, halo_px=64)
    assert np.abs(found.astype(int) - expected).max() <= 1  # the other one has another layout


@pytest.mark.usefixtures("untraced")
def test_a_compiled_network_is_explained_and_saved(tmp_path):
    model = awake()
    views = np.random.default_rng(0).random((2, 32, 48, 3)).astype(np.float32)
    assert explain(compiled(model), *views).kernels is not None
    save_weights(tmp_path / "w.safetensors", compiled(model), name="nano", options=SIZES)
    again = load_weights(tmp_path / "w.safetensors")
    assert again.config == model.config
    assert all(map(torch.equal, again.parameters(), model.parameters()))
