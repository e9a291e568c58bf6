"""The source code that goes into a registered model, so that it loads where we are not installed.

Two packages at most: ``k3dn``, and the one that a ``package.module:factory`` comes from.
"""

import hashlib
import importlib.metadata
import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import UserError

_SUFFIXES = (".py", ".json", ".yaml", ".toml", ".txt")
_OURS = (".py",)
"""Of ``k3dn``: a version has weights of its own and needs none of the box."""
_MAX_BYTES = 20 * 2**20


@dataclass(frozen=True, slots=True)
class StagedCode:
    """Code copied into a folder, ready for MLflow's ``code_paths``."""

    paths: tuple[str, ...]
    """One package folder or module file each."""
    sha256: str
    """Digest over names and contents, and the requirements where there are any."""
    requirements: tuple[str, ...]
    """Installed distributions that are needed instead of copies, as name==version."""


def stage_code(model: str, folder: Path) -> StagedCode:
    """Copy the code that builds ``model`` into ``folder``, without caches.

    model: as ``k3dn.build_model`` takes it. An installed third-party package is named as a
    requirement instead of being copied. Raises UserError where a package cannot be found or is
    too large to travel with a model.
    """
    packages = ["k3dn"]
    requirements: list[str] = []
    if ":" in model:
        package = model.partition(":")[0].partition(".")[0]
        installed = _installed_distribution(package)
        if installed:
            requirements.append(installed)
        elif package not in packages:
            packages.append(package)
    copies = [_copy_package(package, folder) for package in packages]
    digest = joined_digest(tree_digest(folder), requirements)
    return StagedCode(
        paths=tuple(str(path) for path in copies),
        sha256=digest,
        requirements=tuple(requirements),
    )


def joined_digest(tree: str, requirements: Sequence[str]) -> str:
    """Return the digest of code and the distributions that it needs, where there are any."""
    if not requirements:
        return tree
    return hashlib.sha256(" ".join([tree, *requirements]).encode()).hexdigest()


def digest_of_modules(names: Sequence[str]) -> str:
    """Return the sha256 (hex) over the sources of modules, ``package.module`` each."""
    digest = hashlib.sha256()
    for name in names:
        package, *parts = name.split(".")
        source = _origin(package).joinpath(*parts).with_suffix(".py").read_bytes()
        digest.update(f"{name} {len(source)}\n".encode())
        digest.update(source)
    return digest.hexdigest()


def tree_digest(folder: Path) -> str:
    """Return the sha256 (hex) over the relative names and contents of the files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _origin(package: str) -> Path:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    if spec is not None and spec.origin and spec.origin.endswith(".py"):
        return Path(spec.origin)
    raise UserError(
        f"the code of package {package!r} cannot be found; where it lies in this folder, "
        "put PYTHONPATH=. before the command"
    )


def _installed_distribution(package: str) -> str | None:
    if package == "k3dn" or not {"site-packages", "dist-packages"} & set(_origin(package).parts):
        return None
    names = importlib.metadata.packages_distributions().get(package)
    return f"{names[0]}=={importlib.metadata.version(names[0])}" if names else None


def _copy_package(package: str, folder: Path) -> Path:
    origin = _origin(package)
    target = folder / origin.name
    if origin.is_file():
        shutil.copyfile(origin, target)
        return target
    suffixes = _OURS if package == "k3dn" else _SUFFIXES
    files = [
        path
        for path in origin.rglob("*")
        if path.suffix in suffixes
        and path.is_file()
        and not any(
            part.startswith((".", "__pycache__")) for part in path.parts[len(origin.parts) :]
        )
    ]
    size = sum(path.stat().st_size for path in files)
    if size > _MAX_BYTES:
        raise UserError(
            f"package {package!r} in {origin} has {size / 2**20:.0f} MB of code; a model carries "
            f"at most {_MAX_BYTES // 2**20} MB: put the factory into a small package of its own"
        )
    for path in files:
        copy = target / path.relative_to(origin)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return target
