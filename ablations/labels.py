"""Short texts for values, keys and numbers of things, as figures, tables and the names of arms show them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def plain_label(value: Any) -> str:
    """A value as a short text for figures and tables."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, Mapping):
        return " ".join(f"{name} {plain_label(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "/".join(plain_label(item) for item in value)
    return str(value) if type(value) is int else json.dumps(value, default=str)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The shortest ending of each dotted key that none of the other keys has."""
    names = {}
    for key in keys:
        parts = key.split(".")
        endings = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
        names[key] = next(
            (ending for ending in endings if sum(f".{other}".endswith(f".{ending}") for other in keys) == 1), key
        )
    return names


def counted(number: int, thing: str) -> str:
    """A count with its noun, such as ``1 trial`` and ``1,200 trials``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
