"""``ablate report``: everything a sweep's records show, rebuilt, printed in short, and where to open it."""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ablations.errors import OK, TRIALS_FAILED, BadInput, StoreError
from ablations.folder import sweep_folder, sweep_name
from ablations.overview import read_overview
from ablations.summary import print_summary, summary_console
from reports.build import build_report
from reports.records import CannotWrite, ReportError

_FAILED = ("failed", "diverged", "unreadable")
_SECONDS_APART = 10.0
"""Between two looks at the records of a sweep that is watched."""


def report(
    sweep: str,
    *,
    store: Path,
    output: Path | None,
    images: bool,
    json_output: bool,
    from_mlflow: str | None = None,
    watch: bool = False,
) -> int:
    """Make the report on the sweep of this name (or of the sweep file of that name) and print its summary.

    ``from_mlflow``: of what the MLflow at this address has, without the store. ``watch``: again whenever records are
    new, until the sweep has ended. Returns ``TRIALS_FAILED`` where trials failed or diverged, else ``OK``. Raises
    ``BadInput`` where there is no such sweep, ``StoreError`` where the report cannot be written, ``TrackingError``
    where MLflow cannot be read.
    """
    if from_mlflow is not None:
        if watch:
            raise BadInput("--watch follows the records in a store; leave out --watch or --from-mlflow")
        target = output or Path(f"{sweep_name(sweep)}-report")
        summary = _restored(sweep_name(sweep), uri=from_mlflow, target=target, images=images)
    else:
        folder = sweep_folder(sweep, store)
        target = output or folder / "report"
        if watch:
            _follow(folder, store=store, target=target, quiet=json_output)
        summary = _build(folder, store=store, target=target, images=images)
    if json_output:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        console = summary_console()
        print_summary(summary, console=console)
        console.print(f"Report: {target / 'index.html'}", soft_wrap=True, highlight=False)
    return TRIALS_FAILED if any(summary["states"].get(state) for state in _FAILED) else OK


def _build(folder: Path, *, store: Path, target: Path, images: bool) -> dict[str, Any]:
    try:
        return build_report(folder, store=store, output=target, images=images)
    except CannotWrite as error:
        raise StoreError(str(error)) from None
    except ReportError as error:
        raise BadInput(str(error)) from None


def _restored(name: str, *, uri: str, target: Path, images: bool) -> dict[str, Any]:
    """The report of what MLflow has, made in a store that is gone afterwards."""
    from ablations.restore import restore

    with tempfile.TemporaryDirectory() as place:
        store = Path(place)
        folder, lacking = restore(uri, name, store)
        for problem in lacking:
            print(problem, file=sys.stderr)
        return _build(folder, store=store, target=target, images=images)


def _follow(folder: Path, *, store: Path, target: Path, quiet: bool) -> None:
    """Make the report, without images, whenever something in the records is new, until nothing more is to come."""
    known = ""
    while True:
        overview = read_overview(folder, store)
        summary = _build(folder, store=store, target=target, images=False)
        if summary["digest"] != known and not quiet:
            scored = summary["states"].get("done", 0)
            clock = time.strftime("%H:%M:%S")
            print(f"{clock} {scored} of {summary['trials']} trials scored: {target / 'index.html'}", flush=True)
        known = summary["digest"]
        if overview.finished and overview.owner is None:
            return
        time.sleep(_SECONDS_APART)
