"""``k3dn convert`` on files."""

from pathlib import Path

import pytest
import torch

import k3dn
from pipelines.errors import UserError
from pipelines.registry.config import ConvertConfig
from pipelines.registry.convert import run
from tests.k3dn.authors_names import SIZES, authors_state


def test_weights_that_other_steps_take(tmp_path: Path) -> None:
    checkpoint = tmp_path / "best.pt"
    torch.save({"params": authors_state(*SIZES["tiny"], single=True, srp=False)}, checkpoint)
    output = tmp_path / "deep" / "out.safetensors"
    result = run(ConvertConfig(checkpoint=str(checkpoint), output=str(output)))
    network = k3dn.load_weights(output)
    assert (result.model, result.single_picture, result.srp) == ("tiny", True, False)
    assert result.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert result.output in result.describe()
    assert result.next_steps()[0] == f"k3dn deblur left=PICTURE model={result.output}"


def test_weights_that_are_there_are_replaced_only_on_demand(tmp_path: Path) -> None:
    checkpoint, output = tmp_path / "best.pt", tmp_path / "out.safetensors"
    torch.save(authors_state(*SIZES["tiny"], single=True, srp=False), checkpoint)
    output.write_bytes(b"mine")
    keys = {"checkpoint": str(checkpoint), "output": str(output)}
    with pytest.raises(UserError, match=r"out\.safetensors exists; .*overwrite=true"):
        run(ConvertConfig(**keys))
    assert output.read_bytes() == b"mine"
    run(ConvertConfig(**keys, overwrite=True))
    assert k3dn.load_weights(output).config.single_picture


def test_mistakes_are_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    text, checkpoint = tmp_path / "text.pt", tmp_path / "other.pt"
    text.write_text("no checkpoint")
    torch.save({"a.weight": torch.ones(2)}, checkpoint)
    output = tmp_path / "out.safetensors"

    def attempt(words: str, checkpoint: Path, output: Path = output) -> None:
        with pytest.raises(UserError, match=words) as caught:
            run(ConvertConfig(checkpoint=str(checkpoint), output=str(output)))
        assert "\n" not in str(caught.value)
        assert not output.exists()

    attempt("there is no checkpoint at .*none.pt", tmp_path / "none.pt")
    attempt("there is no checkpoint at", tmp_path)
    attempt("text.pt", text)
    attempt("other.pt: no weights of the authors' network.*'a.weight'", checkpoint)
    attempt("name it .safetensors", checkpoint, tmp_path / "out.pt")
