"""The one module that knows Plotly: plain dictionaries in; checked figures, their JSON and the script out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs


def figure(traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> Figure:
    """A figure of these traces and this layout. Raises ``ValueError`` for a property that Plotly does not know."""
    return Figure({"data": [dict(trace) for trace in traces], "layout": {"template": "none", **layout}})


def figure_json(figure: Figure) -> str:
    """The figure as JSON with sorted keys: equal figures give equal bytes. Plotly's own reader opens it."""
    return json.dumps(json.loads(figure.to_json()), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def script() -> str:
    """Plotly's JavaScript, about 5 MB, to be put into a page once."""
    return get_plotlyjs()
