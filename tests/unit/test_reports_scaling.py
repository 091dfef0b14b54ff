"""The power law of the best learning rates: against scipy's regression, and on records where it is known."""

from math import exp, log

import numpy as np
import pytest
from report_records import ArmRecord, axis, write_sweep
from scipy import stats

from reports.analysis import analyse
from reports.figures.learning_rate import has_rates, learning_rate
from reports.figures.learning_rate_published import learning_rate_published
from reports.frame import Results
from reports.paper.published import mm1
from reports.records import ReportError, read_records
from reports.scaling import Best, best_rates, chosen_by, power_law, predictions_table, rate_axis

RATE = "optimisation.learning_rate"
RATES = (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3)
SIZES = (10**5, 10**6, 10**7)


def points(*, noise: float = 0.3, seeds: int = 4) -> list[Best]:
    draws = np.random.default_rng(0).normal(size=(len(SIZES), seeds)) * noise
    return [
        Best(size=size, seed=seed, rate=exp(-0.4 * log(size) - 0.5 + draws[row, seed]), edge=False)
        for row, size in enumerate(SIZES)
        for seed in range(seeds)
    ]


def test_the_line_and_its_intervals_are_those_of_least_squares():
    found = points()
    law = power_law(found)
    sizes, rates = np.log([one.size for one in found]), np.log([one.rate for one in found])
    expected = stats.linregress(sizes, rates)
    assert law.slope == pytest.approx(expected.slope)
    assert law.intercept == pytest.approx(expected.intercept)
    width = stats.t.ppf(0.975, len(found) - 2) * expected.stderr
    assert (law.slope_low, law.slope_high) == pytest.approx((expected.slope - width, expected.slope + width))


def test_one_more_training_falls_into_the_interval_as_often_as_it_says():
    generator = np.random.default_rng(1)
    hits, rounds = 0, 2000
    for _ in range(rounds):
        draws = generator.normal(size=7) * 0.3
        sizes = [10**5, 10**5, 10**6, 10**6, 10**7, 10**7]
        found = [
            Best(size=size, seed=0, rate=exp(-0.4 * log(size) + draw), edge=False)
            for size, draw in zip(sizes, draws[:6], strict=True)
        ]
        low, high = power_law(found).interval(10**8)
        hits += low < exp(-0.4 * log(10**8) + draws[6]) < high
    assert 0.93 < hits / rounds < 0.97


def test_what_lies_at_an_edge_is_left_out_and_too_little_gives_no_line():
    found = points()
    beyond = Best(size=10**7, seed=9, rate=1.0, edge=True)
    assert power_law([*found, beyond]) == power_law(found)
    assert power_law(found[:2]) is None
    assert power_law(found[:4]) is None  # one size


def swept(tmp_path, *, optimum, seeds=(0, 1), extra: bool = False, sizes=SIZES) -> Results:
    """Arms of a grid of sizes and rates; scores fall by 10 points for each factor of two from the optimum."""

    def scores(size: int, rate: float, seed: int) -> dict[str, float]:
        return {shots: 80 - 10 * abs(np.log2(rate / optimum(size, seed))) for shots in ("0", "4", "8")}

    arms = [
        ArmRecord(
            label=f"{size} {rate} {other}",
            values={"decoder.width": str(size), RATE: str(rate), "other": other},
            settings={"decoder.width": size, RATE: rate, "encoder.frozen": other == "on"},
            seed_scores={seed: scores(size, rate, seed) for seed in seeds},
            decoder_parameters=size,
        )
        for size in sizes
        for rate in RATES
        for other in (("off", "on") if extra else ("off",))
    ]
    axes = [
        axis("decoder.width", {str(size): {"decoder.width": size} for size in sizes}),
        axis(RATE, {str(rate): {RATE: rate} for rate in RATES}),
    ]
    folder = write_sweep(tmp_path, "rates", arms, axes=axes, tasks=("colour",), items=500, seeds=seeds)
    return Results(read_records(folder, store=tmp_path))


def optimum(size: int, seed: int) -> float:
    return {10**5: 1.6e-3, 10**6: 8e-4, 10**7: 4e-4 if seed else 2e-4}[size]


def test_the_best_rate_of_each_size_and_seed_is_found(tmp_path):
    results = swept(tmp_path, optimum=optimum)
    found = best_rates(results, rate_axis(results), chosen_by(results))
    assert chosen_by(results).key == "eval/eight_shot"
    assert [(one.size, one.seed) for one in found] == [(size, seed) for size in SIZES for seed in (0, 1)]
    for one in found:
        assert one.rate == pytest.approx(optimum(one.size, one.seed))
        assert not one.edge


def test_a_best_rate_at_the_end_of_those_tried_says_so(tmp_path):
    results = swept(tmp_path, optimum=lambda size, seed: 1e-5 if size == SIZES[0] else 8e-4)
    found = best_rates(results, rate_axis(results), chosen_by(results))
    assert [one.edge for one in found] == [True, True, False, False, False, False]


def test_the_figure_shows_every_rate_and_the_line(tmp_path):
    figure = learning_rate(analyse(swept(tmp_path, optimum=optimum)))
    curves = [trace for trace in figure.data if trace.xaxis == "x"]
    assert [len(curve.x) for curve in curves] == [len(RATES)] * len(SIZES)
    fitted = next(trace for trace in figure.data if trace.name == "fitted")
    slope = np.polyfit(np.log(fitted.x), np.log(fitted.y), 1)[0]
    assert slope == pytest.approx(-2.5 * log(2) / (2 * log(10)))
    assert f"{slope:.2f}".replace("-", "−") in figure.layout.annotations[0].text
    assert figure.layout.legend.title.text.strip() == "parameters"
    assert [trace.name for trace in figure.data if trace.fill and trace.showlegend] == [
        "95 % interval of one more training"
    ]


def test_the_figure_refuses_what_it_cannot_mean(tmp_path):
    with pytest.raises(ReportError, match="something else varies"):
        learning_rate(analyse(swept(tmp_path, optimum=optimum, extra=True)))
    single = learning_rate(analyse(swept(tmp_path / "single", optimum=optimum, sizes=SIZES[:1])))
    assert "no line" in single.layout.annotations[0].text


def test_the_paper_s_rule_stands_in_a_figure_of_its_own_beside_the_best_rates(tmp_path):
    analysis, rule = analyse(swept(tmp_path, optimum=optimum)), mm1().learning_rate
    assert not any("MM1" in (trace.name or "") for trace in learning_rate(analysis).data)
    figure = learning_rate_published(analysis, rule)
    solid = next(trace for trace in figure.data if "MM1" in (trace.name or "") and trace.line.dash == "solid")
    assert (solid.x[0], solid.x[-1]) == pytest.approx((9e6, 1.2e9))
    assert solid.y[-1] == pytest.approx(8.58e-05, rel=0.003)
    assert sum(len(trace.x) for trace in figure.data if trace.mode == "markers") == 4


def test_larger_decoders_get_a_rate_with_an_interval_and_the_paper_s_sizes_none(tmp_path):
    table = predictions_table(swept(tmp_path, optimum=optimum))
    assert [row.label.split()[0] for row in table.rows] == ["2", "4", "10"]
    size, rate, interval = (cell.text for cell in table.rows[-1].cells)
    low, high = (float(end) for end in interval.split(" to "))
    assert float(size) == 10 * max(SIZES)
    assert low < float(rate) < high
    assert "far outside" in table.notes[1]
    assert (
        "12 (1.2 billion) to 300 (30 billion)"
        in predictions_table(
            swept(
                tmp_path / "b", optimum=lambda size, _: optimum(size // 10, 0), sizes=tuple(10 * size for size in SIZES)
            )
        ).notes[1]
    )
    assert predictions_table(swept(tmp_path / "one", optimum=lambda *_: 8e-4, sizes=SIZES[:1])) is None


def test_rates_come_by_themselves_where_sizes_and_rates_alone_vary(tmp_path):
    assert has_rates(analyse(swept(tmp_path / "a", optimum=optimum)))
    assert not has_rates(analyse(swept(tmp_path / "b", optimum=optimum, sizes=SIZES[:1])))
    assert not has_rates(analyse(swept(tmp_path / "c", optimum=optimum, extra=True)))
