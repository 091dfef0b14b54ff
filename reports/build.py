"""One call makes a sweep's report, or finds that the existing one is up to date, which needs no heavy imports."""

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reports.export import missing_browser
from reports.merge import merge
from reports.records import CannotWrite, ReportError, SweepRecords, read_records

_COMPUTE = ("numpy", "optuna", "plotly", "scipy", "statsmodels")
"""Packages whose version can change what a report says."""


def build_report(folder: Path, *, store: Path, output: Path, images: bool) -> dict[str, Any]:
    """The summary of the report on the sweep at ``folder``, written into ``output`` unless it is there already.

    Raises ``ReportError`` where there is no plan to read, or ``output`` has other files or cannot be written.
    """
    return _build(read_records(folder, store=store), output=output, images=images)


def build_comparison(folders: Sequence[Path], *, store: Path, output: Path, images: bool) -> dict[str, Any]:
    """The same for several sweeps of a store side by side; the first one's baseline is the baseline."""
    return _build(merge([read_records(folder, store=store) for folder in folders]), output=output, images=images)


def _build(records: SweepRecords, *, output: Path, images: bool) -> dict[str, Any]:
    digest = _digest(records)
    present = _present(output, digest, images=images)
    if present is not None:
        return present
    from reports.outputs import is_free, write_report  # here, because it loads pandas and plotly

    try:
        if not is_free(output):
            raise ReportError(
                f"{output}: this folder has files that are not part of a report, which a report could overwrite; "
                "name a new or empty folder with --output"
            )
        return write_report(records, output=output, images=images, digest=digest)
    except OSError as error:
        raise CannotWrite(
            f"{error.filename or output}: the report cannot be written ({error.strerror}); "
            "free some space or make it writable, or name another folder with --output"
        ) from error


def _present(output: Path, digest: str, *, images: bool) -> dict[str, Any] | None:
    """The summary of the existing report, if it is complete and was made from the same records by the same program."""
    try:
        summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
        whole = all((output / name).stat().st_size == size for name, size in summary["files"].items())
        current = whole and summary["digest"] == digest
        wanted, problem = summary["images"]["wanted"], summary["images"]["problem"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    pictured = not images or (wanted and (not problem or problem == missing_browser()))
    return summary if current and pictured else None


def _digest(records: SweepRecords) -> str:
    versions = " ".join(version(package) for package in _COMPUTE)
    return hashlib.sha256(f"{records.digest} {_program()} {versions}".encode()).hexdigest()


@cache
def _program() -> str:
    """Changes with the source of this package, so that a report never outlives the program that made it."""
    here = Path(__file__).parent
    content = hashlib.sha256()
    for path in sorted(path for suffix in ("py", "html", "css", "js", "yaml") for path in here.rglob(f"*.{suffix}")):
        content.update(path.relative_to(here).as_posix().encode() + b"\0" + path.read_bytes())
    return content.hexdigest()
