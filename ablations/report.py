"""``ablate report``: rebuild everything that a sweep's records show, print a summary, and say where to open it."""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablations.errors import OK, TRIALS_FAILED, BadInput, StoreError
from ablations.folder import sweep_folder, sweep_name
from ablations.overview import read_overview
from ablations.summary import print_summary, summary_console
from reports.build import build_comparison, build_report
from reports.records import CannotWrite, ReportError

_FAILED = ("failed", "diverged", "unreadable")
_SECONDS_APART = 10.0
"""Seconds between two looks at the records of a sweep that is watched."""


def report(
    sweeps: Sequence[str],
    *,
    store: Path,
    output: Path | None,
    images: bool,
    json_output: bool,
    from_mlflow: str | None = None,
    watch: bool = False,
) -> int:
    """Make the report on the sweep of this name (or of the sweep file of that name) and print its summary.

    Several ``sweeps`` are compared in one report. ``from_mlflow``: make it from what the MLflow at this address has,
    without the store. ``watch``: make it again whenever there are new records, until the sweep has ended. Returns
    ``TRIALS_FAILED`` where trials failed or diverged, else ``OK``. Raises ``BadInput`` where there is no such sweep,
    ``StoreError`` where the report cannot be written, ``TrackingError`` where MLflow cannot be read.
    """
    if watch and (from_mlflow is not None or len(sweeps) > 1):
        raise BadInput("--watch follows one sweep in a store; leave it out, or give one sweep and no --from-mlflow")
    if len(set(map(sweep_name, sweeps))) < len(sweeps):
        raise BadInput(f"{' '.join(sweeps)}: a sweep is named twice; name each sweep to compare once")
    if from_mlflow is not None:
        target = output or Path(f"{'+'.join(map(sweep_name, sweeps))}-report")
        summary = _restored([sweep_name(sweep) for sweep in sweeps], uri=from_mlflow, target=target, images=images)
    else:
        folders = [sweep_folder(sweep, store) for sweep in sweeps]
        joined = "+".join(folder.name for folder in folders)
        target = output or (folders[0] / "report" if len(folders) == 1 else store / "comparisons" / joined)
        if watch:
            _follow(folders[0], store=store, target=target, quiet=json_output)
        summary = _build(folders, store=store, target=target, images=images)
    if json_output:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        console = summary_console()
        print_summary(summary, console=console)
        console.print(f"Report: {target / 'index.html'}", soft_wrap=True, highlight=False)
    return TRIALS_FAILED if any(summary["states"].get(state) for state in _FAILED) else OK


def _build(folders: Sequence[Path], *, store: Path, target: Path, images: bool) -> dict[str, Any]:
    try:
        if len(folders) == 1:
            return build_report(folders[0], store=store, output=target, images=images)
        return build_comparison(folders, store=store, output=target, images=images)
    except CannotWrite as error:
        raise StoreError(str(error)) from None
    except ReportError as error:
        raise BadInput(str(error)) from None


def _restored(names: Sequence[str], *, uri: str, target: Path, images: bool) -> dict[str, Any]:
    """The report on what MLflow has, made in a temporary store."""
    from ablations.restore import restore

    with tempfile.TemporaryDirectory() as place:
        folders = []
        for name in names:
            folder, lacking = restore(uri, name, Path(place))
            folders.append(folder)
            for problem in lacking:
                print(problem, file=sys.stderr)
        return _build(folders, store=Path(place), target=target, images=images)


def _follow(folder: Path, *, store: Path, target: Path, quiet: bool) -> None:
    """Make the report, without images, whenever the records have something new, until nothing more is to come."""
    known = ""
    while True:
        overview = read_overview(folder, store)
        summary = _build([folder], store=store, target=target, images=False)
        if summary["digest"] != known and not quiet:
            scored = summary["states"].get("done", 0)
            clock = time.strftime("%H:%M:%S")
            print(f"{clock} {scored} of {summary['trials']} trials scored: {target / 'index.html'}", flush=True)
        known = summary["digest"]
        if overview.finished and overview.owner is None:
            return
        time.sleep(_SECONDS_APART)
