"""Which axes matter among the best arms: found where made so, silent where nothing can be said."""

import numpy as np
import pytest
from report_records import ArmRecord, axis, write_sweep

from reports.frame import Results
from reports.importance import LEAST_ARMS, importance_table, importances
from reports.records import read_records
from reports.table_formats import to_markdown

RATE, KIND, OTHER = "optimisation.learning_rate", "connector.kind", "training.seed_of_no_use"
KINDS = ("average", "attention")


def drawn(tmp_path, *, arms: int = 40, design: str = "random", by: str = RATE) -> Results:
    """Arms drawn at random; what they score depends on one of three axes, learning rates peaking at 1e-2."""
    generator = np.random.default_rng(1)
    rates, others = 10 ** generator.uniform(-4, 0, arms), generator.uniform(0, 1, arms)
    kinds = [KINDS[number] for number in generator.integers(2, size=arms)]
    settings = [{RATE: rate, KIND: kind, OTHER: other} for rate, kind, other in zip(rates, kinds, others, strict=True)]
    scores = [
        80 - 15 * abs(float(np.log10(one[RATE])) + 2) if by == RATE else 40.0 + 30.0 * KINDS.index(one[KIND])
        for one in settings
    ]
    records = [
        ArmRecord(
            label=f"arm {number}",
            values={name: str(value) for name, value in one.items()},
            settings=one,
            scores={"0": score},
        )
        for number, (one, score) in enumerate(zip(settings, scores, strict=True))
    ]
    axes = [axis(name, {str(one[name]): {name: one[name]} for one in settings}) for name in (RATE, KIND, OTHER)]
    folder = write_sweep(
        tmp_path, "drawn", records, axes=axes, design=design, tasks=("colour",), items=1000, seeds=(0,)
    )
    return Results(read_records(folder, store=tmp_path))


@pytest.mark.parametrize("by", [RATE, KIND])
def test_the_axis_that_makes_the_difference_has_the_largest_share(tmp_path, by):
    results = drawn(tmp_path, by=by)
    shares = importances(results, results.headline[0])
    assert list(shares) == [RATE, KIND, OTHER]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares[by] > 0.5
    assert f"| 1 | {100 * shares[by]:.0f} % |" in to_markdown(importance_table(results))


@pytest.mark.parametrize("changes", [{"arms": LEAST_ARMS - 1}, {"design": "grid"}])
def test_it_is_silent_where_it_would_say_little(tmp_path, changes):
    results = drawn(tmp_path, **changes)
    assert importances(results, results.headline[0]) == {}
    assert importance_table(results) is None


def test_the_same_records_give_the_same_shares(tmp_path):
    results = drawn(tmp_path)
    assert importances(results, results.headline[0]) == importances(results, results.headline[0])
