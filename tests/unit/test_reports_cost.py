"""Scores against cost: the front is right, what cannot be placed is left out, equal costs make no figure."""

import itertools
import json

import pytest
from report_records import ArmRecord, write_sweep

from reports.analysis import analyse
from reports.figures.cost import cost, has_cost
from reports.frame import Results
from reports.records import ReportError, read_records


def analysis(tmp_path, *arms: ArmRecord):
    folder = write_sweep(tmp_path, "costs", arms, tasks=("colour",), items=100)
    return analyse(Results(read_records(folder, store=tmp_path)))


def arm(label: str, operations: float | None, score: float, **more) -> ArmRecord:
    return ArmRecord(label=label, operations=operations, scores={"0": score}, **more)


def test_the_front_is_what_no_cheaper_arm_beats(tmp_path):
    scores = {(1e12, 40.0), (2e12, 30.0), (3e12, 60.0), (3e12, 55.0), (5e12, 60.0), (9e12, 80.0)}
    figure = cost(analysis(tmp_path, *(arm(f"{cost} {score}", cost, score) for cost, score in scores)))
    line, ahead, behind = figure.data
    best = {
        (cost, score) for cost, score in scores
        if not any((c <= cost and s > score) or (c < cost and s >= score) for c, s in scores)
    }  # fmt: skip
    assert {(x, round(y, 6)) for x, y in zip(ahead.x, ahead.y, strict=True)} == best
    assert {(x, round(y, 6)) for x, y in zip(behind.x, behind.y, strict=True)} == scores - best
    assert list(line.x) == sorted(line.x)
    assert all(lower < higher for lower, higher in itertools.pairwise(line.y))


def test_arms_without_scores_or_without_a_known_cost_are_not_drawn(tmp_path):
    lost = dict.fromkeys((0, 1, 2), "failed")
    found = analysis(
        tmp_path, arm("a", 1e9, 40), arm("b", 2e9, 50), arm("c", None, 90), arm("lost", 5e8, 99, states=lost)
    )
    assert [x for trace in cost(found).data for x in trace.x if trace.mode == "markers"] == [1e9, 2e9]


@pytest.mark.parametrize("operations", [(1e9, 1e9), (1e9, 1.05e9), (None, None), (None, 1e9)])
def test_where_all_cost_the_same_there_is_nothing_to_draw(tmp_path, operations):
    found = analysis(tmp_path, *(arm(name, one, 40) for name, one in zip("ab", operations, strict=True)))
    assert not has_cost(found)
    with pytest.raises(ReportError, match="cost"):
        cost(found)


def test_hours_stand_below_operations_as_the_records_have_them(tmp_path):
    arms = (arm("a", 1e9, 40), arm("b", 2e9, 50), arm("resumed", 3e9, 60))
    folder = write_sweep(tmp_path, "hours", arms, tasks=("colour",), items=100, seeds=(0,))
    plan = json.loads((folder / "plan.json").read_text())
    plan["resources"] = {"nodes": 1, "gpus": 0, "cpus": 4}
    (folder / "plan.json").write_text(json.dumps(plan))
    for trial, (seconds, resumed) in zip(plan["trials"], [(900, False), (1800, False), (60, True)], strict=True):
        path = tmp_path / "pretrain" / {s["kind"]: s["key"] for s in trial["stages"]}["pretrain"] / "record.json"
        record = json.loads(path.read_text())
        record["provenance"] |= {"seconds": seconds - 1, "resumed": resumed}  # its encoder took a second
        path.write_text(json.dumps(record))
    figure = cost(analyse(Results(read_records(folder, store=tmp_path))))
    assert figure.layout.xaxis2.title.text == "core-hours of a training"
    hours = [x for trace in figure.data for x in trace.x if trace.mode == "markers" and trace.xaxis == "x2"]
    assert hours == pytest.approx([1.0, 2.0])
