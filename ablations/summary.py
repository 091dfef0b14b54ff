"""The summary of a report on the terminal. Imports neither pandas nor plotly, so that a known report shows at once."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_WIDTH = 100
"""Columns in a log file, or in a pipe."""
MOST_ARMS = 30
"""Most arms printed; the report's own table has all."""

_COLOURS = {"higher": "green", "lower": "red", "equivalent": "cyan", "unclear": ""}
_MARKS = {"higher": "▲", "lower": "▼", "equivalent": "≈", "unclear": ""}


def summary_console() -> Console:
    """A console as wide as the terminal or, if there is none, wide enough for the table."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDTH)


def print_summary(summary: Mapping[str, Any], *, console: Console | None = None) -> None:
    """Print a report's ``summary.json``: every arm's scores with error bars, what differed, what failed."""
    console = console or summary_console()
    table = Table(title=escape(str(summary["title"])), title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    table.add_column("arm", overflow="fold", min_width=12)
    table.add_column("seeds", justify="right")
    for measure in summary["measures"]:
        unit = "" if measure["unit"] == "%" else f" ({measure['unit']})"
        table.add_column(escape(measure["label"] + unit), justify="right")
    best = _best(summary)
    arms = summary["arms"]
    for arm in arms[:MOST_ARMS]:
        named = arm["label"] != "baseline"
        label = escape(arm["label"]) + (" [dim](baseline)[/dim]" if arm["baseline"] and named else "")
        seeds = f"{arm['seeds_scored']}/{arm['seeds_planned']}"
        cells = [_cell(arm["scores"].get(measure["key"]), best[measure["key"]]) for measure in summary["measures"]]
        table.add_row(label, seeds, *cells)
    console.print(table)
    if len(arms) > MOST_ARMS:
        console.print(f"… and {len(arms) - MOST_ARMS} more arms in the report.", style="dim")
    _print_differences(summary, console)
    _print_shots(summary, console)
    for warning in summary["warnings"]:
        console.print(f"[yellow]![/yellow] {escape(warning)}")
    for trial in [trial for trial in summary["unfinished"] if trial["state"] != "missing"][:5]:
        reason = ": ".join(part for part in (trial["class"], trial["error"]) if part)
        console.print(f"[red]✗[/red] {escape(trial['arm'])}, seed {trial['seed']}: {trial['state']} {escape(reason)}")
    if summary["images"]["problem"]:
        console.print(escape(summary["images"]["problem"]), style="dim")


def _print_differences(summary: Mapping[str, Any], console: Console) -> None:
    if summary["baseline"] is None:
        console.print("The sweep has no baseline, so no arm is compared with one.")
        return
    differing = summary["significant"]
    baseline = escape(str(summary["baseline"]))
    if not summary["comparable"]:
        console.print(f"Nothing can be compared with the baseline ({baseline}): it, or every other arm, has no scores.")
        return
    if not summary["tested"]:
        console.print(f"Nothing is claimed yet against the baseline ({baseline}): one seed of several is not enough.")
        return
    if not differing:
        console.print(f"No arm differs significantly from the baseline ({baseline}).")
        if summary["power"]:
            seen = ", ".join(f"{sight['label']} {sight['typical']:.1f}" for sight in summary["power"])
            console.print(
                "Before Holm's adjustment, this sweep could have seen differences from about these on, in points: "
                f"{seen}."
            )
        return
    against = "the baseline" if baseline == "baseline" else f"the baseline ({baseline})"
    console.print(f"Different from {against}; 95 % intervals, p adjusted by Holm:")
    for difference in differing[:MOST_ARMS]:
        console.print(f"  [bold]{escape(difference['arm'])}[/bold]: {escape(difference['text'])}")


def _print_shots(summary: Mapping[str, Any], console: Console) -> None:
    known = [one for one in summary["shots"] if one["difference"] is not None]
    if not known:
        return
    console.print("What demonstrations give an arm (▲ ▼ p < 0.05 after Holm, ≈ within the margin):")
    for arm in list(dict.fromkeys(one["arm"] for one in known))[:MOST_ARMS]:
        said = [
            f"{one['step']} {one['difference']['mean']:+.1f} ± {one['difference']['half_width'] or float('nan'):.1f} "
            f"{_MARKS[one['difference']['verdict']]}".rstrip()
            for one in known
            if one["arm"] == arm
        ]
        console.print(f"  [bold]{escape(arm)}[/bold]: {escape(', '.join(said))}")


def _best(summary: Mapping[str, Any]) -> dict[str, str]:
    """The highest mean of each measure, as it is shown."""
    found = {}
    for measure in summary["measures"]:
        means = [arm["scores"][measure["key"]]["mean"] for arm in summary["arms"] if measure["key"] in arm["scores"]]
        found[measure["key"]] = f"{max(means):.1f}" if len(means) > 1 else ""
    return found


def _cell(score: Mapping[str, Any] | None, best: str) -> str:
    if score is None:
        return "[dim]–[/dim]"
    number = f"{score['mean']:.1f}"
    text = f"[bold]{number}[/bold]" if number == best else number
    if score["half_width"] is not None:
        text += f" [dim]±{score['half_width']:.1f}[/dim]"
    verdict = score["difference"]["verdict"] if score["difference"] else "unclear"
    mark = _MARKS[verdict] or " "
    return f"{text} [{_COLOURS[verdict]}]{mark}[/]" if _COLOURS[verdict] else f"{text} {mark}"
