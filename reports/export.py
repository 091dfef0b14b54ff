"""Figures as PNG, SVG and PDF files, made by Kaleido with Chrome or Chromium, which is started once for all of them."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.records import ReportError

if TYPE_CHECKING:
    from reports.plot import Figure

FORMATS = ("png", "svg", "pdf")
_PNG_SCALE = 2


def missing_browser() -> str:
    """A sentence that says what to install for images, or an empty string where there is a browser."""
    from choreographer.browsers.chromium import Chromium

    if Chromium.find_browser(skip_local=False) is None:
        return (
            "No images: no Chrome or Chromium was found; install one (Debian: `apt install chromium`) "
            "or name it in BROWSER_PATH. Everything else is in the report."
        )
    return ""


def write_images(images: "Mapping[Path, Figure]") -> None:
    """Write each figure to its path, whose suffix is one of ``FORMATS``. Equal figures give equal bytes.

    Raises ``ReportError`` where there is no browser, it fails, or a suffix is not known.
    """
    problem = missing_browser()
    if problem:
        raise ReportError(problem)
    import kaleido

    logging.getLogger("choreographer").setLevel(logging.CRITICAL)  # it logs tracebacks of errors that it recovers from
    jobs: list[dict[str, Any]] = []
    for path, figure in images.items():
        suffix = path.suffix.removeprefix(".")
        if suffix not in FORMATS:
            raise ReportError(f"{path}: unknown image format; use one of {', '.join(FORMATS)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        scale = _PNG_SCALE if suffix == "png" else 1
        jobs.append({"fig": figure.to_dict(), "path": path, "opts": {"format": suffix, "scale": scale}})
    try:
        # the browser's page is local, and no formula in a label is worth a download of MathJax
        errors = kaleido.write_fig_from_object_sync(jobs, kopts={"n": 1, "mathjax": False})
    except Exception as error:  # the browser's many ways to fail, none of which is ours
        raise ReportError(f"No images: the browser failed ({error}); everything else is in the report.") from error
    if errors:
        raise ReportError(f"No images: the browser failed ({errors[0]}); everything else is in the report.")
    for path in images:
        _make_repeatable(path)


def _make_repeatable(path: Path) -> None:
    """Take out what differs from run to run: the dates of a PDF, the random names inside an SVG."""
    if path.suffix == ".pdf":
        content = path.read_bytes()
        path.write_bytes(re.sub(rb"(/(?:CreationDate|ModDate) \(D:)\d{14}", rb"\g<1>20000101000000", content))
    if path.suffix == ".svg":
        text = path.read_text(encoding="utf-8")
        identifiers = "\n".join(re.findall(r'(?:id|class)="([^"]*)"', text))
        names = re.findall(r"(?:clip|defs-|legend-?|trace|p|-)([0-9a-f]{6})(?![0-9a-f])", identifiers)
        for number, name in enumerate(dict.fromkeys(names)):
            text = re.sub(rf"(?<!#){name}", f"n{number:05d}", text)  # after a # it would be a colour
        path.write_text(text, encoding="utf-8")
