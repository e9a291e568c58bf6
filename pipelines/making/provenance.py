"""What a version says about the program and the machine that made it."""

import hashlib
import importlib.util
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

# What decides bytes: transforms, decoders, the photographs that come along, the Parquet encoder.
_DECIDING = (
    *("imagecodecs", "numpy", "opencv-python-headless", "pyarrow", "scikit-image"),
    *("simplejpeg", "tifffile", "torch"),
)
_LIBRARIES = (*_DECIDING, "ray")


def code_fingerprint(packages: Sequence[str]) -> str:
    """Return the sha256 (hex) of the Python files of packages, without importing them.

    The versions of the libraries that decide bytes count, too. A shard made by other code is made
    again; the same code in a wheel and in a checkout agree. Raises ModuleNotFoundError for a
    package that is not there, whose changes would go unseen.
    """
    digest = hashlib.sha256()
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(f"there is no package {package}")
        folders = spec.submodule_search_locations
        for folder in folders:
            for file in sorted(Path(folder).rglob("*.py")):
                digest.update(f"{package}/{file.relative_to(folder).as_posix()}\0".encode())
                digest.update(file.read_bytes())
    digest.update(" ".join(_version(library) for library in _DECIDING).encode())
    return digest.hexdigest()


def describe_code(fingerprint: str) -> dict[str, str]:
    """Return the code version for a manifest: release, fingerprint, libraries."""
    libraries = {name: _version(name) for name in _LIBRARIES}
    return {
        "k3dn": _version("k3dn"),
        "fingerprint": fingerprint,
        "python": platform.python_version(),
        **{name: version for name, version in libraries.items() if version != "none"},
    }


def processor_kind(device: str = "cpu") -> str:
    """Return the kind of processor, e.g. ``x86_64 Intel Xeon ...``: floats differ between kinds.

    device: torch's name of it; with a GPU the GPU's name stands beside the processor's.
    """
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(x.partition(":")[2].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    kind = f"{platform.machine()} {model}".strip()
    if device == "cpu":
        return kind
    import torch

    return f"{kind}, {torch.cuda.get_device_name(device)}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
