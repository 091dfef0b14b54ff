"""Scores along an axis of numbers: lines through arms that are alike in all else, and nothing else."""

import pytest
from report_records import ArmRecord, axis, write_sweep

from reports.analysis import analyse
from reports.figures.trend import number_axes, trend
from reports.frame import Results
from reports.records import ReportError, read_records

STEPS, KIND = "training.steps", "connector.kind"


def analysis(tmp_path, places, *, steps=(300, 600, 1200)):
    arms = [
        ArmRecord(
            label=f"{kind} {step}",
            values={STEPS: str(step), KIND: kind},
            settings={STEPS: step, KIND: kind},
            scores={"0": 20 + step / 40 + (kind == "late") * 5},
            baseline=(kind, step) == ("late", 300),
        )
        for kind, step in places
    ]
    axes = [
        axis(STEPS, {str(step): {STEPS: step} for step in steps}),
        axis(KIND, {kind: {KIND: kind} for kind in ("early", "late")}),
    ]
    folder = write_sweep(tmp_path, "steps", arms, axes=axes, tasks=("colour",), items=400)
    return analyse(Results(read_records(folder, store=tmp_path)))


def test_a_grid_has_a_line_for_each_combination_of_the_rest_the_baselines_first(tmp_path):
    figure = trend(analysis(tmp_path, [(kind, step) for kind in ("early", "late") for step in (1200, 300, 600)]))
    late, early = figure.data
    assert [(line.name, list(line.x)) for line in (late, early)] == [
        ("kind=late", [300, 600, 1200]),
        ("kind=early", [300, 600, 1200]),
    ]
    assert list(early.y) == pytest.approx([27.5, 35.0, 50.0], abs=0.3)
    assert all(high > 0 for high in early.error_y.array)


def test_one_at_a_time_has_the_baselines_line_alone(tmp_path):
    (line,) = trend(analysis(tmp_path, [("late", 300), ("late", 600), ("late", 1200), ("early", 300)])).data
    assert list(line.x) == [300, 600, 1200]


def test_two_numbers_or_no_numbers_are_no_trend(tmp_path):
    found = analysis(tmp_path, [("late", 300), ("late", 600), ("early", 600)], steps=(300, 600))
    assert number_axes(found) == []
    with pytest.raises(ReportError, match="3 numbers"):
        trend(found)


def test_values_that_span_a_decade_are_drawn_by_magnitude(tmp_path):
    figure = trend(analysis(tmp_path, [("late", step) for step in (100, 300, 1200)], steps=(100, 300, 1200)))
    assert figure.layout.xaxis.type == "log"
    assert list(figure.layout.xaxis.ticktext) == ["100", "300", "1200"]
