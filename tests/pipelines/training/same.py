"""Whether two runs have come to the same."""

import torch
from safetensors.torch import load

from pipelines.storage import Location
from pipelines.training.keeper import WEIGHTS


def assert_same_weights(run: Location, other: Location) -> None:
    """To the last bit."""
    found, expected = (load(one.child(WEIGHTS).read_bytes()) for one in (run, other))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
