"""Everything a report is made of, computed from the records and written: page, figures, tables, frames, summary."""

import json
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from reports.analysis import analyse
from reports.chosen_figures import chosen_figures
from reports.encoder_table import encoder_table
from reports.examples import examples
from reports.export import FORMATS, missing_browser, write_images
from reports.exports import csv, frames, parquet
from reports.frame import Results
from reports.importance import importance_table
from reports.interactions import interactions, interactions_table
from reports.page import render
from reports.paper.beside import Beside, beside_the_paper
from reports.paper.lessons import lessons
from reports.paper.tables import beside_table, lessons_table, order_table, published_encoders
from reports.plot import Figure, figure_json
from reports.power import power_table, sights
from reports.provenance import provenance
from reports.records import ReportError, SweepRecords
from reports.scaling import predictions_table
from reports.shots import shot_gains, shots_table
from reports.summary import summarise
from reports.table_formats import to_html, to_latex, to_markdown
from reports.tables import Table, effects_table, headline_table, task_tables
from reports.task_grid import task_grid
from reports.variance import variance_shares, variance_table

SUMMARY = "summary.json"
"""Written last: a report with a summary is complete."""

_PAGE = "index.html"
"""Written first."""
_MARK = "ablation report</title>"
"""Found near the beginning of every report page."""


def is_free(output: Path) -> bool:
    """Whether a report may go here: the folder is new, empty, or holds a report, even an unfinished one."""
    if _PAGE in _listed(output):
        return True
    try:
        with (output / _PAGE).open(encoding="utf-8", errors="replace") as page:
            return _MARK in page.read(10_000)
    except FileNotFoundError:
        return not output.exists() or all(path.name.startswith(f".{_PAGE}.") for path in output.iterdir())


def write_report(records: SweepRecords, *, output: Path, images: bool, digest: str) -> dict[str, Any]:
    """Write the report into ``output`` and return its summary. Files that only an earlier report had are removed.

    Raises ``OSError`` where the folder cannot be written.
    """
    analysis = analyse(Results(records))
    found = provenance(records, analysis.results.all_trials)
    beside = beside_the_paper(analysis)
    verdicts = lessons(beside)
    seen = sights(analysis)
    gains = shot_gains(analysis.results)
    summary = summarise(analysis, found, verdicts, seen, gains)
    figures = chosen_figures(analysis, beside)
    crossed = interactions(analysis.results)
    shares = {measure.key: variance_shares(analysis.results, measure) for measure in analysis.results.headline}
    tables = {"headline": headline_table(analysis)}
    if gains:
        tables["shots"] = shots_table(analysis.results, gains)
    if analysis.axis_effects:
        tables["effects"] = effects_table(analysis)
    if crossed:
        tables["interactions"] = interactions_table(crossed, analysis.results)
    if seen:
        tables["power"] = power_table(seen, analysis.results.margin)
    if verdicts:
        tables |= {"beside_paper": beside_table(beside), "lessons": lessons_table(verdicts, beside.margin)}
    if beside.orders:
        tables["beside_paper_order"] = order_table(beside)
    encoders = encoder_table(analysis)
    perhaps = {
        "encoder": encoders,
        "encoder_published": None if encoders is None else _published_encoders(beside),
        "tasks": task_grid(analysis),
        "variance": variance_table(analysis.results, shares),
        "importance": importance_table(analysis.results),
        "learning_rate_predictions": predictions_table(analysis.results),
    }
    tables |= {name: table for name, table in perhaps.items() if table is not None}
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
    files: dict[str, bytes] = {_PAGE: page.encode()}
    numbers = frames(analysis, gains=gains, crossed=crossed, shares=shares, seen=seen, beside=beside, verdicts=verdicts)
    for name, frame in numbers.items():
        files |= {f"{name}.csv": csv(frame), f"{name}.parquet": parquet(frame)}
    for table in (*tables.values(), *tasks):
        files |= {name: text.encode() for name, text in _table_files(table).items()}
    drawn = {figure.name: figure.figure for figure in figures if figure.figure is not None}
    files |= {f"figures/{name}.json": f"{figure_json(figure)}\n".encode() for name, figure in drawn.items()}

    before = _listed(output)
    for name, content in files.items():
        _replace(output / name, content)
    pictures, problem = _write_pictures(output, drawn) if images else ([], "")
    summary |= {
        "figures": [{"name": figure.name, "problem": figure.problem} for figure in figures],
        "images": {"wanted": images, "problem": problem},
        "files": {name: (output / name).stat().st_size for name in sorted([*files, *pictures])},
        "digest": digest,
    }
    for name in before - set(summary["files"]):
        (output / name).unlink(missing_ok=True)
    _replace(output / SUMMARY, f"{json.dumps(summary, indent=1, ensure_ascii=False)}\n".encode())
    return summary


def _published_encoders(beside: Beside) -> Table:
    return published_encoders(next(block for block in beside.published.blocks if block.source == "Table 1"))


def _write_pictures(output: Path, drawn: Mapping[str, Figure]) -> tuple[list[str], str]:
    """The names of the image files, or none and a sentence saying why."""
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


def _listed(output: Path) -> set[str]:
    """The files of the existing report, as its summary lists them."""
    try:
        return set(json.loads((output / SUMMARY).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _replace(path: Path, content: bytes) -> None:
    """Write to a file beside it and rename that, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.write_bytes(content)
    os.replace(draft, path)
