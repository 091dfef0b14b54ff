"""A stage's configuration as JSON and back, to pass it from the dispatcher to the process that runs it.

Unlike the canonical form that makes a key, nothing is left out. Reading is strict: unknown and missing fields and
values of another type raise, with the place, so that two versions of the program cannot quietly misunderstand
each other.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


class PayloadError(ValueError):
    """A payload that does not fit the declared configuration. ``str()`` starts with the place."""


def encode(value: Any) -> Any:
    """Dataclasses become objects, tuples lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: encode(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


def decode(annotation: Any, value: Any, place: str = "config") -> Any:
    """What ``encode`` was given, where ``annotation`` is its declared type. Raises ``PayloadError``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return value
    if is_dataclass(annotation) and isinstance(annotation, type):
        return _decode_dataclass(annotation, value, place)
    if origin in (Union, UnionType):
        return _decode_union(arguments, value, place)
    if origin is Literal:
        _require(value in arguments, place, f"{value!r} is none of {arguments}")
        return value
    if origin in (tuple, list):
        _require(isinstance(value, list), place, f"{value!r} is not a list")
        if origin is tuple and Ellipsis not in arguments:
            _require(len(value) == len(arguments), place, f"has {len(value)} items instead of {len(arguments)}")
            kinds = list(arguments)
        else:
            kinds = [arguments[0]] * len(value)
        return origin(
            decode(kind, item, f"{place}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
        )
    if isinstance(origin, type) and issubclass(origin, Mapping):
        _require(isinstance(value, dict), place, f"{value!r} is not an object")
        return {key: decode(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    if annotation is float and type(value) is int:
        return float(value)
    _require(type(value) is annotation, place, f"{value!r} is not of type {annotation}")
    return value


def _decode_dataclass(kind: type, value: Any, place: str) -> Any:
    _require(isinstance(value, dict), place, f"{value!r} is not an object")
    hints = _hints(kind)
    _require(value.keys() == hints.keys(), place, f"has the fields {sorted(value)} instead of {sorted(hints)}")
    return kind(**{name: decode(hints[name], item, f"{place}.{name}") for name, item in value.items()})


def _decode_union(kinds: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    problems = []
    for kind in kinds:
        try:
            return decode(kind, value, place)
        except PayloadError as problem:
            problems.append(str(problem))
    raise PayloadError("; ".join(problems))


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind)}


def _require(condition: bool, place: str, problem: str) -> None:
    if not condition:
        raise PayloadError(f"{place}: {problem}")
