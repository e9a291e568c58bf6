"""Where the box's weights lie, and how they are found: by name, with a checked digest.

Two folders: the one that came with the package, whose names come first, and the user's own, into
which ``install`` puts files. An entry is ``NAME.json``, which names its weights file.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from k3dn.box.entry import Entry, Facts, check_name, check_sha256, entry_text, read_entry
from k3dn.weights import load_weights, stored_network

FOLDER = Path(__file__).parent
"""What came with the package."""
VARIABLE = "K3DN_WEIGHTS"
"""Environment variable that names the user's folder."""
PREFIX = "box:"
"""Before a name where weights are asked for, to tell it from a file."""

_CHUNK_BYTES = 1 << 20
_SUFFIX = ".safetensors"


def user_folder() -> Path:
    """The user's folder of weights, which need not be there.

    What ``K3DN_WEIGHTS`` names, else ``k3dn/weights`` where the system keeps a user's data:
    ``XDG_DATA_HOME`` (``~/.local/share``), ``~/Library/Application Support``, ``LOCALAPPDATA``.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    if sys.platform == "darwin":
        base = Path("~/Library/Application Support").expanduser()
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser()
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    return base / "k3dn" / "weights"


def entries() -> dict[str, Entry]:
    """All entries by name, the package's first. Raises ValueError for a damaged one."""
    found = {path.stem: _entry(path) for path in _files(FOLDER)}
    return found | {p.stem: _entry(p) for p in _files(user_folder()) if p.stem not in found}


def names() -> list[str]:
    """The names of all entries, the package's first; reads none of them."""
    found = [path.stem for folder in (FOLDER, user_folder()) for path in _files(folder)]
    return list(dict.fromkeys(found))


def entry(name: str) -> Entry:
    """One entry, with or without ``box:`` before its name.

    Raises ValueError for a name that there is not, with those that there are.
    """
    return _entry(_place(name))


def folder_of(name: str) -> Path:
    """The folder that an entry lies in, the package's or the user's."""
    return FOLDER if (FOLDER / f"{name}.json").exists() else user_folder()


def path_of(name: str) -> Path:
    """The weights file of an entry, its digest checked.

    Raises ValueError for a name that there is not, and for a file that is missing or damaged.
    """
    place = _place(name)
    found = _entry(place)
    path = place.with_name(found.file)
    again = "reinstall the package" if place.parent == FOLDER else "install it again"
    try:
        digest = file_sha256(path)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ValueError(f"{PREFIX}{found.name}: {path}: {reason}; {again}") from error
    if digest != found.sha256:
        raise ValueError(
            f"{PREFIX}{found.name}: {path} is damaged: its sha256 is {digest[:12]}..., the entry's "
            f"{found.sha256[:12]}...; {again}"
        )
    return path


def load(name: str) -> nn.Module:
    """The network of an entry, float32, in evaluation mode on the CPU.

    name: such as ``nano``, with or without ``box:``. The file's digest is checked, the network is
    built without memory and filled from the file. Raises ValueError as ``path_of`` does.
    """
    return load_weights(path_of(name))


def install(
    source: Path, *, name: str, sha256: str, facts: Facts | None = None, overwrite: bool = False
) -> Entry:
    """Put a weights file into the user's folder, under a name.

    sha256: what the file must have; facts: what is known of the weights. The file is copied,
    checked against the digest and read as a network before anything is visible under the name; a
    killed installation leaves the box as it was. The same file again changes nothing. Raises
    ValueError, nothing installed, for another digest, for what is not weights of a K3DN, for a
    name of the package's, and without ``overwrite`` for one that has other weights.
    """
    check_sha256(sha256)
    check_name(name)
    if (FOLDER / f"{name}.json").exists():
        raise ValueError(f"{PREFIX}{name} comes with the package; give another name")
    folder = user_folder()
    before = _entry(folder / f"{name}.json") if (folder / f"{name}.json").exists() else None
    if before and before.sha256 != sha256 and not overwrite:
        raise ValueError(
            f"{PREFIX}{name} is installed with other weights; give another name, or overwrite=true"
        )
    try:
        return _put(source, folder, before, name=name, sha256=sha256, facts=facts)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ValueError(f"{error.filename or source}: {reason}; nothing was installed") from error


def _put(
    source: Path,
    folder: Path,
    before: Entry | None,
    *,
    name: str,
    sha256: str,
    facts: Facts | None,
) -> Entry:
    folder.mkdir(parents=True, exist_ok=True)
    # The name carries the digest: the entry, written last, goes from one whole file to another.
    file = f"{name}-{sha256[:12]}{_SUFFIX}"
    with _temporary(folder) as copy:
        shutil.copyfile(source, copy)
        found = file_sha256(copy)
        if found != sha256:
            raise ValueError(
                f"{source} has sha256 {found}, not {sha256}: it is damaged or another file; "
                "nothing was installed"
            )
        try:
            new = describe(copy, name=name, file=file, facts=facts or Facts())
        except ValueError as error:
            raise ValueError(str(error).replace(str(copy), str(source))) from error
        copy.replace(folder / file)
    with _temporary(folder) as text:
        text.write_text(entry_text(new), encoding="utf-8")
        text.replace(folder / f"{name}.json")
    if before and before.file != file:
        (folder / before.file).unlink(missing_ok=True)
    return new


def describe(path: Path, *, name: str, file: str, facts: Facts) -> Entry:
    """The entry of a weights file, which is read as ``load_weights`` reads it.

    file: the name that it will have. Raises ValueError where it is not weights of a K3DN.
    """
    network = load_weights(path)
    stored = stored_network(path)
    return Entry(
        name=name,
        file=file,
        sha256=file_sha256(path),
        model=stored.model,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        stored=" and ".join(stored.types),
        facts=facts,
    )


def file_sha256(path: Path) -> str:
    """The sha256 (hex) of a file. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if path.is_file())


def _place(name: str) -> Path:
    bare = name.removeprefix(PREFIX)
    if bare in names():
        return folder_of(bare) / f"{bare}.json"
    known = ", ".join(PREFIX + known for known in names()) or "nothing"
    raise ValueError(
        f"there is no {PREFIX}{bare[:80]} in the box (it has: {known}); "
        "'k3dn weights install FILE' adds weights"
    )


def _entry(path: Path) -> Entry:
    found = read_entry(path)
    if found.name != path.stem:
        raise ValueError(f"{path} is the entry of {found.name!r}; name it {found.name}.json")
    return found


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    path = folder / f".tmp-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
