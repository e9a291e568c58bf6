"""What a shard was made by: our files and the libraries that decide its bytes."""

from importlib import metadata

import pytest

from pipelines.making.provenance import code_fingerprint


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
