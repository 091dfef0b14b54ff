"""Scenes: pure, apart between splits, and as many of each kind as the recipe says."""

from collections import Counter
from dataclasses import FrozenInstanceError, replace

import pytest
from scipy.stats import chisquare
from tiny_world import tiny

from mm1core.world.scene import CELLS, SPLITS, scene, size

WORLD = tiny()
SCENES = [scene(WORLD, "train", index) for index in range(4000)]


def test_a_scene_is_a_function_of_seed_split_and_index():
    backwards = {index: scene(WORLD, "train", index) for index in reversed(range(300))}
    assert [backwards[index] for index in range(300)] == SCENES[:300]
    assert scene(replace(WORLD, seed=1), "train", 0) != SCENES[0]


def test_more_scenes_or_another_share_of_alt_text_leave_the_scenes_alone():
    assert [scene(tiny(train_scenes=10_000, alt_text=1.0), "train", index) for index in range(20)] == SCENES[:20]


def test_no_scene_is_in_two_splits():
    scenes = {split: {scene(WORLD, split, index) for index in range(1500)} for split in SPLITS}
    assert sum(len(found) for found in scenes.values()) == 4500
    assert len(set.union(*scenes.values())) == 4500


def test_nothing_in_a_scene_can_be_changed():
    with pytest.raises(FrozenInstanceError):
        SCENES[0].digit = 3


def test_one_to_four_things_in_the_shares_of_the_recipe():
    counts = Counter(len(found.things) for found in SCENES)
    assert chisquare([counts[number] for number in (1, 2, 3, 4)], [1800, 1000, 600, 600]).pvalue > 1e-4


@pytest.mark.parametrize(
    ("what", "choices"),
    [
        (lambda found: [thing.shape for thing in found.things], 5),
        (lambda found: [thing.colour for thing in found.things], 6),
        (lambda found: [thing.cell for thing in found.things], 9),
        (lambda found: [found.digit], 10),
        (lambda found: [found.plate], 9),
    ],
)
def test_shapes_colours_digits_and_places_are_even(what, choices):
    counts = Counter(value for found in SCENES for value in what(found))
    assert set(counts) == set(range(choices))
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_no_two_things_share_a_cell_and_none_is_under_the_plate():
    for found in SCENES:
        cells = [*(thing.cell for thing in found.things), found.plate]
        assert len(set(cells)) == len(cells)
        assert max(cells) < CELLS


def test_ranges():
    assert {thing.down for found in SCENES for thing in found.things} == set(range(5))
    assert {thing.right for found in SCENES for thing in found.things} == set(range(5))
    assert all(0.8 <= thing.brightness < 1.1 for found in SCENES for thing in found.things)
    assert (min(found.background for found in SCENES), max(found.background for found in SCENES)) == (15, 60)


def test_only_shapes_that_occur_once_are_unique():
    for found in SCENES:
        shapes = Counter(thing.shape for thing in found.things)
        assert [thing.shape for thing in found.unique] == [
            thing.shape for thing in found.things if shapes[thing.shape] == 1
        ]
    assert any(not found.unique for found in SCENES)


def test_the_size_of_a_split():
    assert [size(WORLD, split) for split in SPLITS] == [200, 90, 90]
