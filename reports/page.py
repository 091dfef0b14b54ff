"""The report as one HTML page that opens from disk: everything inside, nothing fetched, light and dark."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports.analysis import Analysis
from reports.configuration import leaves
from reports.examples import Example
from reports.frame import Arm
from reports.plot import Figure, figure_json, script
from reports.provenance import Provenance
from reports.style import SAFE_COLOURS
from reports.table_formats import to_html
from reports.tables import Table


@dataclass(frozen=True, kw_only=True)
class PageFigure:
    """A figure of the page, or the reason why there is none."""

    name: str
    caption: str
    figure: Figure | None
    problem: str = ""
    adapts: bool = False
    """Whether it takes the page's colours; the paper's figures stay black on white."""
    published: Figure | None = None
    """The paper's own figure, shown on demand."""
    published_caption: str = ""
    """What ``published`` is, and where its numbers were read."""


def render(
    analysis: Analysis,
    summary: Mapping[str, Any],
    *,
    figures: Sequence[PageFigure],
    tables: Mapping[str, Table],
    task_tables: Sequence[Table],
    shown: Sequence[Example],
    found: Provenance,
) -> str:
    """The whole page. Equal arguments give equal bytes."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["setting"] = _setting
    results = analysis.results
    setting_keys = list(dict.fromkeys(key for arm in results.arms for key in arm.settings))
    return environment.get_template("page.html").render(
        plan=results.plan,
        summary=summary,
        figures=figures,
        figure_data=Markup(_inside_script(_drawings(figures))),
        tables={name: Markup(to_html(table)) for name, table in tables.items()},
        task_tables=[(table.caption, Markup(to_html(table))) for table in task_tables],
        examples=_by_task(shown),
        arms=results.arms,
        setting_keys=setting_keys,
        configuration=_configuration(results.plan, results.arms),
        base=leaves(results.plan.get("base") or {}, whole=setting_keys),
        found=found,
        trials=results.all_trials,
        labels={arm.key: arm.label for arm in results.arms},
        plotly=Markup(script()),
        safe_colours=SAFE_COLOURS,
    )


def _drawings(figures: Sequence[PageFigure]) -> dict[str, Any]:
    """The figures' data by the name of their place on the page; figures that are drawn only on demand are marked."""
    drawings = {}
    for figure in figures:
        if figure.figure is not None:
            drawings[figure.name] = {"adapts": figure.adapts, **json.loads(figure_json(figure.figure))}
        if figure.published is not None:
            drawings[f"{figure.name}-published"] = {"waits": True, **json.loads(figure_json(figure.published))}
    return drawings


def _inside_script(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _by_task(shown: Sequence[Example]) -> dict[str, list[Example]]:
    tasks: dict[str, list[Example]] = {}
    for example in shown:
        tasks.setdefault(example.task, []).append(example)
    return tasks


def _configuration(plan: Mapping[str, Any], arms: Sequence[Arm]) -> str:
    """The whole configuration of the baseline, as the sweep sets it; without a baseline, the sweep's base."""
    baseline = next((arm for arm in arms if arm.baseline), None)
    configuration = json.loads(json.dumps(plan.get("base") or {}))
    for key, value in (baseline.settings if baseline else {}).items():
        *sections, leaf = key.split(".")
        section = configuration
        for name in sections:
            section = section.setdefault(name, {})
        section[leaf] = value
    return json.dumps(configuration, indent=2, ensure_ascii=False) if configuration else ""


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
