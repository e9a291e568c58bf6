"""Kernels that vary over the field, by the renderers that take them."""

from dataclasses import dataclass

import numpy as np
import pytest

from synth.psf import PSF_FAMILIES, KernelPair
from synth.render import render_gather, render_layered
from synth.render.blur import FieldBlur

FAMILY = PSF_FAMILIES["butterworth"]


@dataclass
class OneForAll:
    """The same kernels everywhere, as a field."""

    grid: tuple[int, int]

    def psf_at(self, row, column):
        assert 0 <= row < self.grid[0]
        assert 0 <= column < self.grid[1]
        return FAMILY


@dataclass
class Shifts:
    """Each place moves the picture by pixels of its own: left and right views differ, too."""

    grid: tuple[int, int]

    def shift(self, row, column, view):
        return (row - 1, column - 2) if view == 0 else (1 - row, column)

    def psf_at(self, row, column):
        def psf(coc_px) -> KernelPair:
            pair = np.zeros((2, 11, 11))
            for view in (0, 1):
                down, across = self.shift(row, column, view)
                pair[view, 5 + down, 5 + across] = 1.0
            return pair[0], pair[1]

        return psf


@pytest.mark.parametrize("render", [render_layered, render_gather])
@pytest.mark.parametrize("grid", [(1, 1), (3, 4), (6, 8)])
def test_a_field_of_equal_kernels_is_one_kernel(render, grid):
    rng = np.random.default_rng(0)
    image = rng.random((41, 53, 3)).astype(np.float32)
    coc = np.full((41, 53), -2.0, dtype=np.float32)
    coc[10:25, 15:40] = 3.0
    coc[30:] = np.linspace(-2.0, 2.0, 53)
    for one, field in zip(
        render(image, coc, FAMILY), render(image, coc, OneForAll(grid)), strict=True
    ):
        np.testing.assert_allclose(field, one, atol=2e-4 if render is render_layered else 2e-6)


@pytest.mark.parametrize("render", [render_layered, render_gather])
def test_each_place_has_its_own_kernels(render):
    """In the middle of a place's part of the picture, and at its outer borders."""
    field = Shifts((3, 4))
    image = np.random.default_rng(1).random((60, 80, 3)).astype(np.float32)
    views = render(image, np.ones((60, 80), np.float32), field)
    padded = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="symmetric")
    for row, column in np.ndindex(3, 4):
        middle_row, middle_column = 20 * row + 10, 20 * column + 10
        for view, rendered in enumerate(views):
            down, across = field.shift(row, column, view)
            part = np.s_[middle_row - 4 : middle_row + 4, middle_column - 4 : middle_column + 4]
            shifted = np.roll(padded, (down, across), axis=(0, 1))[8:-8, 8:-8]
            np.testing.assert_allclose(rendered[part], shifted[part], atol=1e-5)
    corner = np.roll(padded, field.shift(0, 0, 0), axis=(0, 1))[8:-8, 8:-8]
    np.testing.assert_allclose(views[0][:10, :10], corner[:10, :10], atol=1e-5)


@pytest.mark.parametrize("render", [render_layered, render_gather])
def test_between_places_a_picture_changes_without_jumps(render):
    """A ramp shows where light came from: its shift goes from place to place in small steps."""
    image = np.repeat(np.linspace(0.2, 0.8, 200, dtype=np.float32)[None, :, None], 24, axis=0)
    image = np.repeat(image, 3, axis=2)
    left, _ = render(image, np.ones((24, 200), np.float32), Shifts((1, 4)))
    slope_px = np.diff(left[12, 10:-10, 0]) / (0.6 / 199)
    # One pixel of shift over the 25 between the middle parts of two places.
    np.testing.assert_allclose(slope_px, 1.0, atol=1.05 / 25)


def test_weights_of_places_sum_to_one_and_cost_is_bounded():
    size = (96, 128)
    for grid in ((1, 1), (2, 5), (6, 8)):
        blur = FieldBlur(OneForAll(grid), size)
        total, work = np.zeros(size), 0
        for place in blur._places:
            total += np.outer(place.rows, place.columns)
            work += np.count_nonzero(np.outer(place.rows, place.columns))
        np.testing.assert_allclose(total, 1.0, atol=1e-6)
        assert work <= 2.5 * total.size
