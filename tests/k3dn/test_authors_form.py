"""``form: paper`` against the authors' formulas, written out here once more in float64.

The weights are random and in the authors' naming; the network gets them through ``rename``, the
formulas take them by those names. Convolutions are torch's; all else is numpy and loops.
"""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import correlate2d

from k3dn import K3DN, K3DNConfig
from k3dn.convert import rename
from k3dn.network.authors_disparity import near_cost_volume
from k3dn.network.config import PAPER_FORM
from k3dn.network.fitting import fit_to_grid
from tests.k3dn.authors_names import authors_state

SIZES = {"b": 2, "ed": 1, "ld": 2, "po": 1}
CONFIG = {"width": 2, "residual_blocks": 1, "psf_blocks": 2, "srp_residual_blocks": 1}
CHANNELS = 8
EXACT = {"atol": 1e-10, "rtol": 0}


class Formulas:
    """The authors' network as equations over weights by their names."""

    def __init__(self, state):
        self.state = {name: tensor.numpy() for name, tensor in state.items()}

    def convolve(self, x, name, *, stride=1, dilation=1, padding=None):
        weight = torch.from_numpy(self.state[f"{name}.weight"])
        bias = self.state.get(f"{name}.bias")
        bias = None if bias is None else torch.from_numpy(bias)
        padding = dilation * (weight.shape[-1] // 2) if padding is None else padding
        convolution = F.conv2d if weight.ndim == 4 else F.conv3d
        x = torch.from_numpy(x)[None]
        return convolution(x, weight, bias, stride, padding, dilation)[0].numpy()

    def normalised(self, x, convolution, norm, **how):
        """Convolution, batch normalisation with the running figures, ReLU."""
        x = self.convolve(x, convolution, **how)
        column = (-1,) + (1,) * (x.ndim - 1)
        weight, bias, mean, var = (
            self.state[f"{norm}.{part}"].reshape(column)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return np.maximum(weight * (x - mean) / np.sqrt(var + 1e-5) + bias, 0)

    def basic(self, x, name, **how):
        return self.normalised(x, f"{name}.conv", f"{name}.bn", **how)

    def residual(self, x, name):
        inner = leaky(self.convolve(x, f"{name}.layers.0.main.0.main.0"))
        return x + self.convolve(inner, f"{name}.layers.0.main.1.main.0")

    def view_features(self, view):
        x = block_means(view, 4, 4)
        x = self.basic(self.basic(x, "disp.feature.start.0"), "disp.feature.start.1")
        x = self.basic(x, "disp.feature.layer1.0", dilation=4)
        x = self.basic(x, "disp.feature.layer1.1", stride=2, dilation=8)
        branches = []
        for name, side in (("branch1", 32), ("branch3", 16)):
            at = f"disp.feature.{name}.1"
            means = self.normalised(block_means(x, side, side), f"{at}.0", f"{at}.1", padding=1)
            branches.append(stretch_corner_to_corner(means, x.shape[1:]))
        joined = self.basic(np.concatenate([*branches, x]), "disp.feature.end.0")
        return self.convolve(joined, "disp.feature.end.1.conv")

    def vectors(self, x, height, width):
        """Nearest neighbour to (h/288 + h/32, w/224 + w/32), means over 5 x 4, a layer."""
        size = (height // 288 + x.shape[1], width // 224 + x.shape[2])
        rows, columns = (np.arange(n) * m // n for n, m in zip(size, x.shape[1:], strict=True))
        means = block_means(x[:, rows][:, :, columns], 5, 4)
        weight, bias = self.state["disp.fc.0.weight"], self.state["disp.fc.0.bias"]
        return leaky(np.einsum("dc,chw->dhw", weight, means) + bias[:, None, None])

    def disparity(self, left, right):
        l, r = self.view_features(left), self.view_features(right)  # noqa: E741
        volume = np.zeros((64, 4, *l.shape[1:]))
        for i in range(4):
            for x in range(i, l.shape[2]):
                volume[:32, i, :, x], volume[32:, i, :, x] = l[:, :, x], r[:, :, x - i]
        for layer, stride in (
            ("start.0", 1), ("start.1", 2), ("start.2", 1), ("conv1a.0", 2), ("conv1a.1", 1),
        ):  # fmt: skip
            volume = self.basic(volume, f"disp.matching.{layer}", stride=stride)
        return self.vectors(volume[:, 0], *left.shape[1:])

    def single_disparity(self, picture):
        x = block_means(picture, 4, 4)
        strides = {4: 2, 7: 2, 9: 2}
        dilations = {2: 4, 4: 4}
        for i in range(11):
            how = {"stride": strides.get(i, 1), "dilation": dilations.get(i, 1)}
            x = self.basic(x, f"disp.model.{i}", **how)
        return self.vectors(x, *picture.shape[1:])

    def kernel(self, block, channel, *, inverse=False):
        """What correlates with a channel: the inverse transform, cropped, mirrored, of norm 1."""
        spectrum = self.state[f"deblur.{block}.conv1.weight"][0, channel, 0]
        spectrum = spectrum[..., 0] + 1j * spectrum[..., 1]
        if inverse:
            spectrum = 1 / (spectrum + 1e-8)
        whole = np.fft.irfft2(spectrum, s=(10, 10))
        kernel = np.array([[whole[y, min(x, 8 - x)] for x in range(9)] for y in range(9)])
        return kernel / np.sqrt((kernel**2).sum() + 1e-8)

    def query(self, block, r):
        """a for one vector r (Eq. 8)."""
        name = f"deblur.{block}"
        state = self.state
        w_k = state[f"{name}.inter.to_w"][0, :, 0]
        key = [(w_k[c] * self.kernel(block, c)[:, :5]).sum() for c in range(CHANNELS)]
        value = state[f"{name}.inter.to_r.weight"] @ r + state[f"{name}.inter.to_r.bias"]
        back = state[f"{name}.inter.out.weight"] @ (value * key) + state[f"{name}.inter.out.bias"]
        refined = leaky(back) + r
        modulation = state[f"{name}.conv2.modulation.weight"] / np.sqrt(256)
        logits = modulation @ refined + state[f"{name}.conv2.modulation.bias"]
        return np.exp(logits) / np.exp(logits).sum()

    def mixing(self, block):
        name = f"deblur.{block}.conv2"
        lower, upper, matrix = np.eye(CHANNELS), np.zeros((CHANNELS, CHANNELS)), self.state
        for row in range(CHANNELS):
            upper[row, row] = matrix[f"{name}.sign_s"][row] * np.exp(matrix[f"{name}.log_s"][row])
            for column in range(CHANNELS):
                if column < row:
                    lower[row, column] = matrix[f"{name}.lower"][row, column]
                if column > row:
                    upper[row, column] = matrix[f"{name}.upper"][row, column]
        return matrix[f"{name}.p"] @ lower @ upper

    def psf_block(self, block, window, a, *, reblur=False):
        """One window (C, 18, 14) with the weights a (C,), zeros around it."""
        kernels = [self.kernel(block, c, inverse=reblur) for c in range(CHANNELS)]
        mixing = self.mixing(block)
        if reblur:
            inverse = np.minimum(1 / (a + 1e-8), 100)
            inverse /= np.sqrt((inverse**2).sum() + 1e-8)
            x = np.einsum("dc,cyx->dyx", np.linalg.inv(mixing), window)
            x = correlate(leaky(x * inverse[:, None, None]), kernels)
        else:
            x = leaky(correlate(window, kernels)) * a[:, None, None]
            x = np.einsum("dc,cyx->dyx", mixing, x)
        return leaky(x) + window

    def srp_block(self, index, old, new):
        name = f"srp.{index}"
        x = np.concatenate([old, new])
        query, key = self.convolve(x, f"{name}.conv_q"), self.convolve(x, f"{name}.conv_k")
        channels, height, width = x.shape
        scores = np.zeros((81, height, width))
        for position in range(81):
            dy, dx = position // 9 - 4, position % 9 - 4
            rows, columns = (
                slice(max(0, -dy), height - max(0, dy)),
                slice(max(0, -dx), width - max(0, dx)),
            )
            theirs = key[:, max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
            scores[position, rows, columns] = (query[:, rows, columns] * theirs).sum(0) / channels
        inner = self.convolve(x * self.convolve(scores, f"{name}.conv_v"), f"{name}.conv_o.0")
        inner = self.residual(inner, f"{name}.conv_o.1")
        return x + self.convolve(inner, f"{name}.conv_o.2")

    def down(self, x, index):
        x = leaky(self.convolve(x, f"feat_extract.{index}.main.0", stride=2))
        return self.residual(x, f"Encoder.{index}")

    def up(self, x, skip, index):
        weight = torch.from_numpy(self.state[f"feat_extract.{index + 3}.main.0.weight"])
        x = F.conv_transpose2d(torch.from_numpy(x)[None], weight, stride=2, padding=1)[0].numpy()
        join = self.srp_block if f"srp.{index}.conv_q.weight" in self.state else without_srp
        return self.residual(join(index, skip, leaky(x)), f"Decoder.{index}")

    def picture(self, pictures, weights, *, reblur=False):
        """pictures in [0, 1], (3, H, W) each; weights of each block, (C, h, w)."""
        views = np.concatenate(pictures) - 0.5
        half = self.down(views, 0)
        quarter = self.down(half, 1)
        x = self.down(quarter, 2)
        for block, a in enumerate(weights):  # in this order also to blur again
            done = np.empty_like(x)
            for row in range(a.shape[1]):
                for column in range(a.shape[2]):
                    at = np.s_[:, 18 * row : 18 * row + 18, 14 * column : 14 * column + 14]
                    done[at] = self.psf_block(block, x[at], a[:, row, column], reblur=reblur)
            x = done
        x = self.up(self.up(self.up(x, quarter, 0), half, 1), views, 2)
        return np.clip(self.convolve(x, "out.main.0"), -1, 1) + 0.5

    def weights(self, vectors):
        """a of each block, (C, h, w), for vectors (256, h, w)."""
        return [np.apply_along_axis(lambda r, b=b: self.query(b, r), 0, vectors) for b in range(2)]


def without_srp(_, old, new):
    return np.concatenate([old, new])


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def correlate(x, kernels):
    pairs = zip(x, kernels, strict=True)
    return np.stack([correlate2d(channel, kernel, mode="same") for channel, kernel in pairs])


def block_means(x, down, across):
    """Means of whole blocks; what is left at the right and the bottom does not count."""
    channels, height, width = (x.shape[0], x.shape[1] // down, x.shape[2] // across)
    x = x[:, : height * down, : width * across]
    return x.reshape(channels, height, down, width, across).mean((2, 4))


def stretch_corner_to_corner(x, size):
    """Linear in each direction, first on first and last on last sample."""
    for axis, length in ((1, size[0]), (2, size[1])):
        have = np.arange(x.shape[axis])
        want = np.linspace(0, x.shape[axis] - 1, length)
        x = np.apply_along_axis(lambda line, w=want, h=have: np.interp(w, h, line), axis, x)
    return x


def network(state, **options):
    model = K3DN(K3DNConfig(**CONFIG, **{**PAPER_FORM, **options})).double()
    model.load_state_dict(rename(state, model.config))
    return model.eval()


@pytest.fixture(scope="module")
def pair():
    """Network without SRP blocks (the authors' first stage), formulas, views that share a texture,
    and R by both."""
    state = authors_state(**SIZES, srp=False)
    ours, formulas = network(state, srp=False), Formulas(state)
    rng = np.random.default_rng(0)
    texture = np.kron(rng.random((3, 36, 59)), np.ones((8, 8)))
    views = [np.ascontiguousarray(texture[..., at : at + 448]) for at in (0, 6)]
    centred = [view - 0.5 for view in views]
    with torch.no_grad():
        found = ours.disparity(*(torch.from_numpy(view)[None] for view in centred))[0].numpy()
    return ours, formulas, views, found, formulas.disparity(*centred)


@pytest.mark.slow
def test_disparity_estimator(pair):
    *_, found, expected = pair
    assert expected.shape == (256, 2, 4)
    assert expected.std((1, 2)).max() > 0.1, "vectors differ from window to window"
    np.testing.assert_allclose(found, expected, **EXACT)


def test_query(pair):
    ours, formulas, _, _, vectors = pair
    for block, expected in enumerate(formulas.weights(vectors)):
        kernels = ours.psf_blocks[block].query_kernels()
        found = ours.kernel_queries[block](torch.from_numpy(vectors)[None], kernels)[0]
        assert (expected.std((1, 2)) / expected.mean((1, 2))).max() > 0.05, "it must query"
        np.testing.assert_allclose(found.detach(), expected, **EXACT)


@pytest.mark.parametrize("reblur", [False, True])
def test_psf_block(pair, reblur):
    """Among the weights are some whose inverse is clipped."""
    ours, formulas, *_ = pair
    rng = np.random.default_rng(1)
    x, a = rng.standard_normal((CHANNELS, 36, 14)), rng.random((CHANNELS, 2, 1))
    a[:3] *= 0.01
    expected = [
        formulas.psf_block(1, x[:, 18 * i : 18 * i + 18], a[:, i, 0], reblur=reblur)
        for i in range(2)
    ]
    weights = torch.from_numpy(a)[None]
    found = ours.psf_blocks[1](torch.from_numpy(x)[None], weights, reblur=reblur)[0]
    np.testing.assert_allclose(found.detach(), np.concatenate(expected, axis=1), **EXACT)


def test_srp_block():
    state = authors_state(**SIZES)
    ours, formulas = network(state), Formulas(state)
    old, new = np.random.default_rng(2).standard_normal((2, 4, 12, 15))
    joined = torch.from_numpy(np.concatenate([old, new]))[None]
    found = ours.decoder.to_quarter.srp(joined)[0].detach()
    np.testing.assert_allclose(found, formulas.srp_block(0, old, new), **EXACT)


def test_whole_network_of_the_first_stage(pair):
    ours, formulas, views, _, vectors = pair
    expected = formulas.picture(views, formulas.weights(vectors))
    with torch.no_grad():
        found = ours(*(torch.from_numpy(view)[None] for view in views))[0]
    assert 0.0 < (abs(expected - 0.5) == 1).mean() < 0.5, "some values are clipped, most are not"
    np.testing.assert_allclose(found, expected, **EXACT)


@pytest.mark.slow
def test_whole_network_for_one_picture_there_and_back():
    state = authors_state(**SIZES, single=True)
    ours, formulas = network(state, single_picture=True), Formulas(state)
    picture, sharp = np.random.default_rng(3).random((2, 3, 288, 224))
    vectors = formulas.single_disparity(picture - 0.5)
    weights = formulas.weights(vectors)
    with torch.no_grad():
        found = ours.restore(torch.from_numpy(picture)[None])
        blurred = ours.reblur(torch.from_numpy(sharp)[None], found.kernel_weights)[0]
    np.testing.assert_allclose(found.kernel_weights[1][0], weights[1], **EXACT)
    np.testing.assert_allclose(found.image[0], formulas.picture([picture], weights), **EXACT)
    expected = formulas.picture([sharp], weights, reblur=True)
    np.testing.assert_allclose(blurred, expected, **EXACT)


@pytest.mark.parametrize("shift", range(4))
def test_cost_volume_finds_what_is_nearer_than_focus(shift):
    """Near is x_L - x_R > 0: what the left view has at x, the right one has at x - shift."""
    right = torch.rand(1, 2, 3, 9)
    left = right.roll(shift, -1)
    volume = near_cost_volume(left, right, 4)
    gap = (volume[:, :2] - volume[:, 2:]).abs().amax((0, 1, 3))
    assert (gap[shift, shift:] == 0).all()
    assert all(gap[i, 4:].min() > 0 for i in range(4) if i != shift)
    for i in range(4):
        assert not volume[:, :, i, :, :i].any()


def test_resizing_is_opencvs_on_pictures_of_integers():
    """The authors resize 16-bit pictures, where what overshoots is cut off."""
    picture = np.random.default_rng(4).integers(0, 2, (100, 230, 3)).astype(np.uint16) * 65535
    tensor = torch.from_numpy(picture / 65535).movedim(-1, 0)[None]
    found = fit_to_grid(tensor, (288, 224), (288, 448), pad=False)[0].movedim(0, -1)
    theirs = cv2.resize(picture, (448, 288), interpolation=cv2.INTER_CUBIC) / 65535
    assert theirs.min() == 0 and theirs.max() == 1
    np.testing.assert_allclose(found, theirs, atol=2e-4)


def test_authors_start():
    """Kaiming over the outputs in the disparity estimator; a query that is r alone."""
    torch.manual_seed(0)
    model = K3DN(K3DNConfig(**PAPER_FORM))
    for index, outputs in ((1, 32), (2, 64), (3, 128)):
        weight = model.disparity.features[index][0].weight
        assert float(weight.detach().std()) == pytest.approx((2 / (9 * outputs)) ** 0.5, rel=0.05)
    query = model.kernel_queries[0]
    assert not query.key_weights.any()
    for layer in (query.from_disparity, query.to_disparity):
        assert float(layer.weight.detach().std()) == pytest.approx(0.001, rel=0.05)
        assert not layer.bias.any()
    assert float(query.to_weights.weight.detach().std()) == pytest.approx(1 / 16, rel=0.05)
    assert (query.to_weights.bias == 1).all()


def test_reblurring_sends_no_gradient_to_the_weights_at_the_authors_start():
    """docs/readings.md says so: 1 / a is clipped everywhere once there are over 100 kernels."""
    torch.manual_seed(0)
    for width, reaches in ((24, True), (32, False)):
        config = K3DNConfig(**{**CONFIG, "width": width}, **PAPER_FORM)
        model = K3DN(config)
        a = torch.full((1, config.num_kernels, 2, 2), 1 / config.num_kernels, requires_grad=True)
        x = torch.randn(1, config.channels, 36, 28)
        model.psf_blocks[0](x, a, reblur=True).square().sum().backward()
        assert bool(a.grad.any()) == reaches
