"""Checkpoints in the authors' naming: what is recognised, what is refused and how."""

import os
import random
from pathlib import Path

import pytest
import torch

from k3dn import load_weights, save_weights
from k3dn.convert import convert_checkpoint, read_checkpoint, recognise, rename
from k3dn.network.config import variant
from tests.k3dn.authors_names import SIZES, authors_state


@pytest.fixture(scope="module")
def tiny():
    return {name: _narrow(tensor) for name, tensor in authors_state(*SIZES["tiny"]).items()}


def _narrow(tensor):
    return tensor.float() if tensor.is_floating_point() else tensor


def test_a_checkpoint_becomes_a_weights_file(tmp_path, tiny):
    nested = {"epoch": 3, "state_dict": {f"module.{name}": t for name, t in tiny.items()}}
    torch.save(nested, tmp_path / "best.pt")
    found = convert_checkpoint(tmp_path / "best.pt")
    assert found.config == variant("tiny", {"form": "paper"})
    save_weights(tmp_path / "w", found.model, name=found.name, options=found.options)
    again = load_weights(tmp_path / "w")
    assert again.config == found.config
    ours = again.state_dict()
    # Each tensor once: all but one kind are the same numbers in another shape and order.
    changed = ("modulation.weight",)
    theirs = [t for name, t in tiny.items() if not name.endswith(changed)]
    kept = [t for name, t in ours.items() if not name.endswith("to_weights.weight")]
    assert sorted(map(_fingerprint, theirs)) == sorted(map(_fingerprint, kept))
    for block in range(4):
        modulation = tiny[f"deblur.{block}.conv2.modulation.weight"]
        to_weights = ours[f"kernel_queries.{block}.to_weights.weight"][..., 0, 0]
        torch.testing.assert_close(to_weights, modulation / 16)


def _fingerprint(tensor):
    """Of the numbers alone, whatever their order."""
    numbers = tensor.flatten().double().sort().values
    return (tensor.numel(), float((numbers * torch.arange(1, tensor.numel() + 1)).sum()))


@pytest.mark.parametrize("key", [None, "state_dict", "model", "params"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
def test_nesting_and_prefixes(tmp_path, key, prefix):
    named = {f"{prefix}a.weight": torch.ones(2), f"{prefix}module.b": torch.zeros(1)}
    torch.save({key: named, "step": 5} if key else named, tmp_path / "c.pt")
    assert set(read_checkpoint(tmp_path / "c.pt")) == {"a.weight", "module.b"}


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(("single", "srp"), [(False, True), (False, False), (True, True)])
def test_the_variant_is_known_by_its_shapes(name, single, srp):
    state = authors_state(*SIZES[name], single=single, srp=srp)
    options = {"form": "paper", "srp": srp, "single_picture": single}
    assert recognise(state) == (name, options)
    renamed = rename(state, variant(name, options))
    assert sum(t.numel() for t in renamed.values()) == sum(t.numel() for t in state.values())


def _with(**tensors):
    """tiny's tensors with some replaced, added, or (None) left out."""

    def change(state):
        state = state | {name.replace("__", "."): tensor for name, tensor in tensors.items()}
        return {name: tensor for name, tensor in state.items() if tensor is not None}

    return change


NAN = torch.zeros(3, 30, 3, 3)
NAN[1, 2, 0, 0] = torch.nan


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_with(out__main__0__weight=None), "out.main.0.weight is missing"),
        (_with(deblur__1__inter__to_w=None), "deblur.1.inter.to_w is missing"),
        (_with(disp__extra=torch.ones(1)), "disp.extra does not belong to any network"),
        (
            _with(out__main__0__weight=torch.ones(3, 29, 3, 3)),
            r"out.main.0.weight must be \(3, 30, 3, 3\), got \(3, 29, 3, 3\)",
        ),
        (
            _with(deblur__0__conv1__weight=torch.ones(96, 10, 6, 2)),
            r"deblur.0.conv1.weight must be \(1, 96, 1, 10, 6, 2\), got \(96, 10, 6, 2\)",
        ),
        (_with(out__main__0__weight=NAN), "out.main.0.weight has NaN"),
        (
            _with(out__main__0__weight=NAN.int()),
            "must be a plain tensor of floating point numbers, got",
        ),
        (_with(out__main__0__weight=NAN.to_sparse()), "must be a plain tensor"),
        (_with(deblur__2__conv2__p=torch.zeros(96, 96)), "conv2.p must be a permutation matrix"),
        (_with(deblur__2__conv2__p=torch.ones(96, 96) / 96), "conv2.p must be a permutation"),
        (_with(deblur__2__conv2__sign_s=torch.full((96,), 2.0)), "conv2.sign_s must be 1 or -1"),
        (
            _with(feat_extract__0__main__0__weight=torch.ones(40, 6, 3, 3)),
            "width 40, residual_blocks 2, psf_blocks 4, srp_residual_blocks 1; known are tiny,",
        ),
        (_with(feat_extract__0__main__0__weight=torch.ones(24, 4, 3, 3)), r"got \(24, 4, 3, 3\)"),
        (_with(feat_extract__0__main__0__weight=None), "no weights of the authors' network"),
        (_with(deblur__0__conv1__weight_left=torch.ones(96, 1, 9, 5)), "set_inference_mode"),
    ],
)
def test_exception_tensors_that_do_not_fit(tmp_path, tiny, change, words):
    torch.save(change(tiny), tmp_path / "best.pt")
    with pytest.raises(ValueError, match=words) as caught:
        convert_checkpoint(tmp_path / "best.pt")
    assert str(caught.value).startswith(str(tmp_path / "best.pt"))
    assert "\n" not in str(caught.value)


class Opens:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_that_a_checkpoint_names_is_run(tmp_path, tiny):
    torch.save(tiny | {"more": Opens(tmp_path / "made")}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="what else it holds is not run") as caught:
        convert_checkpoint(tmp_path / "evil.pt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def _loop():
    turning: dict[str, object] = {}
    turning["model"] = turning
    return turning


@pytest.mark.parametrize(
    "content",
    [{}, [], {"a": 1}, {1: torch.ones(1)}, {"state_dict": {}}, torch.ones(3), 5, _loop()],
    ids=str,
)
def test_exception_no_tensors_by_name(tmp_path, content):
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="no dictionary of tensors by name"):
        read_checkpoint(tmp_path / "c.pt")


def test_exception_files_that_are_no_checkpoint(tmp_path, tiny):
    torch.save(tiny, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    torch.save(torch.nn.Conv2d(1, 1, 1), tmp_path / "module.pt")
    contents = {"empty": b"", "text": b"hello", "cut": whole[:5000], "zeros": bytes(100)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in (*contents, "module.pt", ".", "none"):
        path = tmp_path / name
        with pytest.raises(ValueError, match=r"cannot be read|is damaged or holds") as caught:
            read_checkpoint(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert name not in ("text", "empty") or "give a file that torch.save" in str(caught.value)


@pytest.mark.parametrize("name", ["two\nlines", "long" * 100])
def test_exception_names_that_would_spoil_a_message(tmp_path, tiny, name):
    torch.save(tiny | {name: torch.ones(1)}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="a tensor whose name no network") as caught:
        convert_checkpoint(tmp_path / "c.pt")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize("zipped", [True, False])
def test_damage_anywhere_is_told_in_one_line(tmp_path, zipped):
    """torch reads step by step what a file says, and each step fails in its own way."""
    path = tmp_path / "c.pt"
    torch.save({"a": torch.ones(2, 3)}, path, _use_new_zipfile_serialization=zipped)
    whole, rng, refused = path.read_bytes(), random.Random(5), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3))):
            damaged[rng.randrange(len(whole))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            read_checkpoint(path)
        except ValueError as error:
            assert "\n" not in str(error)  # some damage does no harm
            refused += 1
    assert refused > 30


def test_half_precision_is_taken(tmp_path, tiny):
    torch.save(
        {n: t.half() if t.is_floating_point() else t for n, t in tiny.items()}, tmp_path / "h"
    )
    model = convert_checkpoint(tmp_path / "h").model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
