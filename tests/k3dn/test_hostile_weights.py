"""Weights files are data: what a file may do to whoever opens it, tried with files made to do it.

Each of them is refused in one line, runs nothing, and takes no memory to speak of.
"""

import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import k3dn
from k3dn import K3DNConfig, build_model, load_weights, save_weights
from k3dn.weights import EARLIER, FORMAT

SIZES = {"width": 1, "disparity_channels": 2, "disparity_width": 1, "psf_blocks": 1}
FIRST = "psf_blocks.0.mixing."

Header = dict[str, dict[str, object]]
Parts = tuple[Header, bytearray]
"""A header and the data behind it."""


def parts_of(data: bytes) -> Parts:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])


def whole(header: object, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of a small network with batch normalisation, so that it has every kind of tensor."""
    path = tmp_path_factory.mktemp("valid") / "w.safetensors"
    torch.manual_seed(0)
    options = {**SIZES, "local_norm": False}
    save_weights(path, build_model("nano", options), name="nano", options=options)
    return path.read_bytes()


class Canary:
    """Commands that leave a file, and the name of it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "canary"
        self.options = {"args": ["touch", str(self.file)]}
        self.shell = {"cmd": f"touch {self.file}", "command": f"touch {self.file}"}

    def named(self) -> Iterator[tuple[str, dict[str, object]]]:
        yield "subprocess:check_output", self.options
        yield "subprocess:check_output", {"args": f"touch {self.file}", "shell": True}
        yield "subprocess:Popen", self.options
        yield "os:system", self.shell
        yield "os:popen", self.shell
        yield "builtins:exec", {"source": f"open({str(self.file)!r}, 'w')"}
        yield "builtins:open", {"file": str(self.file), "mode": "w"}
        yield "pathlib:Path.touch", {"self": str(self.file)}
        yield "canary_module:make", {}
        yield "canary_module:", {}
        yield ":make", {}
        yield "canary_module", {}
        yield "canary_module:make:again", {}
        yield "../canary_module:make", {}
        yield "canary_module:make\nnano", {}
        yield "http://host/canary:make", {}


def metadata(header: Header, **changed: object) -> Header:
    return {**header, "__metadata__": {**header["__metadata__"], **changed}}


def with_options(header: Header, **changed: object) -> Header:
    options = json.loads(str(header["__metadata__"]["options"]))
    return metadata(header, options=json.dumps({**options, **changed}))


def hostile_headers(header: Header) -> Iterator[tuple[str, object]]:
    """Headers that no honest file has, with what each of them is. The data are left as they are."""
    for key in ("format", "model", "options"):
        lacking = {k: v for k, v in header["__metadata__"].items() if k != key}
        yield f"no {key}", {**header, "__metadata__": lacking}
        for value in (1, None, ["nano"], {"nano": "nano"}, True):
            yield f"{key} is {value!r}", metadata(header, **{key: value})
    for value in ([], "text", None, 3):
        yield f"metadata are {value!r}", {**header, "__metadata__": value}
    for value in ("k3dn-weights-3", "k3dn-weights-2 ", "", "pt"):
        yield f"format {value!r}", metadata(header, format=value)
    for value in ("nanno", "", "NANO", "nano\n", "\ud800", "x" * 10**6):
        yield f"model {value[:9]!r}", metadata(header, model=value)
    deep = "[" * 10**5 + "]" * 10**5
    texts = ("", "{", "null", "[]", "1", '"{}"', "NaN", '{"width": 1, "width": 1}', "{}", deep)
    for text in (*texts, '{"width": ' + deep + "}", '{"width": 1e999}', '{"width": ' + "9" * 5000):
        yield f"options {text[:20]}", metadata(header, options=text)
    for field in fields(K3DNConfig):
        huge = 10**9 if field.type is int else 2
        for value in (huge, "1", None, [], math.nan, 1.5, -1):
            yield f"{field.name}={value!r}", with_options(header, **{field.name: value})
    for key, value in {
        **{"width": 3000, "psf_blocks": 99, "residual_blocks": 99, "srp_residual_blocks": 99},
        **{"spectrum_size": 2048, "kernel_size": 15, "attention_window": 2047, "value_kernel": 999},
        **{"dense_kernels": 2048, "window_px": 4096, "disparity_width": 2048, "later": 1},
        **{"form": "paper", "__class__": "K3DN", "gated_values": 1, "psf": "true"},
    }.items():
        yield f"{key}={value!r}", with_options(header, **{key: value})
    yield (
        "sizes that overflow",
        with_options(
            header, **dict.fromkeys(("width", "disparity_channels", "disparity_width"), 2048)
        ),
    )
    yield from hostile_tensors(header)


def hostile_tensors(header: Header) -> Iterator[tuple[str, object]]:
    name, entry = next(item for item in header.items() if item[0] != "__metadata__")
    for changed in (
        {"dtype": "I32"},
        {"dtype": "F64"},
        {"dtype": "F4"},
        {"dtype": ["F32"]},
        {"dtype": None},
        {"shape": [-1]},
        {"shape": [10**30, 10**30]},
        {"shape": [2**63]},
        {"shape": [1.0]},
        {"shape": [True]},
        {"shape": "1"},
        {"shape": [1] * 1000},
        {"shape": [0, 10**18]},
        {"data_offsets": [0, 10**12]},
        {"data_offsets": [4, 0]},
        {"data_offsets": [-4, 0]},
        {"data_offsets": [0]},
        {"data_offsets": None},
        {"data_offsets": [0.0, 4.0]},
    ):
        yield f"{name}: {changed}"[:60], {**header, name: {**entry, **changed}}
    yield "no dtype", {**header, name: {k: v for k, v in entry.items() if k != "dtype"}}
    yield "an entry that is none", {**header, name: []}
    yield "one tensor twice", {**header, "copy": entry}
    yield "one too many", {**header, "more": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    yield "one renamed", {("x" if key == name else key): v for key, v in header.items()}
    text = json.dumps(header)
    another = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    for again in (another, {**entry, "shape": [*entry["shape"], 1]}):  # type: ignore[misc]
        yield "a key twice", f"{text[:-1]}, {json.dumps(name)}: {json.dumps(again)}}}".encode()
    yield (
        "keys without end, one twice",
        b"{" + b",".join(b'"%d":1' % n for n in [*range(150_000), 7]) + b"}",
    )
    yield "nested without end", b'{"a":' * 10**5
    yield "an array", b"[" + text.encode() + b"]"
    yield "no UTF-8", text.encode() + b"\xff"
    yield "two values", text.encode() + b"{}"
    yield "nothing", b""
    yield "zeros", b"\0" * 64


def hostile_data(header: Header, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Values that no trained network has, in tensors of the right shape and type."""
    for value in (math.nan, math.inf, -math.inf):
        for name in ("decoder.to_image.bias", f"{FIRST}lower", f"{FIRST}permutation"):
            yield f"{name} {value}", _changed(header, data, name, value)
    for name, value in (
        (f"{FIRST}permutation", 0.0),
        (f"{FIRST}permutation", 0.5),
        (f"{FIRST}permutation", 1.0),
        (f"{FIRST}diagonal_sign", 0.0),
        (f"{FIRST}diagonal_sign", 2.0),
        (next(name for name in header if name.endswith("running_var")), -1.0),
    ):
        yield f"{name} {value}", _changed(header, data, name, value)
    begin, end = header[f"{FIRST}permutation"]["data_offsets"]  # type: ignore[misc]
    mixed = np.frombuffer(data, np.float32, (end - begin) // 4, begin)
    halves = np.where(mixed == 0, np.float32(0.5), mixed).tobytes()
    yield "a permutation with halves beside its ones", data[:begin] + halves + data[end:]


def _changed(header: Header, data: bytes, name: str, value: float) -> bytes:
    begin, end = header[name]["data_offsets"]  # type: ignore[misc]
    changed = bytearray(data)
    changed[begin:end] = np.full((end - begin) // 4, value, np.float32).tobytes()
    return bytes(changed)


def hostile_files(valid: bytes, canary: Canary) -> Iterator[tuple[str, bytes]]:
    header, data = parts_of(valid)
    for name, options in canary.named():
        yield name, whole(metadata(header, model=name, options=json.dumps(options)), data)
    for kind, changed in hostile_headers(header):
        yield kind, whole(changed, data)
    for kind, values in hostile_data(header, data):
        yield kind, whole(header, values)
    for length in (0, 1, 7, 8, 9, 100, len(valid) - len(data), len(valid) - 1):
        yield f"cut after {length}", valid[:length]
    yield "more behind", valid + b"\0"
    for length in (2**64 - 1, 2**63, len(valid), 0, 1):
        yield f"header of {length}", struct.pack("<Q", length) + valid[8:]
    yield "a pickle", b"\x80\x04cos\nsystem\n(S'touch " + str(canary.file).encode() + b"'\ntR."
    yield "text", b"no weights at all, but long enough to have a header"


@pytest.mark.slow
def test_hostile_files_are_refused_in_one_line_and_run_nothing(
    valid: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary, path = Canary(tmp_path), tmp_path / "evil.safetensors"
    (tmp_path / "canary_module.py").write_text(f"open({str(canary.file)!r}, 'w')\nmake = dict")
    monkeypatch.syspath_prepend(tmp_path)
    kinds = list(hostile_files(valid, canary))
    assert len(kinds) > 300
    for kind, content in kinds:
        path.write_bytes(content)
        with pytest.raises(ValueError) as caught:  # the words are looked at below
            load_weights(path)
            pytest.fail(f"{kind} was loaded")
        message = str(caught.value)
        assert message.startswith(str(path)), kind
        assert len(message.splitlines()) == 1 and len(message) < 600, (kind, message)
        assert not canary.file.exists(), kind
    path.write_bytes(valid)
    assert load_weights(path).config.width == 1  # what all of these were made of


def test_what_a_header_says_in_an_odd_way_changes_nothing(valid: bytes, tmp_path: Path) -> None:
    """The library takes these; what was compared with the network is what is loaded."""
    header, data = parts_of(valid)
    name, entry = next(item for item in header.items() if item[0] != "__metadata__")
    text = json.dumps(header).encode()
    again = f", {json.dumps(name)}: {json.dumps(entry)}}}".encode()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(valid)
    expected = load_weights(path).state_dict()
    surplus = {**header, name: {**entry, "surplus": 1}}
    for odd in (b" " + text, text[:-1] + again, json.dumps(surplus).encode()):
        path.write_bytes(whole(odd, data))
        found = load_weights(path).state_dict()
        assert all(map(torch.equal, found.values(), expected.values()))


def test_the_canary_sings(tmp_path: Path) -> None:
    """The factories above would have run: by name, when the caller gives the name."""
    canary = Canary(tmp_path)
    name, options = next(canary.named())
    with pytest.raises(ValueError, match="returned a bytes"):
        build_model(name, options)
    assert canary.file.exists()


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a folder or a device"):
        load_weights(tmp_path)
    with pytest.raises(ValueError, match="no such file"):
        load_weights(tmp_path / "none.safetensors")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="a folder or a device"):  # and does not wait for a writer
        load_weights(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("width=3000", "width must be at most 2048, got 3000"),
        ("psf_blocks=99", r"do not fit 'nano' with its options: it lacks \d+ tensors"),
        ("kernel_size=15", r"is \[4, 9, 5\], the network's is \[4, 15, 8\]"),
        ("later=1", "unknown network option 'later'"),
        ("options {}", "its options lack width, residual_blocks"),
        (f"{FIRST}permutation 0.0", "permutation' must have a single 1 a row and column"),
        ("decoder.to_image.bias nan", r"'decoder\.to_image\.bias' holds NaN or infinity"),
        ("format 'k3dn-weights-3'", "its format is 'k3dn-weights-3', expected 'k3dn-weights-2'"),
        ("os:system", "whose code does not run because a file names it; .* factory=os:system"),
        ('options {"width": 1, "width', "its options are not JSON: 'width' appears twice"),
        (
            "cut after 100",
            r"not a complete safetensors file \(.*\); it may have been cut off, copy it again",
        ),
        (
            "more behind",
            r"not a complete safetensors file \(.*\); it may have been cut off, copy it again",
        ),
        ("two values", "its header is damaged or was not written by safetensors"),
        ("no UTF-8", "its header is damaged or was not written by safetensors"),
        (f"header of {2**63}", f"its header has {2**63} bytes; at most 2097152 are read"),
    ],
)
def test_a_refusal_says_what_and_where(valid: bytes, tmp_path: Path, kind: str, words: str) -> None:
    path = tmp_path / "evil.safetensors"
    files = hostile_files(valid, Canary(tmp_path))
    path.write_bytes(next(content for name, content in files if name.startswith(kind)))
    with pytest.raises(ValueError, match=words):
        load_weights(path)


def test_integers_are_no_weights(valid: bytes, tmp_path: Path) -> None:
    """int32 has the size of float32: only its name gives it away."""
    header, data = parts_of(valid)
    path = tmp_path / "w.safetensors"
    name = "decoder.to_image.bias"
    path.write_bytes(whole({**header, name: {**header[name], "dtype": "I32"}}, data))
    words = r"to_image\.bias' is torch\.int32, the network takes torch\.float32, float16 or bfloat"
    with pytest.raises(ValueError, match=words):
        load_weights(path)


MEMORY = """
import resource, sys
import k3dn
k3dn.load_weights(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    try:
        k3dn.load_weights(path)
        sys.exit(path)
    except ValueError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_refusals_take_little_memory(valid: bytes, tmp_path: Path) -> None:
    """Files that ask for gigabytes, some of them sparse ones that seem to hold them."""
    good = tmp_path / "good"
    good.write_bytes(valid)
    header, data = parts_of(valid)
    wide = {"width": 2000, "disparity_channels": 2000, "spectrum_size": 1000, "kernel_size": 999}
    paths = []
    for number, content in enumerate(
        [
            whole(with_options(header, **wide), data),
            whole(with_options(header, dense_kernels=2000, window_px=32, width=1000), data),
            struct.pack("<Q", 2**33) + b'{"a":',
            struct.pack("<Q", 2**21) + b'{"a":' * 2**20,
            whole({**header, "more": _floats(2**33, len(data))}, data),
            whole({**header, "decoder.to_image.bias": _floats(2**33, len(data))}, data),
        ]
    ):
        path = tmp_path / str(number)
        path.write_bytes(content)
        os.truncate(path, len(content) + 2**33)  # takes no room on the disk
        paths += [str(path), str(tmp_path / f"{number}-short")]
        Path(paths[-1]).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(good), *paths],
        env={**os.environ, "PYTHONPATH": str(Path(k3dn.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 64, "MiB"


def _floats(length: int, begin: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": [length // 4], "data_offsets": [begin, begin + length]}


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Bytes overwritten, put in or taken out, half of the places in the header."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["set", "insert", "delete"]),
                st.booleans(),
                st.floats(0, 1, exclude_max=True),
                st.sampled_from(b'\0\x7f\x80\xff"{}[]:,-.0123456789eEfFIBaN\\ '),
            ),
            min_size=1,
            max_size=4,
        )
    )

    def mutate(content: bytes) -> bytes:
        changed = bytearray(content)
        in_header = 8 + int.from_bytes(content[:8], "little")
        for kind, early, where, byte in steps:
            at = int(where * (in_header if early else len(changed)))
            changed[at : at + (kind != "insert")] = b"" if kind == "delete" else bytes([byte])
        return bytes(changed)

    return mutate


@pytest.mark.slow
@settings(max_examples=300)
@given(mutations())
@example(bytes)
def test_a_damaged_file_loads_as_what_it_says_or_is_refused(
    valid: bytes, tmp_path: Path, mutate: Callable[[bytes], bytes]
) -> None:
    """Oracle: the safetensors library reads the same file."""
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(mutate(valid))
    try:
        found = load_weights(path).state_dict()
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
        return
    expected = load_file(path)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value) and value.isfinite().all()


@pytest.mark.parametrize("name", k3dn.VARIANTS)
@pytest.mark.parametrize("form", ["k3dn", "paper"])
def test_good_files_come_back_to_the_bit(name: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    options = {"form": form, "width": 2, "disparity_channels": 4}
    torch.manual_seed(0)
    model = build_model(name, options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    save_weights(path, model, name=name, options=options)
    again = load_weights(path)
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    assert not any(tensor.is_meta for tensor in [*again.parameters(), *again.buffers()])
    assert all(parameter.requires_grad for parameter in again.parameters())
    left, right = torch.rand(2, 1, 3, 32, 48)
    assert torch.equal(again(left, right), model(left, right))


def test_the_same_weights_are_the_same_file(tmp_path: Path) -> None:
    """safetensors orders the metadata by chance; digests name weights."""
    model = build_model("nano", SIZES)
    files = set()
    for number in range(8):
        path = tmp_path / f"{number}.safetensors"
        save_weights(path, model, name="nano", options=SIZES)
        files.add(path.read_bytes())
    assert len(files) == 1
    read = load_file(path)
    assert all(torch.equal(value, read[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_become_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    model = build_model("nano", SIZES)
    save_weights(path, model.to(dtype), name="nano", options=SIZES)
    for key, value in load_weights(path).state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, model.state_dict()[key].float())


FIRST_OPTIONS = {
    **{"width": 2, "residual_blocks": 1, "psf_blocks": 1, "srp_residual_blocks": 1},
    **{"kernel_size": 9, "spectrum_size": 16, "attention_window": 5, "value_kernel": 1},
    **{"disparity_width": 8, "disparity_channels": 4, "disparity_shifts": 2, "window_px": 16},
    **{"dense_kernels": 0, "psf": True, "skip_psf": True, "srp": True, "single_picture": False},
    **{"pad_to_grid": True, "shared_windows": True, "authors_disparity": False},
    **{"two_sided": True, "local_norm": True, "mirror_disparity": True, "mirror_whole": False},
    **{"coc_readout": True, "scaled_softmax": True, "refined_query": False},
    **{"bounded_inverse": True, "extra_biases": True, "reversed_reblur": True},
    **{"gated_values": True, "mean_residual": True, "scaled_start": True},
}
"""What the first files of this format say, which have to mean the same for ever."""


def test_the_first_files_of_this_format_load(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    tensors = build_model("nano", {**FIRST_OPTIONS, **EARLIER}).state_dict()
    written = {"format": "k3dn-weights-2", "model": "nano", "options": json.dumps(FIRST_OPTIONS)}
    save_file(tensors, path, metadata=written)
    config = asdict(load_weights(path).config)
    assert config == {**FIRST_OPTIONS, **EARLIER}


def test_an_option_that_a_file_lacks_is_what_it_was_and_not_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    options = {**FIRST_OPTIONS, **EARLIER}
    del options["gated_values"]
    written = {"format": FORMAT, "model": "nano", "options": json.dumps(options)}
    save_file(build_model("nano", options).state_dict(), path, metadata=written)
    with pytest.raises(ValueError, match="its options lack gated_values"):
        load_weights(path)
    monkeypatch.setitem(EARLIER, "gated_values", False)
    assert load_weights(path).config.gated_values is False


class Gain(torch.nn.Module):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))
        self.register_buffer("mask", torch.tensor([0.0, -math.inf]))
        self.register_buffer("count", torch.tensor([7], dtype=torch.int64))

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return self.gain * left


def test_somebodys_network_is_built_by_the_factory_that_the_caller_names(tmp_path: Path) -> None:
    path, name = tmp_path / "w.safetensors", f"{Gain.__module__}:Gain"
    save_weights(path, Gain(0.3), name=name, options={"gain": 2.0})
    with pytest.raises(ValueError, match=f"does not run because .* give factory={name}"):
        load_weights(path)
    with pytest.raises(ValueError, match="not of 'os:system'"):
        load_weights(path, "os:system")
    for factory in (name, Gain):
        again = load_weights(path, factory)
        assert again.gain.item() == pytest.approx(0.3) and int(again.count) == 7
        assert not again.training
    with pytest.raises(ValueError, match="returned a dict, expected"):
        load_weights(path, dict)
    with pytest.raises(ValueError, match="does not take these options"):
        load_weights(path, lambda: Gain())
    header, data = parts_of(path.read_bytes())
    path.write_bytes(whole(header, _changed(header, data, "gain", math.nan)))
    with pytest.raises(ValueError, match="'gain' holds NaN"):
        load_weights(path, Gain)


def test_a_variant_takes_no_factory(valid: bytes, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(valid)
    with pytest.raises(ValueError, match="'nano', which takes no factory"):
        load_weights(path, Gain)


def test_of_what_torch_says_the_last_line_is_told_and_of_others_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch begins with a line that says nothing; who wrote a factory says it in several."""
    code = (
        "import torch\n"
        "def line():\n    return torch.nn.Linear(2, 3)\n"
        "def refusing():\n    raise ValueError('it takes\\n  a licence')\n"
    )
    (tmp_path / "talking_network.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "w.safetensors"
    for name in ("line", "refusing"):
        factory = f"talking_network:{name}"
        save_weights(path, torch.nn.Linear(2, 4), name=factory)
        with pytest.raises(ValueError) as refused:
            load_weights(path, factory)
        told = str(refused.value).removeprefix(f"{path}: ")
        if name == "line":
            assert told.startswith("size mismatch for bias") and "\n" not in told
        else:
            assert told.endswith("it takes a licence")
