"""The sets of pairs that a recipe makes."""

import pytest

from pipelines.recipe.config import RecipeConfig
from pipelines.recipe.pairs import SETS, synth_configs


def test_each_set_is_a_dataset_of_its_own_and_their_pairs_are_those_asked_for() -> None:
    made = synth_configs(RecipeConfig(name="mine", scenes="rooms", photographs="walls", pairs=1000))
    assert len({of_set.dataset for of_set in made}) == len({s.seed for s in made}) == len(SETS) == 7
    assert all(of_set.dataset.startswith("mine-") for of_set in made)
    of_scenes = [of_set for of_set in made if of_set.source == "rooms"]
    of_photographs = [of_set for of_set in made if of_set.textures == "walls"]
    assert len(of_scenes) + len(of_photographs) == len(made)
    assert {s.source for s in of_photographs} == {"places", "procedural"}
    for some in (of_scenes, of_photographs):
        assert sum(of_set.pairs for of_set in some) == pytest.approx(1000, abs=1)


def test_blur_goes_by_the_frame_in_every_set() -> None:
    """Radii of 5 to 18 px at 1000 px width; 1.6 times as much in the wider frame."""
    made = synth_configs(RecipeConfig(scenes="rooms", frame_width=1000, blur=[0.005, 0.018]))
    radii = {}
    for of_set in made:
        look = of_set.dataset.removeprefix("recipe-")
        if of_set.preset == "camera":
            width = of_set.optics.frame_width
            assert width is not None
            radii[look] = [share * width for share in of_set.optics.blur]
        else:
            radii[look] = [of_set.min_coc_px, of_set.max_coc_px]
    assert radii == {
        "scenes": pytest.approx([5.0, 18.0]),
        "scenes-wide": pytest.approx([8.0, 28.8]),
        "scenes-weak": pytest.approx([0.8, 5.04]),
        "scenes-simple": pytest.approx([3.6, 12.96]),
        "places": pytest.approx([8.0, 28.8]),
        "places-weak": pytest.approx([0.8, 5.04]),
        "collages": pytest.approx([3.6, 12.96]),
    }


def test_without_scenes_all_pairs_are_made_up_and_without_pairs_none_are() -> None:
    made = synth_configs(RecipeConfig(photographs="walls", root="s3://bucket/data"))
    assert {of_set.textures for of_set in made} == {"walls"}
    assert {of_set.root for of_set in made} == {"s3://bucket/data"}
    assert synth_configs(RecipeConfig(pairs=0, datasets=["real"])) == []
