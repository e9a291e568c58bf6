"""A network that answers with the mean of the views: what comes out is known to the value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import k3dn
from pipelines.deblur.config import DeblurConfig
from pipelines.deblur.result import DeblurResult
from pipelines.deblur.run import run


@pytest.fixture(scope="session")
def mean(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of an untrained network, which changes nothing."""
    options = {"width": 2, "disparity_channels": 4, "psf_blocks": 1}
    path = tmp_path_factory.mktemp("weights") / "mean.safetensors"
    k3dn.save_weights(path, k3dn.build_model("nano", options), name="nano", options=options)
    return str(path)


@pytest.fixture
def sharpen(mean: str) -> Callable[..., DeblurResult]:
    def call(left: Path | str, right: Path | str | None, output: Path | str, **keys: Any) -> Any:
        keys = {"model": mean, "precision": "fp32"} | keys
        other = None if right is None else str(right)
        return run(DeblurConfig(left=str(left), right=other, output=str(output), **keys))

    return call
