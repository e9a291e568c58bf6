"""What is told of a run while it trains."""

import random

import pytest

from pipelines.training.follow import progress_line
from pipelines.training.step_times import StepTimes

ROW = {
    "step": 120,
    "loss": 0.03125,
    "samples_per_s": 34.06,
    "waiting_for_data": 0.021,
    "waiting_for_storage": 0.0,
    "left_s": 7500.0,
}


def test_the_line_says_it_all() -> None:
    line = progress_line(ROW, " of 2000", {"val_psnr": 28.314})
    assert line == (
        "step 120 of 2000, loss 0.0312, validation 28.31 dB, 34.1 pairs/s, waiting 2% for data, "
        "about 2.1 h left"
    )
    slow = progress_line({**ROW, "waiting_for_storage": 0.25, "left_s": None}, "", None)
    assert slow.endswith("waiting 2% for data, 25% for storage")
    left = [progress_line({**ROW, "left_s": float(s)}, "", None) for s in (89, 90, 5399, 5400)]
    assert [line.partition("about ")[2] for line in left] == [
        *("89 s left", "2 min left", "90 min left", "1.5 h left")
    ]


@pytest.mark.parametrize("cheap", [1.0, 0.5])
def test_the_time_left_is_right_after_ten_steps(cheap: float) -> None:
    """Whatever the start and a pause of the machine cost; cheap: of every other step."""
    rng, times = random.Random(0), StepTimes()
    for seconds in (95.0, 12.0):
        times.add(seconds)
    assert times.left_s(100, 0) is None
    for step in range(8):
        times.add((cheap if step % 2 else 1.0) * rng.uniform(0.95, 1.05))
    mean_s = (1 + cheap) / 2
    left_s = times.left_s(1000, 0)
    assert left_s == pytest.approx(1000 * mean_s, rel=0.1)
    for step in range(192):
        times.add((cheap if step % 2 else 1.0) * rng.uniform(0.95, 1.05))
    times.add(600.0)
    times.add_validation(30.0)
    assert times.left_s(1000, 4) == pytest.approx(1000 * mean_s + 4 * 30.0, rel=0.1)


def test_it_follows_a_change_of_speed() -> None:
    times = StepTimes()
    for seconds in [1.0] * 500 + [3.0] * 250:
        times.add(seconds)
    assert times.left_s(10, 0) == pytest.approx(30.0)
