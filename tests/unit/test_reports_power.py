"""What a sweep could have seen, against simulated sweeps in which the truth is known."""

import numpy as np
import pytest
from report_records import ArmRecord, write_sweep
from test_reports_statistics import table

from reports.analysis import analyse
from reports.frame import Results
from reports.power import MOST_SEEDS, detectable, power_table, seeds_to_see, sights, with_seeds
from reports.records import read_records
from reports.statistics import Parts, estimate, p_values


def true_parts(seeds: int, items: int, *, seed: float, item: float, residual: float) -> Parts:
    rest = residual**2 / (seeds * items)
    return Parts(
        seed=seed**2 / seeds + rest,
        item=item**2 / items + rest,
        residual=rest,
        seed_freedom=seeds - 1,
        item_freedom=items - 1,
    )


@pytest.mark.parametrize("seeds", [2, 3, 8])
@pytest.mark.parametrize(
    "spread", [{"seed": 1.0, "item": 0.3, "residual": 1.0}, {"seed": 0.3, "item": 2.0, "residual": 1.0}]
)
def test_a_detectable_difference_is_found_four_times_in_five(seeds, spread):
    truth = float(detectable([true_parts(seeds, 100, **spread)])[0])
    generator = np.random.default_rng(3)
    drawn = [estimate([table(seeds, 100, mean=truth, generator=generator, **spread)]) for _ in range(600)]
    assert 0.72 < np.mean(np.array(p_values(drawn)) < 0.05) < 0.9


def test_more_seeds_change_the_parts_as_the_model_says():
    spread = {"seed": 0.7, "item": 1.5, "residual": 1.1}
    generator = np.random.default_rng(5)
    few = [estimate([table(4, 60, generator=generator, **spread)]) for _ in range(400)]
    expected = true_parts(12, 60, **spread)
    predicted = [with_seeds(one, 12) for one in few]
    assert np.mean([one.seed for one in predicted]) == pytest.approx(expected.seed, rel=0.1)
    assert np.mean([one.item for one in predicted]) == pytest.approx(expected.item, rel=0.1)
    assert np.mean([one.residual for one in predicted]) == pytest.approx(expected.residual, rel=0.1)
    same = with_seeds(few[0], 4)
    assert detectable([same]) == pytest.approx(detectable([few[0].parts]))


def test_the_number_of_seeds_is_the_least_that_suffices():
    found = [estimate([table(3, 500, seed=seed, item=0.2, residual=0.5)]) for seed in (0.2, 0.1, 0.3, 1e-9)]
    difference = 0.15
    counts = seeds_to_see(found, difference)
    assert len(set(counts)) > 2
    for one, count in zip(found, counts, strict=True):
        assert count is not None
        now, fewer = detectable([with_seeds(one, count), with_seeds(one, max(2, count - 1))])
        assert now <= difference
        assert difference < fewer or count == 2


def test_what_the_items_hide_no_number_of_seeds_can_show():
    found = estimate([table(3, 20, seed=0.01, item=5.0, residual=0.1)])
    assert seeds_to_see([found], 0.5) == [None]


def test_a_sweep_says_what_it_could_have_seen(tmp_path):
    def sight(items, seeds, name):
        arms = [ArmRecord(label="one"), ArmRecord(label="two", baseline=True)]
        folder = write_sweep(tmp_path, name, arms, items=items, seeds=seeds, seed_spread=2.0)
        return sights(analyse(Results(read_records(folder, store=tmp_path))))

    small, large = sight(100, range(3), "small"), sight(2000, range(10), "large")
    assert [one.measure.label for one in small] == ["0-shot", "4-shot", "8-shot", "TextCore"]
    assert all(a.typical > b.typical for a, b in zip(small, large, strict=True))
    assert all(one.worst >= one.typical for one in small)
    assert large[0].seeds is not None
    assert power_table(large, 1.0).rows[0].cells[2].text == str(large[0].seeds)
    assert sight(100, [0], "alone") == []
    assert f"> {MOST_SEEDS}" in {row.cells[2].text for row in power_table(small, 1.0).rows}
