"""What a shard was made by: our files and the libraries that decide its bytes."""

from importlib import metadata
from types import ModuleType

import pytest

from pipelines.ingest import ingest
from pipelines.making.provenance import code_fingerprint
from pipelines.synthesis import synthesize


@pytest.mark.parametrize(
    ("library", "counts"), [("torch", True), ("scikit-image", True), ("ray", False)]
)
def test_another_version_of_what_decides_bytes_is_other_code(
    library: str, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transforms or its photographs: resumed after an upgrade, half a version would differ."""
    before = code_fingerprint(("synth",))
    assert before == code_fingerprint(("synth",))
    version = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "0.0" if name == library else version(name)
    )
    assert (code_fingerprint(("synth",)) != before) == counts


def test_the_packages_files_count() -> None:
    assert code_fingerprint(("synth",)) != code_fingerprint(("synth", "pipelines.dataset"))
    with pytest.raises(ModuleNotFoundError, match="there is no package pictures"):
        code_fingerprint(("synth", "pictures"))


@pytest.mark.parametrize("step", [ingest, synthesize])
def test_a_version_is_of_the_code_that_made_it(step: ModuleType) -> None:
    """What a step's own folder, the one that makes versions and the record import counts."""
    own = step.__name__.rpartition(".")[0]
    assert {own, "pipelines.making", "pipelines.dataset"} <= set(step._CODE)
    code_fingerprint(step._CODE)
