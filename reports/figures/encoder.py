"""Image encoders side by side: how they were pre-trained, at each resolution (the axes of MM1's Table 1)."""

from reports.analysis import Analysis
from reports.figures.panels import grid, has_grid, panels
from reports.plot import Figure

NAMES = {"clip": "CLIP", "aim": "AIM", "none": "Random"}


def has_encoders(analysis: Analysis) -> bool:
    """Whether the sweep compares objectives."""
    return has_grid(analysis, "encoder.objective")


def encoder(analysis: Analysis) -> Figure:
    """Series are the objectives, groups all other axes. Raises ``ReportError`` without such an axis or any score."""
    return panels(analysis, grid(analysis, key="encoder.objective", names=NAMES, figure_name="encoder"))
