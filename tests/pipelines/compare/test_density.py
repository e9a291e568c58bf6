"""Two distributions as a picture: everything lies in it, and where its values are."""

import re

import numpy as np
import pytest

from pipelines.compare.density import HEIGHT, WIDTH, densities


def test_curves_lie_in_the_picture_with_their_peaks_at_their_values() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(2.0, 0.5, 400), rng.normal(6.0, 0.5, 400)
    svg = densities(first, second, label="blur")
    outlines = re.findall(r'class="outline \w+" d="M([^"]*)"', svg)
    assert len(outlines) == 2
    peaks = []
    for outline in outlines:
        places = np.array([[float(n) for n in point.split()] for point in outline.split(" L")])
        assert (places >= 0.0).all() and (places <= (WIDTH, HEIGHT)).all()
        assert np.ptp(places[:, 1]) > HEIGHT / 3
        peaks.append(places[places[:, 1].argmin(), 0])
    medians = [float(x) for x in re.findall(r'class="median \w+" cx="([\d.]+)"', svg)]
    assert peaks == pytest.approx(medians, abs=WIDTH / 20)
    low, high = np.quantile(np.concatenate([first, second]), [0.01, 0.99])
    shares = (np.array([np.median(first), np.median(second)]) - low) / (high - low)
    assert medians == pytest.approx(10 + shares * (WIDTH - 20), abs=0.1)
    assert "aria-label" in svg and "blur" in svg
