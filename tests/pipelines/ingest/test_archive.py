"""A set in an archive: the same version as of its folder, and nothing that could do harm."""

import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.dataset.version import open_version
from pipelines.errors import UserError
from pipelines.ingest.config import IngestConfig
from pipelines.ingest.ingest import make
from pipelines.ingest.source_files import open_source
from pipelines.storage import locate
from tests.pipelines.dataset.makers import write_dpd_tree

FORMS = {"zip": ".zip", "tar": ".tar", "gztar": ".tar.gz"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_dpd_tree(tmp_path / "dpd", train=2, val=1, test=1)
    return tmp_path / "dpd"


def pack(folder: Path, form: str) -> Path:
    return Path(shutil.make_archive(str(folder), form, folder))


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_makes_the_version_of_its_folder(folder: Path, form: str) -> None:
    archive = pack(folder, form)
    assert archive.name.endswith(FORMS[form])
    digests, before = [], sorted(folder.parent.iterdir())
    for source in (folder, archive):
        root = f"memory://{form}-{source.name}-{os.getpid()}"
        result = make(IngestConfig(source=str(source), root=root))
        version = open_version(locate(root), "dpd-blur")
        digests.append((result.digest, version.manifest["plan"], version.manifest["inputs"]))
    assert digests[0] == digests[1]
    assert sorted(folder.parent.iterdir()) == before  # nothing is unpacked


def test_what_macos_adds_to_a_zip_is_left_out(folder: Path) -> None:
    archive = pack(folder, "zip")
    with zipfile.ZipFile(archive, "a") as file:
        for name in [n for n in file.namelist() if n.endswith(".png")]:
            file.writestr(f"__MACOSX/{Path(name).parent}/._{Path(name).name}", b"resource")
    root = f"memory://macos-{os.getpid()}"
    make(IngestConfig(source=str(archive), root=root))
    version = open_version(locate(root), "dpd-blur")
    assert version.rows("train") == 2 and version.manifest["rejected"] == 0


def test_a_damaged_member_is_a_reject_and_stops_nothing(folder: Path) -> None:
    archive = pack(folder, "zip")
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo("train_l/source/1P0Atrain0000_L.png")
    data[info.header_offset + 30 + len(info.filename) + info.compress_size // 2] ^= 0xFF
    archive.write_bytes(data)
    root = f"memory://damaged-{os.getpid()}"
    make(IngestConfig(source=str(archive), root=root, max_rejected=0.5))
    with locate(root).child("dpd-blur/v1/_rejected.parquet").open() as table:
        (row,) = pq.read_table(table).to_pylist()
    assert row["pair_id"] == "1P0Atrain0000" and "damaged in the archive" in row["reason"]


def zip_of(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            with pytest.warns() if name in archive.namelist() else _nothing():
                info = zipfile.ZipInfo()
                info.filename = name  # as it is, backslashes too
                archive.writestr(info, b"x")
    return file.getvalue()


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def tar_of(*names: str, zeros: int = 0, packed: bool = False) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz" if packed else "w:") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = zeros
            archive.addfile(member, io.BytesIO(bytes(zeros)))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.zip", zip_of("l/a.png", "../a.png"), r"outside itself: \.\./a\.png"),
        ("a.zip", zip_of("/etc/a.png"), "outside itself"),
        ("a.tar", tar_of("l/../../a.png"), "outside itself"),
        ("a.zip", zip_of("l/a.png", "l/a.png"), "2 files of the name l/a.png"),
        ("a.tar", tar_of("l/a.png", "./l/a.png"), "2 files of the name l/a.png"),
        ("a.tgz", tar_of("a.png", zeros=64 << 20, packed=True), "more than 50 times its size"),
        ("a.zip", b"PK no zip at all", "damaged, or not an archive"),
        ("a.tar", b"no tar at all" * 100, "damaged, or not an archive"),
        ("a.tar.gz", b"no gz at all" * 100, "damaged, or not a tgz"),
        ("a.zip", zip_of(r"l\a.png"), "backslashes in names, as of Windows"),
        ("a.tar.xz", b"any", "is a file; source is a folder, or an archive"),
    ],
    # Not the bytes, which hold the time: both processes of a run must find the same names.
    ids=lambda value: value if isinstance(value, str) else str(len(value)),
)
def test_an_archive_that_cannot_be_trusted_is_refused(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=words):
        open_source(str(tmp_path / name)).walk()


def test_a_member_that_claims_too_much_is_not_read(tmp_path: Path) -> None:
    data = bytearray(tar_of("a.png"))
    size = tarfile.TarInfo("a.png")
    size.size = 3 << 30
    data[:512] = size.tobuf()
    (tmp_path / "a.tar").write_bytes(data[:512])
    files = open_source(str(tmp_path / "a.tar"))
    with pytest.raises((OSError, UserError)):
        files.walk()
        files.read("a.png")


@pytest.mark.parametrize("damage", ["a header", "cut in data", "cut in a header", "cut between"])
def test_a_tar_that_ends_too_early_is_refused(tmp_path: Path, damage: str) -> None:
    """tarfile takes a header that makes no sense for the end, and forgets what lies behind."""
    data = bytearray(tar_of("a.png", "b.png", "c.png", zeros=700))  # 512 + 1024 bytes each
    where = {"a header": 10_000, "cut in data": 2300, "cut in a header": 1700, "cut between": 1536}
    data[1536 + 150] ^= 0x55 if damage == "a header" else 0
    (tmp_path / "a.tar").write_bytes(data[: where[damage]])
    with pytest.raises(UserError, match=r"damaged behind a\.png|cut off|unexpected end of data"):
        open_source(str(tmp_path / "a.tar")).walk()


def test_links_within_a_tar_are_followed(tmp_path: Path) -> None:
    links = {
        "l/hard.png": (tarfile.LNKTYPE, "l/a.png"),
        "l/soft.png": (tarfile.SYMTYPE, "../l/hard.png"),
        "l/out.png": (tarfile.SYMTYPE, "../../etc/passwd"),
        "l/loop.png": (tarfile.SYMTYPE, "loop.png"),
    }
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("./l/a.png")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
        for name, (kind, leads_to) in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, leads_to
            archive.addfile(member)
    files = open_source(str(tmp_path / "a.tar"))
    assert files.walk() == {
        "l/a.png": 3,
        "l/hard.png": 3,
        "l/loop.png": 0,
        "l/out.png": 0,
        "l/soft.png": 3,
    }
    assert files.read("l/soft.png") == files.read("l/hard.png") == b"abc"
    for name in ("l/out.png", "l/loop.png"):
        with pytest.raises(FileNotFoundError, match="leads nowhere"):
            files.read(name)


def test_a_folder_may_be_called_like_an_archive(tmp_path: Path) -> None:
    (tmp_path / "set.zip/train_l").mkdir(parents=True)
    (tmp_path / "set.zip/train_l/a.png").write_bytes(b"x")
    assert open_source(str(tmp_path / "set.zip")).walk() == {"train_l/a.png": 1}
