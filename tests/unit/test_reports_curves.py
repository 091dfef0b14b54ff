"""Learning curves out of spools."""

import pytest
from report_records import ArmRecord, key, write_sweep

from reports.analysis import analyse
from reports.curves import learning_curves
from reports.figures.learning import learning
from reports.frame import Results
from reports.records import ReportError, read_records


def results(folder):
    return Results(read_records(folder, store=folder.parent.parent))


def spool(folder, arm, seed):
    return folder.parent.parent / "pretrain" / key("pretrain", key(folder.name, arm), seed) / "work" / "spool.jsonl"


@pytest.fixture
def folder(tmp_path):
    arms = [
        ArmRecord(label="one", states={2: "failed"}),
        ArmRecord(label="two", baseline=True),
        ArmRecord(label="three"),
    ]
    return write_sweep(tmp_path, "curves", arms)


def test_a_curve_is_the_mean_over_the_seeds_with_their_range(folder):
    baseline, one, _ = learning_curves(results(folder), most=9)
    assert (baseline.arm.label, baseline.seeds, one.seeds) == ("two", 3, 2)
    assert baseline.steps == tuple(range(10, 601, 10))
    assert baseline.mean[0] == pytest.approx(4 / 10**0.2 - 0.1)
    assert (baseline.low[0], baseline.high[0]) == pytest.approx((4 / 10**0.2 - 0.2, 4 / 10**0.2))
    assert len(learning_curves(results(folder), most=2)) == 2


def test_long_trainings_are_thinned_to_means(folder):
    lines = [f'{{"step": {step}, "metrics": {{"train/loss": {float(step % 2)}}}}}' for step in range(1, 6001)]
    for seed in range(3):
        spool(folder, "two", seed).write_text("\n".join(lines))
    baseline = learning_curves(results(folder), most=1)[0]
    assert len(baseline.steps) == 60
    assert baseline.steps[-1] == 6000
    assert baseline.mean == pytest.approx([0.5] * 60)


def test_seeds_of_different_length_share_the_steps_that_all_have(folder):
    path = spool(folder, "two", 1)
    path.write_text("\n".join(path.read_text().splitlines()[:30]))
    baseline = learning_curves(results(folder), most=1)[0]
    assert baseline.seeds == 3
    assert baseline.steps[-1] <= 300


def test_without_losses_there_is_a_reason_instead_of_a_figure(folder):
    for path in folder.parent.parent.glob("pretrain/*/work/spool.jsonl"):
        path.unlink()
    with pytest.raises(ReportError, match="losses"):
        learning(analyse(results(folder)))


def test_every_arm_is_a_line_and_several_seeds_a_band(folder):
    drawn = learning(analyse(results(folder)))
    assert [trace.name for trace in drawn.data if trace.name] == ["two †", "one", "three"]
    assert sum(trace.fill == "toself" for trace in drawn.data) == 3


def test_every_tick_of_the_losses_is_written_out(folder):
    for path in folder.parent.parent.glob("pretrain/*/work/spool.jsonl"):
        path.write_text(
            "\n".join(f'{{"step": {step}, "metrics": {{"train/loss": {max(0.0, 5 - step)}}}}}' for step in range(1, 7))
        )
    axis = learning(analyse(results(folder))).layout.yaxis
    assert axis.type == "log"
    assert [float(text) for text in axis.ticktext] == pytest.approx(axis.tickvals)
    assert 10 ** axis.range[0] < 1 < 4 < 10 ** axis.range[1]
