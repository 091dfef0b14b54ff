"""Every arm at every task and number of shots in one table, in the layout of MM1's Table 3: an arm's rows are its
numbers of shots, the tasks are the columns, and the rows of the most shots are shaded."""

from dataclasses import replace

from reports.analysis import Analysis
from reports.frame import CIDER, Arm, Measure, Part
from reports.tables import Cell, Row, Table, score_cell, seeds_of, with_best

Places = dict[tuple[str, int], Measure]


def leading_measures(analysis: Analysis) -> Places:
    """By task and number of shots, the score that enters the paper's columns."""
    leading = {part for measure in analysis.results.headline for part in measure.parts}
    single = {measure.parts[0]: measure for measure in analysis.results.details}
    return {(part.task, part.shots): single[part] for part in single if part in leading}


def task_grid(analysis: Analysis) -> Table | None:
    """The table, or ``None`` where nothing was evaluated at more than one number of shots."""
    places = leading_measures(analysis)
    tasks = list(dict.fromkeys(task for task, _ in places))
    shots = sorted({shots for _, shots in places})
    if len(shots) < 2:
        return None
    lines = [(arm, count) for arm in analysis.results.arms for count in shots]
    columns = [with_best([_cell(analysis, arm, places.get((task, count))) for arm, count in lines]) for task in tasks]
    rows = tuple(
        Row(
            group=arm.label + (" †" if arm.baseline else ""),
            label=str(count),
            baseline=False,
            seeds=seeds_of(analysis, arm),
            cells=tuple(column[number] for column in columns),
            shaded=count == shots[-1],
        )
        for number, (arm, count) in enumerate(lines)
    )
    note = (
        "The leading metric of each task: mean ± half-width of the 95 % interval, in percent, CIDEr-D as it is. Bold: "
        "highest of the column. †: the baseline. Empty: the task is not asked at that number of shots."
    )
    return Table(
        name="tasks",
        caption="Every task by shots, in the layout of MM1's Table 3",
        columns=tuple(_head(next(one for (name, _), one in places.items() if name == task).parts[0]) for task in tasks),
        rows=rows,
        notes=(note,),
        rows_are="shots",
        groups_are="arm",
    )


def _head(part: Part) -> str:
    return part.task.replace("_", " ") + (" (CIDEr-D)" if part.metric == CIDER else "")


def _cell(analysis: Analysis, arm: Arm, measure: Measure | None) -> Cell:
    """The score without its verdict, which the table of the task shows."""
    if measure is None:
        return Cell(mean=None, half_width=None)
    return replace(score_cell(analysis, arm, measure), verdict="", p=None)
