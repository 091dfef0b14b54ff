"""A configuration's nested sections as dotted keys."""

from collections.abc import Container, Mapping
from typing import Any


def leaves(sections: Mapping[str, Any], *, whole: Container[str], prefix: str = "") -> dict[str, Any]:
    """Every value by its dotted key; ``whole`` are keys whose mappings are values, such as ``data.mix``."""
    found: dict[str, Any] = {}
    for name, value in sections.items():
        if isinstance(value, Mapping) and prefix + name not in whole:
            found |= leaves(value, whole=whole, prefix=f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
