"""Interactions and shares of variance: against arithmetic done here, and silent where nothing can be said."""

import numpy as np
import pytest
from plotly.colors import hex_to_rgb, sample_colorscale
from report_records import ArmRecord, axis, write_sweep, written_items

from reports.analysis import analyse
from reports.figures.interaction import crossed_pairs, interaction
from reports.frame import Results
from reports.interactions import interactions, interactions_table
from reports.records import ReportError, read_records
from reports.table_formats import to_markdown
from reports.variance import REST, SEED, variance_shares, variance_table

ROWS, COLUMNS = ("low", "middle", "high"), ("off", "on")


def table_of(results):
    return variance_table(results, {one.key: variance_shares(results, one) for one in results.headline})


def score(row: str, column: str, *, together: float) -> float:
    """The effects add up but for ``together``, which high and on have on top."""
    bonus = together if (row, column) == ("high", "on") else 0.0
    return 30.0 + 8.0 * ROWS.index(row) + 10.0 * COLUMNS.index(column) + bonus


def crossed(tmp_path, *, together: float, without=(), seeds=(0, 1, 2, 3), seed_spread: float = 1.0) -> Results:
    arms = [
        ArmRecord(
            label=f"{row} {column}",
            values={"rate": row, "switch": column},
            scores={"0": score(row, column, together=together)},
            baseline=(row, column) == ("low", "off"),
        )
        for row in ROWS
        for column in COLUMNS
        if (row, column) not in without
    ]
    axes = [
        axis("rate", {row: {"optimisation.lr": place} for place, row in enumerate(ROWS)}),
        axis("switch", {column: {"encoder.frozen": column == "on"} for column in COLUMNS}),
    ]
    folder = write_sweep(
        tmp_path, "crossed", arms, axes=axes, tasks=("colour",), items=1000, seeds=seeds, seed_spread=seed_spread
    )
    return Results(read_records(folder, store=tmp_path))


@pytest.mark.parametrize("together", [0.0, 12.0])
def test_an_interaction_is_the_difference_of_differences(tmp_path, together):
    results = crossed(tmp_path, together=together, seed_spread=0.0)
    (measure,) = results.headline
    found = {one.values: one.differences[measure.key] for one in interactions(results)}
    assert found.keys() == {("middle", "on"), ("high", "on")}
    assert found["middle", "on"].estimate.mean == pytest.approx(0.0, abs=0.002)
    assert found["high", "on"].estimate.mean == pytest.approx(together / 100, abs=0.002)
    assert found["high", "on"].verdict == ("higher" if together else found["high", "on"].verdict)
    assert (found["high", "on"].p_holm < 0.05) == bool(together)
    assert "rate: high against low, by switch: on against off" in to_markdown(
        interactions_table(interactions(results), results)
    )


def test_what_is_not_crossed_has_no_interaction(tmp_path):
    alone = [(row, "on") for row in ROWS[1:]]  # one at a time
    results = crossed(tmp_path, together=0.0, without=alone)
    assert interactions(results) == []
    assert table_of(results) is None
    assert crossed_pairs(analyse(results)) == []
    with pytest.raises(ReportError, match="crossed"):
        interaction(analyse(results))


def test_shares_of_variance_are_those_of_the_balanced_formulae(tmp_path):
    results = crossed(tmp_path, together=12.0, seed_spread=2.0)
    (measure,) = results.headline
    table = np.array(
        [[[trial_mean(results, row, column, seed) for seed in (0, 1, 2, 3)] for column in COLUMNS] for row in ROWS]
    )  # row, column, seed
    squares = dict(zip(("rate", "switch", SEED), (centred(table, place) for place in range(3)), strict=True))
    cells = table.mean(axis=2)
    squares["rate × switch"] = 4 * float(((cells - cells.mean()) ** 2).sum()) - squares["rate"] - squares["switch"]
    whole = float(((table - table.mean()) ** 2).sum())
    squares[REST] = whole - sum(squares.values())
    shares = variance_shares(results, measure)
    assert {name: one.share for name, one in shares.items()} == pytest.approx(
        {name: square / whole for name, square in squares.items()}, abs=1e-9
    )
    assert shares["rate"].p < 0.001
    assert np.isnan(shares[SEED].p)
    assert np.isnan(shares[REST].p)


def trial_mean(results: Results, row: str, column: str, seed: int) -> float:
    arm = next(arm for arm in results.arms if arm.label == f"{row} {column}")
    (measure,) = results.headline
    evaluation = results.done(arm.key)[seed].evaluation
    return float(written_items(results.records.store, evaluation, measure.parts[0])[1].mean())


def centred(table: np.ndarray, kept: int) -> float:
    """The sum of squares of one way's means about the grand mean."""
    others = tuple(place for place in range(3) if place != kept)
    means = table.mean(axis=others)
    return float(((means - table.mean()) ** 2).sum()) * table.size / len(means)


def test_one_seed_or_one_score_for_all_cannot_be_taken_apart(tmp_path):
    assert table_of(crossed(tmp_path / "one", together=0.0, seeds=(0,))) is None
    results = crossed(tmp_path / "two", together=0.0, seeds=(0, 1))
    assert table_of(results) is not None


def test_the_heat_map_has_the_means_of_the_arms(tmp_path):
    results = crossed(tmp_path, together=12.0, without=[], seed_spread=0.0)
    figure = interaction(analyse(results))
    trace, numbers = figure.data
    shown = {(row, column): text for row, column, text in zip(numbers.y, numbers.x, numbers.text, strict=True)}
    assert list(trace.y) == list(ROWS)
    assert list(trace.x) == list(COLUMNS)
    for row, values in zip(ROWS, trace.z, strict=True):
        wanted = [score(row, column, together=12.0) for column in COLUMNS]
        assert list(values) == pytest.approx(wanted, abs=0.1)
        assert [float(shown[row, column]) for column in COLUMNS] == pytest.approx(wanted, abs=0.1)
    for row, column, ink in zip(numbers.y, numbers.x, numbers.textfont.color, strict=True):
        share = (trace.z[ROWS.index(row)][COLUMNS.index(column)] - trace.zmin) / (trace.zmax - trace.zmin)
        (cell,) = sample_colorscale("Cividis", [share], colortype="tuple")
        light, dark = sorted((luminance(cell), luminance(hex_to_rgb(ink), whole=255)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def luminance(colour, whole: float = 1.0) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [part / whole for part in colour]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
