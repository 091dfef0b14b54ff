"""From a sweep to its arms."""

import random
from collections import Counter
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_files import planned, read

from ablations.design import design_arms, draw_number, suggested_arm
from ablations.errors import SweepError
from ablations.points import some_arms
from ablations.search_arms import arm_at
from ablations.stages import Chains
from ablations.sweep import Range


def arms(folder, text):
    return planned(folder, text).arms


def test_one_at_a_time_is_the_base_and_each_value_alone(tmp_path):
    found = arms(
        tmp_path,
        """
        name: a
        axes:
          connector.kind: [average_pool, attention_pool, c_abstractor]
          image.resolution, connector.num_tokens: {few: [48, 4], small: [24, 9]}
        """,
    )
    coupled = "image.resolution, connector.num_tokens"
    assert [arm.label for arm in found] == ["baseline", "kind=attention_pool", "kind=c_abstractor", "few", "small"]
    assert [arm.baseline for arm in found] == [True, False, False, False, False]
    assert found[0].values == {"connector.kind": "average_pool", coupled: "48/9"}
    assert found[0].set == {}
    assert found[3].values == {"connector.kind": "average_pool", coupled: "few"}
    assert found[3].set == {"image.resolution": 48, "connector.num_tokens": 4}
    assert [arm.varied for arm in found] == [(), ("connector.kind",), ("connector.kind",), (coupled,), (coupled,)]
    assert found[4].config.image.resolution == 24


def test_the_value_that_the_base_has_gives_its_label_to_the_baseline(tmp_path):
    found = arms(
        tmp_path, "name: a\naxes: {data.mix: {even: {captions: 9, interleaved: 9, text: 2}, one: {text: 1}}}\n"
    )
    assert [arm.label for arm in found] == ["baseline", "one"]
    assert found[0].values == {"data.mix": "even"}


def test_a_grid_is_every_combination_with_the_base_as_its_baseline(tmp_path):
    found = arms(
        tmp_path,
        "name: a\naxes: {connector.num_tokens: [4, 9], decoder.layers: [3, 2]}\ndesign: grid\n",
    )
    assert [arm.label for arm in found] == [
        "num_tokens=4, layers=3",
        "num_tokens=4, layers=2",
        "num_tokens=9, layers=3",
        "num_tokens=9, layers=2",
    ]
    assert [arm.baseline for arm in found] == [False, False, True, False]
    assert [arm.varied for arm in found] == [
        ("connector.num_tokens",),
        ("connector.num_tokens", "decoder.layers"),
        (),
        ("decoder.layers",),
    ]


def test_a_grid_without_the_base_has_no_baseline_unless_one_is_named(tmp_path):
    text = "name: a\naxes: {connector.num_tokens: [1, 4]}\ndesign: grid\n"
    assert [arm.baseline for arm in arms(tmp_path, text)] == [False, False]
    named = arms(tmp_path, text + "baseline: 4\n")
    assert [arm.baseline for arm in named] == [False, True]
    assert [arm.varied for arm in named] == [("connector.num_tokens",), ()]


def test_a_base_that_cannot_be_run_is_no_mistake_where_no_arm_is_the_base(tmp_path):
    found = arms(tmp_path, "name: a\nset: {image.resolution: 16}\naxes: {connector.num_tokens: [1, 4]}\ndesign: grid\n")
    assert [arm.config.connector.num_tokens for arm in found] == [1, 4]


TOKENS = "axes: {image.resolution: [16, 48], connector.num_tokens: [4, 144]}\n"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (TOKENS + "design: one_at_a_time\nset: {connector.num_tokens: 1}\n", {(48, 1), (16, 1), (48, 4)}),
        (TOKENS + "design: grid\n", {(16, 4), (48, 4)}),
        (
            "arms: {few: {connector.num_tokens: 4}, many: {connector.num_tokens: 144}}\ndesign: list\n",
            {(48, 4)},
        ),
        (TOKENS + "design: {kind: random, arms: 2}\n", {(16, 4), (48, 4)}),
        (TOKENS + "design: {kind: search, arms: 2}\n", {(16, 4), (48, 4)}),
    ],
)
def test_constraints_leave_arms_out_before_they_are_checked(tmp_path, text, left):
    """Whatever the design: 144 tokens come from no picture here, and without the constraint that is said."""
    text = "name: a\n" + text
    if "search" not in text:
        with pytest.raises(SweepError, match="144 image tokens"):
            arms(tmp_path, text)
    sweep = read(tmp_path, text + "constraints: ['connector.num_tokens <= image.num_patches']\n")
    found = some_arms(sweep, Chains()) if "search" in text else design_arms(sweep, Chains())
    assert {(arm.config.image.resolution, arm.config.connector.num_tokens) for arm in found} == left


def test_changes_of_one_section_are_checked_together(tmp_path):
    """Each alone could not be run: 96 is no multiple of 5 heads, nor 100 of 4 ... but 100 of 5 is."""
    found = arms(tmp_path, "name: a\naxes: {'encoder.width, encoder.heads': [[100, 5]]}\ndesign: grid\n")
    assert found[0].config.encoder.width == 100


def test_a_list_is_its_arms(tmp_path):
    found = arms(
        tmp_path,
        """
        name: a
        design: list
        arms:
          as it is: {}
          deep: {decoder.layers: 6}
          wide: {decoder: {width: 128}, encoder.width: 128}
        """,
    )
    assert [arm.label for arm in found] == ["as it is", "deep", "wide"]
    assert [arm.baseline for arm in found] == [True, False, False]
    assert found[2].set == {"decoder.width": 128, "encoder.width": 128}
    assert found[1].values == {"arm": "deep"}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (
            "name: a\naxes:\n  data.mix:\n  - {captions: 1, text: 1}\n  - {text: 2, captions: 2}\ndesign: grid\n",
            5,
            "same",
        ),
        ("name: a\ndesign: list\narms:\n  one: {decoder.layers: 3}\n  two: {}\n", 5, "same"),
        (
            "name: a\naxes:\n  encoder.objective: [none, clip]\n  encoder.training.steps: [10, 20]\ndesign: grid\n",
            4,
            "no effect",
        ),
        ("name: a\naxes:\n  optimisation.weight_decay: [0.0, 0.1]\n", 3, "no effect"),
        ("name: a\naxes:\n  connector.heads: [2, 4]\n", 3, "no effect"),
    ],
)
def test_arms_that_are_the_same_work_are_a_mistake(tmp_path, text, line, said):
    with pytest.raises(SweepError, match=said) as caught:
        arms(tmp_path, text)
    assert caught.value.problems[0].line == line


def test_too_many_trials_are_refused_before_they_are_made(tmp_path):
    axes = ", ".join(
        f"{key}: [{', '.join(map(str, range(1, 40)))}]"
        for key in ("decoder.layers", "encoder.layers", "training.steps", "evaluation.items")
    )
    with pytest.raises(SweepError, match="trials"):
        arms(tmp_path, f"name: a\naxes: {{{axes}}}\ndesign: grid\n")


def test_labels_differ_even_where_the_names_given_do_not(tmp_path):
    found = arms(
        tmp_path,
        "name: a\naxes: {decoder.layers: {more: 4, less: 2}, encoder.layers: {more: 3, less: 1}}\n",
    )
    labels = [arm.label for arm in found]
    assert len(set(labels)) == 5
    assert labels[0] == "baseline"


def test_keys_with_the_same_ending_are_told_apart(tmp_path):
    found = arms(tmp_path, "name: a\naxes: {decoder.layers: [4], encoder.layers: [4]}\n")
    assert [arm.label for arm in found[1:]] == ["decoder.layers=4", "encoder.layers=4"]


RANDOM = """
name: a
axes:
  optimisation.learning_rate: {low: 1e-4, high: 1e-2, log: true}
  decoder.layers: {low: 1, high: 4}
  connector.kind: [average_pool, attention_pool]
"""


def test_random_arms_are_a_pure_function_of_the_seed(tmp_path):
    def sets(seed):
        return [dict(arm.set) for arm in arms(tmp_path, f"{RANDOM}design: {{kind: random, arms: 30, seed: {seed}}}\n")]

    first = sets(0)
    assert first == sets(0) != sets(1)
    assert len({tuple(one.items()) for one in first}) == 30
    assert {one["decoder.layers"] for one in first} == {1, 2, 3, 4}
    rates = [one["optimisation.learning_rate"] for one in first]
    assert min(rates) < 5e-4
    assert max(rates) > 2e-3


def test_random_arms_are_distinct_and_fulfil_the_constraints(tmp_path):
    text = "name: a\naxes: {decoder.layers: [1, 2, 3, 4]}\nconstraints: [decoder.layers != 2]\n"
    assert len(arms(tmp_path, text + "design: {kind: random, arms: 3}\n")) == 3
    with pytest.raises(SweepError, match="3 different"):
        arms(tmp_path, text + "design: {kind: random, arms: 4}\n")


def test_a_range_of_more_steps_than_can_be_counted_is_drawn_from(tmp_path):
    text = "name: a\naxes: {connector.scale: {low: 0, high: 1, step: 1.0e-15}}\ndesign: {kind: search, arms: 2}\n"
    assert len({arm.key for arm in some_arms(read(tmp_path, text), Chains())}) > 2


def test_random_arms_differ_in_what_has_an_effect(tmp_path):
    text = "name: a\naxes: {connector.kind: [average_pool, attention_pool], connector.heads: [1, 2, 4]}\n"
    assert len(arms(tmp_path, text + "design: {kind: random, arms: 4}\n")) == 4
    with pytest.raises(SweepError, match="4 different"):
        arms(tmp_path, text + "design: {kind: random, arms: 5}\n")


@given(
    st.floats(1e-3, 1e3),
    st.floats(1.001, 1e3),
    st.booleans(),
    st.floats(0, 1, exclude_max=True),
)
def test_numbers_stay_in_their_range(low, factor, scale, share):
    span = Range(low=low, high=low * factor, log=scale)
    drawn = draw_number(span, share)
    assert span.low * (1 - 1e-5) <= drawn <= span.high * (1 + 1e-5)
    whole = Range(low=int(low) + 1, high=int(low * factor) + 2, log=scale, integer=True)
    drawn = draw_number(whole, share)
    assert isinstance(drawn, int)
    assert whole.low <= drawn <= whole.high


def test_both_ends_of_a_range_are_drawn_and_whole_numbers_evenly():
    source = random.Random(0)
    drawn = Counter(draw_number(Range(low=2, high=5, integer=True), source.random()) for _ in range(4000))
    assert sorted(drawn) == [2, 3, 4, 5]
    assert min(drawn.values()) > 850
    steps = {draw_number(Range(low=0, high=1, step=0.25), source.random()) for _ in range(200)}
    assert steps == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_a_logarithmic_range_is_even_in_its_logarithm():
    source = random.Random(0)
    below = sum(draw_number(Range(low=1e-4, high=1, log=True), source.random()) < 1e-2 for _ in range(2000))
    assert below == pytest.approx(1000, abs=100)
    whole = [draw_number(Range(low=1, high=1000, log=True, integer=True), source.random()) for _ in range(2000)]
    assert sum(number < 32 for number in whole) / 2000 == pytest.approx(log(32) / log(1001), abs=0.05)


SEARCH = RANDOM + "constraints: ['decoder.layers < 4']\ndesign: {kind: search, arms: 5}\n"


def test_a_search_has_no_arms_until_they_are_suggested(tmp_path):
    sweep = read(tmp_path, SEARCH)
    chains = Chains()
    assert design_arms(sweep, chains) == ()
    point = {"optimisation.learning_rate": 0.003, "decoder.layers": 2, "connector.kind": "attention_pool"}
    arm = suggested_arm(sweep, point, chains)
    assert arm is not None
    assert arm.config.decoder.layers == 2
    assert arm.set == point
    assert arm.values == {
        "optimisation.learning_rate": "0.003",
        "decoder.layers": "2",
        "connector.kind": "attention_pool",
    }
    assert suggested_arm(sweep, point, Chains()).key == arm.key
    assert suggested_arm(sweep, {**point, "decoder.layers": 4}, chains) is None


def test_a_suggestion_that_cannot_be_run_is_told_from_one_that_is_forbidden_and_turned_down_like_it(tmp_path):
    sweep = read(
        tmp_path,
        "name: a\naxes: {image.resolution: [16, 48]}\ndesign: {kind: search, arms: 5}\n",
    )
    with pytest.raises(SweepError, match="4 patches"):
        suggested_arm(sweep, {"image.resolution": "16"}, Chains())
    assert arm_at(sweep, {"image.resolution": "16"}, Chains()) is None
    assert arm_at(sweep, {"image.resolution": "48"}, Chains()) is not None


@pytest.mark.parametrize(
    ("text", "line", "key", "said"),
    [
        ("axes: {connector.num_tokens: [100, 144]}\n", 2, "axes.connector.num_tokens.", "36 patches"),
        ("axes: {decoder.layers: [1, 2]}\nset: {image.resolution: 50}\n", 3, "set.image.resolution", "divisible"),
        ("axes: {decoder.layers: [1, 2]}\nconstraints: [decoder.layers > 2]\n", 3, "constraints", "no arm"),
        ("axes: {decoder.layers: [1, 2]}\nconstraints: [connector.kind < 3]\n", 3, "constraints.0", "no value"),
        ("axes: {decoder.layers: [1, 2]}\nobjective: {metric: eval/fourshot}\n", 3, "objective.metric", "four_shot"),
        ("axes: {decoder.layers: [1, 2]}\nset: {evaluation.shots: [0, 8]}\nobjective: {metric: eval/four_shot}\n",
         4, "objective.metric", "eight_shot"),
    ],
)  # fmt: skip
def test_a_search_that_can_have_no_arm_or_no_value_is_refused_before_it_runs(tmp_path, text, line, key, said):
    with pytest.raises(SweepError, match=said) as caught:
        planned(tmp_path, f"name: a\n{text}design: {{kind: search, arms: 5}}\n")
    assert caught.value.problems[0].line == line
    assert caught.value.problems[0].key.startswith(key)


@pytest.mark.parametrize("kind", ["random", "search"])
def test_more_arms_than_any_sweep_may_have(tmp_path, kind):
    with pytest.raises(SweepError, match="too many") as caught:
        planned(tmp_path, f"name: a\naxes: {{decoder.layers: [1, 2]}}\ndesign: {{kind: {kind}, arms: 100000000}}\n")
    assert caught.value.problems[0].key == "design.arms"


def test_a_value_called_baseline_is_told_from_the_baseline(tmp_path):
    found = arms(tmp_path, "name: a\naxes: {connector.num_tokens: {baseline: 4, more: 9}, decoder.layers: [2, 3]}\n")
    labels = [arm.label for arm in found]
    assert len(set(labels)) == len(labels)
    assert [arm.baseline for arm in found if arm.label == "baseline"] == [True]
