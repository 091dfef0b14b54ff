"""Intervals and tests against independent computations, and their coverage in simulated sweeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.statistics import FRACTION, are_equivalent, estimate, half_width, holm, p_values


def table(seeds: int, items: int, *, seed=1.0, item=1.0, residual=1.0, mean=0.0, generator=None) -> np.ndarray:
    """Scores of seeds by items with these standard deviations."""
    generator = generator or np.random.default_rng(0)
    return (
        mean
        + seed * generator.standard_normal((seeds, 1))
        + item * generator.standard_normal((1, items))
        + residual * generator.standard_normal((seeds, items))
    )


def test_the_parts_of_the_variance_equal_a_naive_analysis_of_variance():
    scores = table(4, 7)
    seeds, items = scores.shape
    grand = sum(scores[s][i] for s in range(seeds) for i in range(items)) / (seeds * items)
    row = [sum(scores[s]) / items for s in range(seeds)]
    column = [sum(scores[s][i] for s in range(seeds)) / seeds for i in range(items)]
    rest = sum((scores[s][i] - row[s] - column[i] + grand) ** 2 for s in range(seeds) for i in range(items))

    found = estimate([scores])

    assert found.mean == pytest.approx(grand)
    assert found.parts.seed == pytest.approx(sum((r - grand) ** 2 for r in row) / (seeds - 1) / seeds)
    assert found.parts.item == pytest.approx(sum((c - grand) ** 2 for c in column) / (items - 1) / items)
    assert found.parts.residual == pytest.approx(rest / ((seeds - 1) * (items - 1)) / (seeds * items))


def test_one_seed_is_the_t_interval_over_items():
    scores = table(1, 30, mean=0.4)
    test = stats.ttest_1samp(scores[0], 0.0)
    found = estimate([scores])
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert p_values([found])[0] == pytest.approx(test.pvalue, abs=1e-8)
    assert found.seeds == 1


def test_without_spread_over_items_it_is_the_t_interval_over_seeds():
    scores = table(3, 50, item=0.0, residual=0.0, mean=2.0)
    test = stats.ttest_1samp(scores.mean(axis=1), 0.0)
    found = estimate([scores])
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert p_values([found])[0] == pytest.approx(test.pvalue, abs=1e-8)


def test_with_many_seeds_and_items_it_agrees_with_a_crossed_bootstrap():
    generator = np.random.default_rng(1)
    scores = table(60, 80, seed=0.5, item=1.0, residual=1.0, generator=generator)
    resampled = []
    for _ in range(1000):  # Owen's pigeonhole bootstrap: seeds and items drawn apart from one another
        rows, columns = generator.integers(0, 60, 60), generator.integers(0, 80, 80)
        resampled.append(scores[rows][:, columns].mean())
    assert estimate([scores]).half_width == pytest.approx(1.96 * np.std(resampled), rel=0.12)


def test_strata_weigh_the_same_whatever_their_number_of_items():
    easy, hard = np.ones((2, 10)), np.zeros((2, 90))
    found = estimate([easy, hard])
    assert found.mean == 0.5
    assert found.items == 100


@pytest.mark.parametrize("strata", [[], [np.zeros((2, 0))], [np.zeros(3)], [np.zeros((2, 3)), np.zeros((3, 3))]])
def test_tables_that_do_not_fit_are_refused(strata):
    with pytest.raises(ValueError, match="strata"):
        estimate(strata)


def test_equal_scores_everywhere_are_not_certainty():
    found = estimate([np.ones((3, 200))], bounds=FRACTION)
    assert found.mean == 1.0
    assert found.high == 1.0
    assert 0.97 < found.low < 1.0  # the rule of three says 0.985 for 200 items
    shift = estimate([np.zeros((3, 200))], bounds=(-1.0, 1.0))
    assert p_values([shift])[0] > 0.9


def test_the_p_value_is_where_the_interval_reaches_zero():
    found = estimate([table(3, 40, seed=0.1, mean=0.6)])
    p = p_values([found])[0]
    assert half_width(found.parts, 1 - p) == pytest.approx(abs(found.mean), rel=1e-5)


def test_a_single_item_without_bounds_has_no_interval():
    found = estimate([np.array([[0.3]])])
    assert np.isnan(found.half_width)
    assert np.isnan(p_values([found])[0])
    assert not are_equivalent([found], 1.0)[0]


def test_equivalence_needs_a_narrow_interval_not_a_large_p():
    generator = np.random.default_rng(2)
    wide = estimate([table(3, 20, generator=generator)])
    narrow = estimate([table(3, 2000, seed=0.0, item=0.01, residual=0.01, generator=generator)])
    assert p_values([wide])[0] > 0.05
    assert not are_equivalent([wide], 0.05)[0]
    assert are_equivalent([narrow], 0.05)[0]


def test_holm_on_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), max_size=12))
def test_holm_never_lowers_a_p_and_keeps_their_order(raw):
    adjusted = holm(raw)
    pairs = [(p, q) for p, q in zip(raw, adjusted, strict=True) if not np.isnan(p)]
    assert all(np.isnan(q) for p, q in zip(raw, adjusted, strict=True) if np.isnan(p))
    assert all(p <= q <= 1 for p, q in pairs)
    assert all(q1 <= q2 for p1, q1 in pairs for p2, q2 in pairs if p1 < p2)
    if pairs:
        least = min(p for p, _ in pairs)
        assert min(q for _, q in pairs) == pytest.approx(min(1.0, least * len(pairs)))


def coverage(seeds: int, items: int, repeats: int, **spread: float) -> float:
    """How often the 95 % interval holds the true mean."""
    generator = np.random.default_rng(7)
    held = 0
    for _ in range(repeats):
        found = estimate([table(seeds, items, generator=generator, **spread)])
        held += found.low <= 0 <= found.high
    return held / repeats


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [{"seed": 1.0, "item": 0.3}, {"seed": 0.3}], ids=["seeds alone", "seeds mostly"])
def test_where_seeds_matter_the_interval_covers_as_it_says(seeds, spread):
    assert 0.93 < coverage(seeds, 150, 1500, **spread) < 0.975


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(
    "spread",
    [{"seed": 0.05}, {"seed": 0.0, "item": 0.0}, {"seed": 0.1, "residual": 0.1}],
    ids=["items mostly", "residual alone", "both"],
)
def test_elsewhere_it_covers_at_least_that(seeds, spread):
    assert coverage(seeds, 150, 1000, **spread) > 0.935


def paired_answers(generator: np.random.Generator, seeds: int, items: int) -> np.ndarray:
    """Differences of right answers of two arms on the same items, where trainings differ by seed."""
    item = generator.standard_normal((1, items))
    first, second = (0.5 * generator.standard_normal((seeds, 1)) for _ in range(2))
    chance = [1 / (1 + np.exp(-(shift + offset + item))) for shift, offset in ((first, 0.5), (second, 0.0))]
    right = [generator.random((seeds, items)) < p for p in chance]
    return right[0].astype(float) - right[1].astype(float)


def test_paired_answers_of_three_seeds_are_covered_where_a_bootstrap_is_not():
    generator = np.random.default_rng(11)
    truth = np.mean([paired_answers(generator, 40, 2000).mean() for _ in range(50)])
    held, bootstrapped, repeats = 0, 0, 400
    for _ in range(repeats):
        differences = paired_answers(generator, 3, 256)
        found = estimate([differences], bounds=(-1.0, 1.0))
        held += found.low <= truth <= found.high
        rows = generator.integers(0, 3, (300, 3))
        weights = generator.multinomial(256, np.full(256, 1 / 256), size=300) / 256
        means = np.take_along_axis(weights @ differences.T, rows, axis=1).mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        bootstrapped += low <= truth <= high
    assert held / repeats > 0.93
    assert bootstrapped / repeats < 0.90


@pytest.mark.parametrize("spread", [{"seed": 1.0, "item": 0.3}, {"seed": 0.0}], ids=["seeds matter", "items alone"])
def test_after_holm_a_sweep_without_effects_rarely_claims_one(spread):
    """Six arms against one baseline that all share: the chance of any claim is at most five in a hundred."""
    generator = np.random.default_rng(13)
    repeats, claims = 500, 0
    for _ in range(repeats):
        baseline = table(3, 100, generator=generator, **spread)
        arms = [table(3, 100, generator=generator, **spread) for _ in range(6)]
        claims += min(holm(p_values([estimate([arm - baseline]) for arm in arms]))) < 0.05
    assert claims / repeats < 0.07  # 5 % and two standard errors


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_equivalence_is_refused_at_the_margin_and_granted_well_inside(seeds):
    generator = np.random.default_rng(17)
    spread = {"seed": 0.1, "item": 0.5, "residual": 0.5}

    def granted(truth: float, margin: float) -> float:
        drawn = [estimate([table(seeds, 200, mean=truth, generator=generator, **spread)]) for _ in range(600)]
        return float(np.mean(are_equivalent(drawn, margin)))

    assert granted(truth=1.0, margin=1.0) < 0.07
    assert granted(truth=-1.0, margin=1.0) < 0.07
    assert granted(truth=0.0, margin=1.0) > 0.8
