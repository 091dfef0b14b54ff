"""The preview of a sweep on a terminal."""

from collections import Counter

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablations.arms import Arm
from ablations.cost import Clock
from ablations.labels import counted
from ablations.preview import Preview, gpu_hours
from ablations.sweep import Search

MOST_ARMS = 20
"""Most arms that are listed; ``--json`` has all."""


def show(preview: Preview) -> None:
    console = Console(highlight=False)
    planned, sweep = preview.plan, preview.plan.sweep
    console.print(f"[bold]{escape(sweep.title)}[/bold]  ({escape(sweep.name)})")
    seeds = counted(len(sweep.seeds), "seed")
    if isinstance(sweep.design, Search):
        arms = counted(sweep.design.arms, "arm")
        console.print(f"search by {sweep.design.sampler}: {arms} x {seeds}, proposed as it runs")
        return
    arms, trials = counted(len(planned.arms), "arm"), counted(len(planned.trials), "trial")
    done = len(preview.finished_trials)
    console.print(f"{sweep.design.kind}: {arms} x {seeds} = {trials}, {done} of them finished")
    console.print(_arm_table(preview))
    if len(planned.arms) > MOST_ARMS:
        console.print(f"... and {len(planned.arms) - MOST_ARMS:,} more arms (all with --json)")
    console.print(_stage_table(preview))
    if limits := _limits(preview):
        console.print(limits)
    left = sum(kind.seconds for kind in preview.kinds)
    if left == 0:
        console.print("Nothing is left to run.")
        return
    devices = f", {gpu_hours(preview):g} GPU-hours" if sweep.resources.gpus else ""
    jobs, time = counted(preview.jobs, "job"), duration(preview.seconds)
    console.print(f"{jobs}, about [bold]{time}[/bold] with {preview.workers} in parallel{devices}. {_basis(preview)}")
    if preview.script is not None:
        print(f"\nThe first jobs go to SLURM with this script:\n\n{preview.script}", end="")


def _limits(preview: Preview) -> str:
    """What the report will not be able to say, told before anybody pays for it."""
    if len(preview.plan.arms) == 1:
        return "One arm: the report will have nothing to compare; give an axis a second value to compare arms."
    if len(preview.plan.sweep.seeds) == 1:
        return "One seed: differences will hold only for these trained models; `seeds: [0, 1, 2]` tells more."
    return ""


def _basis(preview: Preview) -> str:
    left = sum(kind.stages - kind.finished for kind in preview.kinds)
    measured = sum(kind.measured for kind in preview.kinds)
    rate = Clock({}, gpu=preview.plan.sweep.resources.gpus > 0).assumed_rate
    if measured >= left:
        return "Estimated from similar finished stages."
    return f"Estimated from an assumed {rate / 1e9:,.0f} GFLOP/s for each" + (
        " where the store has no similar stages." if measured else "."
    )


def _arm_table(preview: Preview) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, side in (("arm", "left"), ("parameters", "right"), ("finished", "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    finished = Counter(trial.arm.key for trial in preview.plan.trials if trial.key in preview.finished_trials)
    for arm in preview.plan.arms[:MOST_ARMS]:
        table.add_row(
            escape(_arm_name(arm)),
            short_number(preview.parameters[arm.key]),
            f"{finished[arm.key]}/{len(preview.plan.sweep.seeds)}",
        )
    return table


def _arm_name(arm: Arm) -> str:
    return f"{arm.label} (baseline)" if arm.baseline and arm.label != "baseline" else arm.label


def _stage_table(preview: Preview) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("stage", "all", "shared", "finished", "to run", "FLOPs", "time"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for kind in preview.kinds:
        table.add_row(
            kind.kind,
            f"{kind.stages:,}",
            f"{kind.shared:,}",
            f"{kind.finished:,}",
            f"{kind.stages - kind.finished:,}",
            short_number(kind.operations) if kind.operations else "",
            duration(kind.seconds) if kind.seconds else "",
        )
    return table


def short_number(value: float) -> str:
    """Three digits and a letter: 275k, 1.25M, 24.5T."""
    for unit, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """As a person would say it: 40 s, 12 min, 3 h 20 min."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"
