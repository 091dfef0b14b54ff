"""Scores along an axis of numbers: lines through arms that are alike in all else, and nothing else."""

import json

import pytest
from report_records import ArmRecord, axis, write_sweep

from reports.analysis import analyse
from reports.figures.steps import has_steps, steps
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
    fine = [place for place in figure.layout.xaxis.minor.tickvals if 100 <= place <= 1200]
    assert fine == pytest.approx([100, 200, 300, 400, 500, 600, 700, 800, 900, 1000])


def test_the_first_line_is_the_paper_s(tmp_path):
    figure = trend(analysis(tmp_path, [("late", step) for step in (300, 600, 1200)]))
    (line,) = figure.data
    assert (line.line.color, line.marker.symbol, line.name) == ("#ff5e00", "circle", "")
    assert figure.layout.yaxis.title.text == "Average evaluation metric"
    assert (figure.layout.xaxis.minor.showgrid, figure.layout.xaxis.title.text) == (True, "Pre-training step")


def test_resolutions_are_by_magnitude_with_names_on_their_side(tmp_path):
    sizes = {str(size): {"image.resolution": size} for size in (24, 36, 48)}
    arms = [ArmRecord(label=size, values={"r": size}, settings=own) for size, own in sizes.items()]
    folder = write_sweep(tmp_path, "r", arms, axes=[axis("r", sizes)])
    figure = trend(analyse(Results(read_records(folder, store=tmp_path))))
    assert (figure.layout.xaxis.type, figure.layout.xaxis.tickangle) == ("log", -45)


def test_scores_on_the_way_are_drawn_by_step(tmp_path):
    """Of trainings that were scored on their way, from their spools; a name is shown as it is."""
    name = "%{x} <b>late</b>"
    arms = [
        ArmRecord(label="early", settings={"evaluation.every": None}),
        ArmRecord(label=name, settings={"evaluation.every": 200}, baseline=True),
    ]
    folder = write_sweep(tmp_path, "way", arms, seeds=(0, 1))
    found = analyse(Results(read_records(folder, store=tmp_path)))
    assert not has_steps(found)
    with pytest.raises(ReportError, match=r"evaluation\.every"):
        steps(found)
    for trial in found.results.all_trials:
        spool = tmp_path / "pretrain" / dict(trial.stages)["pretrain"] / "work" / "spool.jsonl"
        points = [{"step": step, "metrics": {"eval/zero_shot": step / 1000 + trial.seed / 10}} for step in (200, 400)]
        spool.write_text("".join(json.dumps(point) + "\n" for point in points))
    assert has_steps(found)
    (line,) = steps(found).data
    assert line.name == "%{x} &lt;b&gt;late&lt;/b&gt; †"
    assert "late" not in line.hovertemplate
    assert list(line.x) == [200, 400]
    assert list(line.y) == pytest.approx([25.0, 45.0])
    assert list(line.error_y.array) == pytest.approx([5.0, 5.0])
