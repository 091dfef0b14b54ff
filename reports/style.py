"""How the figures look: the paper's colours, hatches, fonts and proportions, and a plain style for everything else.

The paper's values were measured on its figures. Sizes are in pixels of a figure at scale 1.
"""

from dataclasses import dataclass
from html import escape
from typing import Any

SERIF = "Latin Modern Roman, CMU Serif, Computer Modern, STIX Two Text, Times New Roman, Liberation Serif, serif"
"""The paper is set in Computer Modern; the first of these that is installed is used in its place."""
SANS = "DejaVu Sans, Verdana, sans-serif"
INTERFACE = "system-ui, -apple-system, Segoe UI, Roboto, Liberation Sans, sans-serif"

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
"""Distinguishable with any colour vision (Okabe and Ito 2008): the default of figures that are not the paper's."""

VERDICT_COLOURS = {"higher": "#0072B2", "lower": "#D55E00", "equivalent": "#009E73", "unclear": "#8a8a8a"}
VERDICT_SYMBOLS = {"higher": "circle", "lower": "circle", "equivalent": "diamond", "unclear": "circle-open"}


@dataclass(frozen=True, kw_only=True)
class BarStyle:
    """Bars of one of the paper's figures. Series beyond the paper's number get further colours and hatches."""

    colours: tuple[str, ...]
    hatches: tuple[str, ...]
    plot_width: int
    plot_height: int
    margin: float
    """Distance from the first and last group's centre to the frame, in group pitches."""
    hatch_spacing: int

    def colour(self, series: int) -> str:
        return self.colours[series % len(self.colours)]

    def hatch(self, series: int) -> str:
        return self.hatches[series % len(self.hatches)]


FIGURE_4 = BarStyle(
    colours=("#3d8fc3", "#ee995f", "#74b064", "#dc5657", "#a37fc5", "#1ca7ea", "#efe100"),
    hatches=("", "/", "\\", "|", "-", "x", "+"),
    plot_width=330,
    plot_height=200,
    margin=0.55,
    hatch_spacing=7,
)
FIGURE_5 = BarStyle(
    colours=("#588ebf", "#fd9455", "#64b35c", "#dc5657", "#a37fc5", "#1ca7ea", "#efe100"),
    hatches=("", "/", "\\", "|", "-", "x", "+"),
    plot_width=506,
    plot_height=336,
    margin=0.75,
    hatch_spacing=10,
)


@dataclass(frozen=True, kw_only=True)
class LineStyle:
    """Lines of the paper's Fig. 7, which has a single one; further lines get further colours."""

    colours: tuple[str, ...]
    grid: str
    fine_grid: str


FIGURE_7 = LineStyle(
    colours=("#ff5e00", *OKABE_ITO[:1], *OKABE_ITO[2:3], *OKABE_ITO[4:6], "#000000", "#8a8a8a"),
    grid="#bbbbbb",
    fine_grid="#f0f0f0",
)
SAFE_COLOURS = {
    **dict(zip(FIGURE_4.colours, OKABE_ITO, strict=True)),
    **dict(zip(FIGURE_5.colours, OKABE_ITO, strict=True)),
    FIGURE_7.colours[0]: OKABE_ITO[3],
    "#b60000": OKABE_ITO[3],
}
"""For each of the paper's colours, one that is distinguishable with any colour vision."""
GRID = "#b4b4b4"
TICK = "#7b7b7b"
MISSING = "#6b6b6b"


def bar_width(series: int) -> float:
    """Width of one of the touching bars of Fig. 5, in group pitches: as measured for 2, 4 and 5 series."""
    return {1: 0.40, 2: 0.40, 4: 0.185, 5: 0.153}.get(series, 0.76 / series)


def layout(**extra: Any) -> dict[str, Any]:
    """The layout that all of the paper's figures share; keys given are added."""
    base: dict[str, Any] = {
        "font": {"family": SERIF, "size": 15, "color": "#000000"},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "barmode": "overlay",  # positions and widths are given bar by bar
        "bargap": 0,
        "hovermode": "closest",
        "dragmode": False,
    }
    return base | extra


def frame_axis(**extra: Any) -> dict[str, Any]:
    """One side of the full black box around a panel, without grid, zero line or zoom."""
    base: dict[str, Any] = {
        "showline": True,
        "mirror": True,
        "linecolor": "#000000",
        "linewidth": 1,
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
        "ticks": "",
    }
    return base | extra


def legend(**extra: Any) -> dict[str, Any]:
    """A horizontal legend in a black frame on white, as the paper has it; clicks do not hide what labels describe."""
    base: dict[str, Any] = {
        "orientation": "h",
        "bgcolor": "#ffffff",
        "bordercolor": "#000000",
        "borderwidth": 1,
        "itemclick": False,
        "itemdoubleclick": False,
        "font": {"family": SERIF, "size": 13},
    }
    return base | extra


def plain_layout(*, width: float, height: float, **extra: Any) -> dict[str, Any]:
    """The layout of figures that are not the paper's: panels are placed by hand, nothing moves. Keys are added."""
    base: dict[str, Any] = {
        "width": width,
        "height": height,
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0, "autoexpand": False},
        "font": {"family": INTERFACE, "size": 12, "color": "#1a1a1a"},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "dragmode": False,
        "hovermode": "closest",
    }
    return base | extra


def legend_above(height: float) -> dict[str, Any]:
    """A legend in one line at the upper edge of a figure of this height."""
    return {
        "orientation": "h",
        "x": 0.5,
        "xanchor": "center",
        "y": 1 - 4 / height,
        "yanchor": "top",
        "yref": "container",
        "xref": "container",
        "itemclick": False,
        "itemdoubleclick": False,
    }


def heading(text: str, x: float, y: float, *, size: float = 13, xanchor: str = "center") -> dict[str, Any]:
    """Text above a panel, placed in shares of the figure."""
    return {
        "text": text,
        "x": x,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xanchor": xanchor,
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": size},
    }


def verbatim(text: str) -> str:
    """Text from a user, shown as it is: Plotly would interpret some HTML in labels."""
    return escape(text, quote=False)
