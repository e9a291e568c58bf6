"""What is packed comes back as it was, in the order of the texts."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.listing import Listing, Texts
from pipelines.storage import locate

names = st.text(st.characters(codec=None, exclude_characters="\0/"), min_size=1, max_size=4)


@given(some=st.lists(names, max_size=40), times=st.integers(1, 120))
def test_texts_come_back(some: list[str], times: int) -> None:
    every = some * times
    texts = Texts(every)
    assert texts == every and len(texts) == len(every)
    assert texts[1::7] == every[1::7] and texts[-3:] == every[-3:] and texts[9:2] == []
    for place in range(-len(every), len(every), 97):
        assert texts[place] == every[place]
    with pytest.raises(IndexError):
        texts[len(every)]


def test_a_text_with_what_stands_between_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        Texts(["a\0b"] * 1024)


@given(files=st.dictionaries(names, st.integers(0, 1 << 40), max_size=60))
def test_a_listing_is_the_mapping_in_order(files: dict[str, int]) -> None:
    listing = Listing.of(files)
    assert list(listing) == sorted(files) and listing == files
    assert "\U0010ffff~" not in listing


def test_a_folder_is_listed_in_the_order_of_its_paths(tmp_path: Path) -> None:
    made = ["a/x", "a/b/y", "a-b", "a0", "a.png", "a/b.png", "é/z", "0/1/2/3"]
    for name in made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(b"")
    found = list(locate(str(tmp_path)).each_file(follow_links=True))
    assert [path for path, _ in found] == sorted([*made, "\udcff"])
    assert dict(found) == {**{name: len(name.encode()) for name in made}, "\udcff": 0}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2500), max_size=40), st.booleans())
def test_many_files_are_those_one_by_one(places: list[int], ascending: bool) -> None:
    files = Listing((f"{number:05d}.png", 7 * number) for number in range(2501))
    wanted = sorted(places) if ascending else places
    assert list(files.files(wanted)) == [files.file(place) for place in wanted]
