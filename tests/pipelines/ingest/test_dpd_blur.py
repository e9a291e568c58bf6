"""Finding the pairs of a DPD-blur tree by names alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.ingest.layouts import discover
from pipelines.ingest.layouts.files import Discovery
from pipelines.making.plan import LEFT_OUT


def find(files: dict[str, int]) -> Discovery:
    return discover(files, layout="dpd-blur", source="here")[1]


def tree(
    split: str, sources: list[str], targets: list[str], *, suffix: bool = True, ending: str = "png"
) -> dict[str, int]:
    left, right = ("_L", "_R") if suffix else ("", "")
    names = [f"{split}_l/source/{s}{left}.{ending}" for s in sources]
    names += [f"{split}_r/source/{s}{right}.{ending}" for s in sources]
    names += [f"{split}_c/source/{s}.{ending}" for s in sources]
    names += [f"{split}_c/target/{t}.{ending}" for t in targets]
    return dict.fromkeys(names, 1)


def targets_of(files: dict[str, int]) -> dict[str, str]:
    return {p.pair_id: p.target[0].rpartition("/")[2] for p in find(files).pairs if p.target}


def test_original_numbers_differ_by_one_or_two() -> None:
    """1P0A0917 belongs to target 1P0A0916: both lists sorted go together."""
    sources = ["1P0A0917", "1P0A0921", "1P0A1003"]
    targets = ["1P0A0916", "1P0A0922", "1P0A1005"]
    found = find(tree("train", sources, targets) | tree("test", ["1P0A2000"], ["1P0A1999"]))
    assert not found.rejects
    assert [(p.pair_id, p.split) for p in found.pairs] == [
        ("1P0A0917", "train"),
        ("1P0A0921", "train"),
        ("1P0A1003", "train"),
        ("1P0A2000", "test"),
    ]
    first = found.pairs[0]
    assert first.left == ("train_l/source/1P0A0917_L.png", 1)
    assert first.right == ("train_r/source/1P0A0917_R.png", 1)
    assert first.target == ("train_c/target/1P0A0916.png", 1)
    assert first.combined == ("train_c/source/1P0A0917.png", 1)


def test_one_name_for_all_four() -> None:
    files = tree("val", ["0001", "0002"], ["0001", "0002"], suffix=False, ending="TIF")
    found = find({f"DPDD/{name}": size for name, size in files.items()})
    assert [p.pair_id for p in found.pairs] == ["0001", "0002"]
    assert targets_of(files) == {"0001": "0001.TIF", "0002": "0002.TIF"}


@given(
    gaps=st.lists(st.integers(3, 9), min_size=1, max_size=12),
    offsets=st.lists(st.sampled_from([-1, 1, 1, 2]), min_size=12, max_size=12),
)
def test_any_numbers_with_gaps_are_matched(gaps: list[int], offsets: list[int]) -> None:
    numbers = [1000 + sum(gaps[: n + 1]) for n in range(len(gaps))]
    wanted = {f"1P0A{n}": f"1P0A{n + o}.png" for n, o in zip(numbers, offsets, strict=False)}
    files = tree("train", list(wanted), [t.removesuffix(".png") for t in wanted.values()])
    matched = targets_of(files)
    # gaps of 3 and offsets of -1..2 keep the order unless two targets coincide
    if len(set(wanted.values())) == len(wanted) and sorted(wanted.values()) == list(
        wanted.values()
    ):
        assert matched == wanted


def test_missing_target_does_not_shift_the_others() -> None:
    sources = ["1P0A0917", "1P0A0927", "1P0A0937"]
    found = find(tree("train", sources, ["1P0A0916", "1P0A0938"]))
    assert {p.pair_id: p.target and p.target[0] for p in found.pairs} == {
        "1P0A0917": "train_c/target/1P0A0916.png",
        "1P0A0937": "train_c/target/1P0A0938.png",
    }
    assert [(r.pair_id, r.stage) for r in found.rejects] == [("1P0A0927", "discover")]
    assert "missing target" in found.rejects[0].reason


def test_target_that_could_be_two_is_not_guessed() -> None:
    found = find(tree("train", ["a10", "a12", "a30"], ["a11", "a29"]))
    assert [p.pair_id for p in found.pairs] == ["a30"]
    assert [r.pair_id for r in found.rejects] == ["a10", "a12"]


def test_missing_views() -> None:
    files = tree("train", ["a", "b", "c"], ["a", "b", "c"])
    del files["train_l/source/a_L.png"], files["train_r/source/b_R.png"]
    found = find(files)
    assert [p.pair_id for p in found.pairs] == ["c"]
    assert {r.pair_id: r.reason for r in found.rejects} == {
        "a": "missing view: there is no left picture",
        "b": "missing view: there is no right picture",
    }
    assert {r.path for r in found.rejects} == {"train_r/source/a_R.png", "train_l/source/b_L.png"}


def test_a_set_without_targets_or_combined_views() -> None:
    files = {n: s for n, s in tree("test", ["a", "b"], []).items() if "_c/" not in n}
    assert [(p.target, p.combined) for p in find(files).pairs] == [(None, None)] * 2


def test_a_scene_in_two_splits_stays_held_out() -> None:
    found = find(tree("train", ["a", "b"], ["a", "b"]) | tree("test", ["a"], ["a"]))
    assert [(p.pair_id, p.split) for p in found.pairs] == [("b", "train"), ("a", "test")]
    assert found.rejects[0].split == "train"
    assert "test" in found.rejects[0].reason


def test_strangers_are_left_alone() -> None:
    files = tree("train", ["a"], ["a"])
    strangers = dict.fromkeys(["README.md", "train_l/source/notes.txt", "train_x/source/a.png"], 1)
    found = find(files | strangers)
    assert found.pairs == find(files).pairs
    assert [(r.path, r.stage) for r in found.rejects] == [
        ("train_l/source/notes.txt", LEFT_OUT),
        ("train_x/source/a.png", LEFT_OUT),
    ]


def test_auto_finds_the_layout_and_says_when_there_is_none() -> None:
    files = tree("train", ["a"], ["a"])
    assert discover(files, layout="auto", source="here")[0] == "dpd-blur"
    with pytest.raises(UserError, match="no files at here"):
        discover({}, layout="auto", source="here")
    with pytest.raises(UserError, match="no dual-pixel pairs found at here"):
        discover({"a.png": 1}, layout="auto", source="here")
    with pytest.raises(UserError, match="did you mean 'dpd-blur'"):
        discover(files, layout="dpdblur", source="here")
