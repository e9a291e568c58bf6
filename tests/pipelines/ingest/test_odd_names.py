"""Trees whose names are odd in ways of their own: understood, refused or asked about in a line that
says what to do."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from pipelines.errors import UserError
from pipelines.ingest.layouts import discover
from pipelines.ingest.layouts.files import Discovery
from pipelines.ingest.source_files import open_source

NFC, NFD = (normalize(form, "é") for form in ("NFC", "NFD"))
TWELVE = range(1, 13)
VIEWS = ("left", "right", "sharp")
PATTERNS = {"left": "left/*.png", "right": "right/*.png", "target": "sharp/*.png"}


def find(names: list[str], patterns: Mapping[Any, str] | None = None) -> Discovery:
    return discover(dict.fromkeys(names, 1), layout="auto", source="set", patterns=patterns)[1]


def numbered(*forms: str) -> list[str]:
    return [form.format(n) for form in forms for n in TWELVE]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            numbered("left/{:03d}_left.png", "right/{:03d}_right.png", "sharp/{:03d}_sharp.png"),
            "left='left/*_left.png' right='right/*_right.png'",
        ),
        (
            numbered("train_l/source/{}_R.png", "train_r/source/{}_L.png"),
            "by these names left and right are exchanged",
        ),
        (numbered("left/IMG_{}.png", "right/img_{}.png"), "but for capitals"),
        (
            numbered(
                f"left/{normalize('NFC', 'é')}{{}}.png", f"right/{normalize('NFD', 'é')}{{}}.png"
            ),
            "the form of its accents",
        ),
        (
            numbered("left/05-{}.png", "right/05-{}.png", "sharp/06-{}.png"),
            "called 05-* and targets 06-*, which may be another series",
        ),
        (numbered("left\\{}.png", "right\\{}.png"), "unpack it again"),
        (["left/1.png", "right/1.png", "copy/left/2.png"], "2 sets"),
    ],
    ids=["ends", "exchanged", "capitals", "accents", "series", "backslashes", "trees"],
)
def test_what_is_refused_says_why(names: list[str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        find(names)


def test_a_question_about_names_has_an_answer() -> None:
    names = numbered("left/{:03d}_left.png", "right/{:03d}_right.png", "sharp/{:03d}_sharp.png")
    patterns = {view: f"{view}/*_{view}.png" for view in VIEWS[:2]} | {
        "target": "sharp/*_sharp.png"
    }
    assert len(find(names, patterns).pairs) == 12
    series = dict.fromkeys(numbered("left/05-{}.png", "right/05-{}.png", "sharp/06-{}.png"), 1)
    assert len(discover(series, layout="auto", source="set", offsets=[0])[1].pairs) == 12


def test_one_pair_with_the_name_of_both_and_the_others_are_rejects() -> None:
    found = find([*numbered("left/{}_l.png", "right/{}_r.png"), "left/a.png", "right/a.png"])
    assert [pair.pair_id for pair in found.pairs] == ["a"] and len(found.rejects) == 24


def test_thumbnails_and_what_was_thrown_away_are_no_pairs() -> None:
    kept = [f"{view}/{n}.png" for view in VIEWS for n in TWELVE]
    thumbnails = [f"{view}/@eaDir/{n}.png/THUMB_M.jpg" for view in VIEWS for n in TWELVE]
    for names in (thumbnails, [f"#recycle/{name}" for name in kept]):
        for patterns in (None, PATTERNS):
            found = find(kept + names, patterns)
            assert found.pairs == find(kept, patterns).pairs
            assert {reject.path for reject in found.rejects} == set(names)


@pytest.mark.parametrize(
    ("folder", "split"), [("training", "train"), ("valid", "val"), ("testing", "test")]
)
def test_splits_have_many_names(folder: str, split: str) -> None:
    names = [f"{folder}/{view}/{n}.png" for view in VIEWS[:2] for n in "ab"]
    patterns = {"left": "{split}/left/*.png", "right": "{split}/right/*.png"}
    for found in (find(names), find(names, patterns)):
        assert [pair.split for pair in found.pairs] == [split, split]


def test_patterns_with_dots_and_patterns_of_two_roles() -> None:
    names = [*numbered("l.v2/{}.png", "r.v2/{}.png"), "l.png"]
    assert len(find(names, {"left": "l.v2/*", "right": "r.v2/*"}).pairs) == 12
    with pytest.raises(UserError, match="the pattern of two roles"):
        find(names, {"left": "*.png", "right": "*.png"})


def test_an_archive_within_an_archive_is_not_advised(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as outer:
        outer.writestr("inner.zip", b"")
    files = open_source(str(tmp_path / "outer.zip"))
    with pytest.raises(UserError, match="unpack the outer one"):
        discover(files.walk(), layout="auto", source=files.url)
