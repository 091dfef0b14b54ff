"""``ablate report``: everything a sweep's records show, rebuilt, printed in short, and where to open it."""

import json
from pathlib import Path

from ablations.errors import OK, TRIALS_FAILED, BadInput, StoreError
from ablations.folder import sweep_folder
from ablations.summary import print_summary, summary_console
from reports.build import build_report
from reports.records import CannotWrite, ReportError

_FAILED = ("failed", "diverged", "unreadable")


def report(sweep: str, *, store: Path, output: Path | None, images: bool, json_output: bool) -> int:
    """Make the report on the sweep of this name (or of the sweep file of that name) and print its summary.

    Returns ``TRIALS_FAILED`` where trials failed or diverged, else ``OK``. Raises ``BadInput`` where there is no such
    sweep in the store, ``StoreError`` where the report cannot be written.
    """
    folder = sweep_folder(sweep, store)
    target = output or folder / "report"
    try:
        summary = build_report(folder, store=store, output=target, images=images)
    except CannotWrite as error:
        raise StoreError(str(error)) from None
    except ReportError as error:
        raise BadInput(str(error)) from None
    if json_output:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        console = summary_console()
        print_summary(summary, console=console)
        console.print(f"Report: {target / 'index.html'}", soft_wrap=True, highlight=False)
    return TRIALS_FAILED if any(summary["states"].get(state) for state in _FAILED) else OK
