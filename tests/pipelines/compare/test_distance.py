"""One number for two distributions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.compare.distance import chance, distance

SAMPLES = arrays(np.float64, st.integers(1, 40), elements=st.integers(-50, 50).map(float))


@settings(max_examples=50, deadline=None)
@given(SAMPLES, SAMPLES)
def test_it_lies_in_0_to_1_is_symmetric_and_0_only_of_what_is_equal(
    first: np.ndarray, second: np.ndarray
) -> None:
    found = distance(first, second)
    assert 0.0 <= found <= 1.0 + 1e-12
    assert found == pytest.approx(distance(second, first))
    assert distance(first, first) == 0.0
    assert distance(3.0 * first - 7.0, 3.0 * second - 7.0) == pytest.approx(found)
    if first.max() < second.min():
        assert found == pytest.approx(1.0)


def test_normal_distributions_a_standard_deviation_apart() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 20000))
    # 1 over twice the mean distance from the middle of a mixture at -1/2 and 1/2
    assert distance(first, second + 1.0) == pytest.approx(0.56, abs=0.01)
    assert distance(first, second) < 0.02
    assert distance(first, 2.0 * second) > 0.25  # no other place, but another spread


def test_chance_goes_by_pairs_as_patches_of_a_pair_are_alike() -> None:
    rng = np.random.default_rng(0)
    alike = [rng.normal() + 0.01 * rng.standard_normal(50) for _ in range(20)]
    apart = [np.array([rng.normal()]) for _ in range(500)]
    of_few, of_many = chance(alike[:10], alike[10:], 0), chance(apart[:250], apart[250:], 0)
    assert of_few > 3.0 * of_many
    assert of_few < 1.0
    assert np.isnan(chance(alike[:1], alike[1:], 0))
