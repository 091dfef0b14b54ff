"""Where values come in: pydantic strictly checks what was written in YAML against declared types.

An integer is accepted for a number; nothing else is converted. Whatever passes is trusted from here on.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from ablations.configuration import FILLED_IN, Leaf
from ablations.errors import nearest, shown
from mm1core.errors import ConfigError

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Refused(Exception):
    """A value that is not what was declared, and where in it."""

    def __init__(
        self, problem: str, *, inside: Sequence[str | int] = (), allowed: str | None = None, near: str | None = None
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.inside = tuple(inside)
        self.allowed = allowed
        self.nearest = near


def check_leaf(leaf: Leaf, value: Any) -> Any:
    """The value of a leaf as its declared type. Raises ``Refused``."""
    return check(leaf.annotation, value)


def check(annotation: Any, value: Any) -> Any:
    """``value`` (plain YAML types) as ``annotation``. A dataclass is built from a mapping. Raises ``Refused``."""
    try:
        checked = _adapter(annotation).validate_json(json.dumps(value))
    except ValidationError as error:
        raise _refused(annotation, value, error) from None
    _require_finite(value, ())  # a type that leaves its values open would let through values without a canonical form
    return _plain(annotation, checked)


def _require_finite(value: Any, inside: tuple[str | int, ...]) -> None:
    if isinstance(value, float) and not isfinite(value):
        raise Refused(f"{shown(value)} is not allowed", inside=inside, allowed=words(float))
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for place, item in items:
        _require_finite(item, (*inside, place))


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    checked = _checked(annotation)
    return TypeAdapter(checked) if is_dataclass(checked) else TypeAdapter(checked, config=STRICT)


def _checked(annotation: Any) -> Any:
    """The annotation with each dataclass replaced by a subclass that pydantic checks; ours stay free of pydantic."""
    if is_dataclass(annotation) and isinstance(annotation, type):
        return pydantic_dataclass(annotation, config=STRICT, frozen=True, kw_only=True)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping) and is_dataclass(arguments[1]):
        kind: Any = _checked(arguments[1])
        return Mapping[str, kind]
    return annotation


def _plain(annotation: Any, checked: Any) -> Any:
    if is_dataclass(annotation) and isinstance(annotation, type):
        return annotation(**{item.name: getattr(checked, item.name) for item in fields(checked)})
    arguments = get_args(annotation)
    if isinstance(checked, Mapping) and len(arguments) == 2 and is_dataclass(arguments[1]):
        return {name: _plain(arguments[1], item) for name, item in checked.items()}
    return checked


_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
"""An unknown key is reported before a missing one: it is often the same key, misspelt."""


def _refused(annotation: Any, value: Any, error: ValidationError) -> Refused:
    found_errors = error.errors(include_url=False)
    first = next((one for one in found_errors if one["type"] in _UNKNOWN), found_errors[0])
    inside = tuple(first["loc"])
    hint = _hint_at(annotation, inside)
    kind = first["type"]
    cause = (first.get("ctx") or {}).get("error")
    if isinstance(cause, ConfigError):
        return Refused(cause.problem, inside=(*inside, cause.key.rpartition(".")[2]))
    if kind in _UNKNOWN:
        owner = _hint_at(annotation, inside[:-1])
        known = _settable(owner)
        return Refused("is not a known key", inside=inside, allowed=", ".join(known), near=nearest(inside[-1], known))
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return Refused("is missing", inside=inside)
    found = first["input"] if inside else value
    near = nearest(found, get_args(hint)) if get_origin(hint) is Literal and isinstance(found, str) else None
    return Refused(f"{shown(found)} is not allowed", inside=inside, allowed=words(hint), near=near)


def _hint_at(annotation: Any, inside: Sequence[str | int]) -> Any:
    """The declared type at a place inside a value."""
    for step in inside:
        if is_dataclass(annotation):
            hints = get_type_hints(annotation)
            annotation = hints.get(str(step), Any)
            continue
        arguments = get_args(annotation)
        if isinstance(step, int) and arguments:
            annotation = arguments[step] if Ellipsis not in arguments and step < len(arguments) else arguments[0]
        elif len(arguments) == 2:
            annotation = arguments[1]
        else:
            return Any
    return annotation


def _settable(kind: Any) -> list[str]:
    return [item.name for item in fields(kind) if item.name not in FILLED_IN]


_WORDS = {
    int: "an integer",
    float: "a finite number",
    bool: "true or false",
    str: "text",
    NoneType: "null",
    Any: "any value",
}


def words(annotation: Any) -> str:
    """A declared type in words, such as ``an integer or null``."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(map(str, arguments))
    if origin in (Union, UnionType):
        return " or ".join(words(argument) for argument in arguments)
    if origin in (tuple, list):
        if Ellipsis in arguments or origin is list:
            return f"a list, each {words(arguments[0])}"
        return f"a list of {len(arguments)}, each {words(arguments[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping of names, each to {words(arguments[1])}"
    if is_dataclass(annotation) and isinstance(annotation, type):
        return "a mapping with the keys " + ", ".join(_settable(annotation))
    return _WORDS.get(annotation, str(annotation))
