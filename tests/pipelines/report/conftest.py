"""A small page with every section, as the demo would fill it."""

import numpy as np
import pytest

from pipelines.report import (
    BlurRadius,
    Command,
    Comparison,
    Findings,
    PageData,
    Place,
    TrainingCurve,
)
from pipelines.scores import PairScore, quality, table


def comparison(title: str, number: int, *, target: bool = True) -> Comparison:
    """Red before, green after, blue as the truth: plain colours that a test can tell apart."""
    size = (48, 64, 3)
    input_, output, truth = (np.zeros(size, np.uint8) for _ in range(3))
    input_[..., 0], output[..., 1], truth[..., 2] = 255, 255, 255
    return Comparison(
        title=title,
        input=input_,
        output=output,
        target=truth if target else None,
        input_psnr=20.0 + number,
        output_psnr=21.5 + number,
        note="a <note> & more",
    )


@pytest.fixture(scope="session")
def page_data() -> PageData:
    rng = np.random.default_rng(0)
    sharp, blurred, restored = rng.random((3, 32, 32, 3), dtype=np.float32)
    rows = table(
        [
            PairScore(name, "0", quality(blurred, sharp), quality(restored, sharp))
            for name in ("synth@v1", "dpd-blur@v1")
        ],
        "k3dn v1",
    )
    kernels = rng.standard_normal((8, 9, 9)).astype(np.float32)
    return PageData(
        title='Pictures & "proof" <here>',
        lead="Trained a minute ago.",
        facts=[("Network", "nano")],
        notes=["No samples were at hand; <k3dn ingest> takes the real sets."],
        held_out=[comparison("pair-0", 0), comparison("pair-1", 1)],
        real=[comparison("capture", 3, target=False)],
        metrics=rows,
        curve=TrainingCurve(
            loss=[(step, 1 / (1 + step)) for step in range(100)],
            val_psnr=[(0, 20.0), (50, 21.0), (99, 22.25)],
            input_psnr=20.0,
        ),
        radii=[
            BlurRadius(
                title="pair <0>",
                picture=sharp,
                estimated_px=np.full((32, 32), 2.5, np.float32),
                true_px=np.full((32, 32), -3.5, np.float32),
            )
        ],
        findings=Findings(
            picture=sharp,
            kernels=kernels + kernels[..., ::-1],
            kernels_deblur=True,
            kernel_weights=rng.random((2, 2, 8), dtype=np.float32),
            in_focus=rng.random((32, 32), dtype=np.float32),
            coc_px=6 * rng.random((32, 32), dtype=np.float32) - 3,
        ),
        places=[Place("Datasets", "s3://bucket/k3dn")],
        next_steps=[Command("k3dn deblur --left L.png --right R.png", "Sharpen your own")],
    )
