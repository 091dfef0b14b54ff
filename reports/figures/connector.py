"""The connector figure in the style of MM1's Fig. 4: connectors side by side at each resolution and token count."""

from reports.analysis import Analysis
from reports.figures.panels import grid, has_grid, panels
from reports.plot import Figure

NAMES = {"average_pool": "Avg. Pool", "attention_pool": "Att. Pool", "c_abstractor": "C-Abstractor"}
"""As the paper writes them."""


def has_connectors(analysis: Analysis) -> bool:
    """Whether the sweep compares kinds of connector."""
    return has_grid(analysis, "connector.kind")


def connector(analysis: Analysis) -> Figure:
    """Series are the connectors, groups all other axes. Raises ``ReportError`` without such an axis or any score."""
    return panels(analysis, grid(analysis, key="connector.kind", names=NAMES, figure_name="connector"))
