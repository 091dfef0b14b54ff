"""Everything a report is made of, computed from the records and written: page, figures, tables, frames, summary."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from reports.analysis import Analysis, analyse
from reports.examples import examples
from reports.export import FORMATS, missing_browser, write_images
from reports.figures import NAMES
from reports.figures.connector import connector
from reports.figures.cost import cost, has_cost
from reports.figures.data_mix import data_mix
from reports.figures.effects import MOST_ROWS, effects
from reports.figures.encoder import encoder
from reports.figures.interaction import crossed_pairs, interaction
from reports.figures.learning import MOST_ARMS, learning
from reports.figures.learning_rate import learning_rate
from reports.figures.published import published_figure
from reports.figures.trend import MOST_LINES, number_axes, trend
from reports.frame import Results
from reports.importance import importance_table
from reports.interactions import interactions, interactions_table
from reports.page import PageFigure, render
from reports.paper.beside import Beside, beside_the_paper
from reports.paper.lessons import lessons
from reports.paper.tables import beside_table, lessons_table, order_table
from reports.plot import Figure, figure_json
from reports.power import power_table, sights
from reports.provenance import provenance
from reports.records import ReportError, SweepRecords
from reports.shots import shot_gains, shots_table
from reports.summary import summarise
from reports.table_formats import to_html, to_latex, to_markdown
from reports.tables import Table, effects_table, headline_table, task_tables
from reports.variance import variance_table

SUMMARY = "summary.json"
"""Written last: a report with a summary is whole."""

_DRAWN: Mapping[str, tuple[Callable[[Analysis], Figure], str]] = {
    "connector": (
        connector,
        "Connectors in the layout of MM1's Fig. 4. The value axis is broken where the scores leave a gap.",
    ),
    "data_mix": (data_mix, "Data mixes in the layout of MM1's Fig. 5."),
    "encoder": (encoder, "Image encoders by pre-training objective, in the layout of MM1's Fig. 4."),
    "learning_rate": (
        learning_rate,
        "Peak learning rates by the size of the decoder, after MM1's Fig. 6. Left: the scores of every rate. Right: of "
        "each size and seed the rate with the best score (open: at the edge of what was tried, not fitted), the power "
        "law through them, its 95 % interval for one more training, and the paper's rule.",
    ),
}
_BARS = (
    " Error bars: 95 % intervals over seeds and items, cut at the ends of the scale; none with a single seed. "
    "* fewer seeds than planned. An empty slot is an arm without scores."
)


def write_report(records: SweepRecords, *, output: Path, images: bool, digest: str) -> dict[str, Any]:
    """Write the report into ``output`` and return its summary. Files of an earlier report that are no more are removed.

    Raises ``OSError`` where the folder cannot be written.
    """
    analysis = analyse(Results(records))
    found = provenance(records, analysis.results.all_trials)
    beside = beside_the_paper(analysis)
    verdicts = lessons(beside)
    seen = sights(analysis)
    gains = shot_gains(analysis.results)
    summary = summarise(analysis, found, verdicts, seen, gains)
    figures = [_with_published(figure, beside) for figure in _figures(analysis)]
    tables = {"headline": headline_table(analysis)}
    if gains:
        tables["shots"] = shots_table(analysis.results, gains)
    if analysis.axis_effects:
        tables["effects"] = effects_table(analysis)
    crossed = interactions(analysis.results)
    if crossed:
        tables["interactions"] = interactions_table(crossed, analysis.results)
    if (shares := variance_table(analysis.results)) is not None:
        tables["variance"] = shares
    if (ranked := importance_table(analysis.results)) is not None:
        tables["importance"] = ranked
    if seen:
        tables["power"] = power_table(seen, analysis.results.margin)
    if verdicts:
        tables |= {"beside_paper": beside_table(beside), "lessons": lessons_table(verdicts, beside.margin)}
    if beside.orders:
        tables["beside_paper_order"] = order_table(beside)
    tasks = task_tables(analysis)
    page = render(
        analysis,
        summary,
        figures=figures,
        tables=tables,
        task_tables=tasks,
        shown=examples(analysis.results),
        found=found,
    )
    files: dict[str, str] = {"index.html": page, "scores.csv": _csv(analysis.results.frame)}
    files["differences.csv"] = _csv(_differences(analysis))
    for table in (*tables.values(), *tasks):
        files |= _table_files(table)
    drawn = {figure.name: figure.figure for figure in figures if figure.figure is not None}
    files |= {f"figures/{name}.json": figure_json(figure) + "\n" for name, figure in drawn.items()}

    before = _listed(output)
    for name, text in files.items():
        _replace(output / name, text)
    pictures, problem = _write_pictures(output, drawn) if images else ([], "")
    summary |= {
        "figures": [{"name": figure.name, "problem": figure.problem} for figure in figures],
        "images": {"wanted": images, "problem": problem},
        "files": sorted([*files, *pictures]),
        "digest": digest,
    }
    for name in before - set(summary["files"]):
        (output / name).unlink(missing_ok=True)
    _replace(output / SUMMARY, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return summary


def _figures(analysis: Analysis) -> list[PageFigure]:
    """The figures that the plan asks for, the effects, how the arms learned, and what the sweep has besides:
    crossed axes, trainings of different cost."""
    figures = []
    for name in dict.fromkeys(analysis.results.plan["figures"]):
        if name not in _DRAWN:
            problem = f"no figure has this name; known are {', '.join(NAMES)}"
            figures.append(PageFigure(name=name, caption="", figure=None, problem=problem))
            continue
        draw, caption = _DRAWN[name]
        figures.append(_drawn(analysis, name, draw, caption + _BARS, adapts=False))
    caption = (
        "Effect of each value of each axis, paired by seed and item, with 95 % intervals; the grey band is the margin. "
        f"At most {MOST_ROWS} rows; the table has all."
    )
    figures.append(_drawn(analysis, "effects", effects, caption, adapts=True))
    caption = (
        "Loss of training by step: the mean over the seeds, and their range. Losses on different data are not "
        f"comparable. The baseline (†) and the first arms, at most {MOST_ARMS}; a click on the legend hides a line."
    )
    figures.append(_drawn(analysis, "learning", learning, caption, adapts=True))
    if number_axes(analysis):
        caption = (
            "Scores along each axis of numbers, after MM1's Fig. 7b and 7c, with 95 % intervals. A line joins arms "
            f"that are alike in all else, the baseline's first, at most {MOST_LINES}."
        )
        figures.append(_drawn(analysis, "trend", trend, caption, adapts=True))
    if crossed_pairs(analysis):
        caption = (
            "Mean scores by the values of two axes, over all else that the arms have there. Where the columns "
            "differ by the same in every row, the effects add up. The table of interactions has the intervals."
        )
        figures.append(_drawn(analysis, "interaction", interaction, caption, adapts=True))
    if has_cost(analysis):
        caption = (
            "Scores against the operations of a training, its encoder's included, as the plan computes them; 95 % "
            "intervals. The line joins the arms that no cheaper arm beats in the mean: where intervals overlap, chance "
            "may have ordered them."
        )
        figures.append(_drawn(analysis, "cost", cost, caption, adapts=True))
    return figures


def _drawn(
    analysis: Analysis, name: str, draw: Callable[[Analysis], Figure], caption: str, *, adapts: bool
) -> PageFigure:
    try:
        return PageFigure(name=name, caption=caption, figure=draw(analysis), adapts=adapts)
    except ReportError as error:
        return PageFigure(name=name, caption="", figure=None, problem=str(error))


def _with_published(figure: PageFigure, beside: Beside) -> PageFigure:
    """With the paper's figure of the same layout; of Fig. 5 the panels that the sweep repeats, else all."""
    blocks = [block for block in beside.published.blocks if block.figure == figure.name]
    if figure.figure is None or not blocks:
        return figure
    shown = [block for block in blocks if block in beside.repeated] or blocks
    names = [trace.name for trace in figure.figure.data if trace.showlegend]
    provenance = dict.fromkeys(block.provenance for block in shown)
    return replace(figure, published=published_figure(shown, beside=names), provenance=" ".join(provenance))


def _write_pictures(output: Path, drawn: Mapping[str, Figure]) -> tuple[list[str], str]:
    """The names of the image files, or none and one sentence why."""
    problem = missing_browser()
    if problem:
        return [], problem
    names = {f"figures/{name}.{suffix}": figure for name, figure in drawn.items() for suffix in FORMATS}
    try:
        write_images({output / name: figure for name, figure in names.items()})
    except ReportError as error:
        return [], str(error)
    return list(names), ""


def _table_files(table: Table) -> dict[str, str]:
    title = f"<!DOCTYPE html><meta charset=utf-8><title>{escape(table.caption)}</title>"
    return {
        f"tables/{table.name}.html": f"{title}\n{to_html(table)}\n",
        f"tables/{table.name}.md": to_markdown(table),
        f"tables/{table.name}.tex": to_latex(table),
    }


def _differences(analysis: Analysis) -> pd.DataFrame:
    """Every difference to the baseline, in stored units."""
    measures = {measure.key: measure for measure in (*analysis.results.headline, *analysis.results.details)}
    labels = {arm.key: arm.label for arm in analysis.results.arms}
    columns = ("arm", "label", "measure", "difference", "low", "high", "p", "p_holm", "verdict", "seeds", "items")
    rows = [
        (
            arm,
            labels[arm],
            measures[key].key,
            difference.estimate.mean,
            difference.estimate.low,
            difference.estimate.high,
            difference.p,
            difference.p_holm,
            difference.verdict,
            difference.estimate.seeds,
            difference.estimate.items,
        )
        for (arm, key), difference in analysis.differences.items()
    ]
    return pd.DataFrame(rows, columns=list(columns))


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")


def _listed(output: Path) -> set[str]:
    """The files of the report that is there, by its own list."""
    try:
        return set(json.loads((output / SUMMARY).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _replace(path: Path, text: str) -> None:
    """Write beside and rename, so that a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.write_text(text, encoding="utf-8", newline="\n")
    os.replace(draft, path)
