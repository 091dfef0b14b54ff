"""What makes two pieces of work the same: canonical JSON of frozen configurations, and the key made of it.

The canonical form of a dataclass holds every field but those declared execution-only and those at their neutral
default. Numbers are brought to the declared type, so that 3 and 3.0 cannot be two keys. What has no canonical form
(a path, a function, an infinite number) raises with its place: a silent ``str()`` would fork the keys.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from hashlib import sha256
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ablations.errors import AblationError

KEY_LENGTH = 12


class IdentityError(AblationError):
    """A value that has no canonical form. This is a mistake in a configuration class, not in a sweep."""


def stage_key(*, kind: str, version: int, config: Any, inputs: Mapping[str, str]) -> str:
    """Twelve hex digits that change exactly when the result of the stage may change.

    ``inputs`` maps a role to the key of a stage. The keys count, in the order of the roles; paths never do. Where
    stages of one kind play several roles (``corpus:captions``), which is which counts as well.
    """
    return key_of_text(kind=kind, version=version, config=canonical_json(config), inputs=inputs)


def key_of_text(*, kind: str, version: int, config: str, inputs: Mapping[str, str]) -> str:
    """``stage_key`` of a configuration whose canonical text is known."""
    keys = ",".join(f'"{_which(role)}{inputs[role]}"' for role in sorted(inputs))
    return digest(f'{{"config":{config},"inputs":[{keys}],"kind":"{kind}","version":{version}}}')


def _which(role: str) -> str:
    """``captions:`` for ``corpus:captions``; empty for a role that names only its kind."""
    _, several, which = role.partition(":")
    return which + several


def digest(text: str) -> str:
    """The first digits of the SHA-256 of a canonical form."""
    return sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def identity_fields(config: Any) -> dict[str, Any]:
    """The canonical form of a configuration as plain JSON values: what its record keeps."""
    return json.loads(canonical_json(config))


def canonical_json(config: Any) -> str:
    """The canonical text of a value: sorted keys, no spaces, ASCII."""
    return Encoder().text(config)


class Encoder:
    """Writes canonical JSON and remembers the text of each dataclass inside another, by object.

    Planning encodes thousands of configurations that share most of their sections; frozen objects cannot go stale.
    """

    def __init__(self) -> None:
        self._texts: dict[int, tuple[object, str]] = {}

    def text(self, value: Any) -> str:
        """Raises ``IdentityError`` with the path of a value that has no canonical form."""
        if is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value, "")
        return _write_untyped(self, value, "value")

    def nested(self, value: Any, path: str) -> str:
        known = self._texts.get(id(value))
        if known is None:
            if not is_dataclass(value) or isinstance(value, type):
                raise IdentityError(f"{path}: {value!r} is not a configuration")
            known = self._texts[id(value)] = (value, self._dataclass(value, path))
        return known[1]

    def _dataclass(self, value: Any, path: str) -> str:
        parts = []
        for name, quoted, write, has_neutral, neutral in _layout(value.__class__):
            item = getattr(value, name)
            if has_neutral and item == neutral:
                continue
            parts.append(quoted + write(self, item, f"{path}.{name}" if path else name))
        return "{" + ",".join(parts) + "}"


Write = Callable[[Encoder, Any, str], str]


@cache
def _layout(kind: type) -> tuple[tuple[str, str, Write, bool, Any], ...]:
    """Per identity field in sorted order: name, its JSON key, how to write it, its neutral default if it has one."""
    hints = get_type_hints(kind)
    return tuple(
        (item.name, json.dumps(item.name) + ":", _writer(hints[item.name]), "neutral" in item.metadata,
         item.metadata.get("neutral"))
        for item in sorted(fields(kind), key=lambda item: item.name)
        if item.metadata.get("identity", True)
    )  # fmt: skip


def _writer(hint: Any) -> Write:
    """How a value of a declared type is written."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or origin is Literal:
        return _write_untyped
    if hint in _SCALARS:
        return _SCALARS[hint]
    if origin in (Union, UnionType):
        others = [argument for argument in arguments if argument is not NoneType]
        if len(others) == 1:
            return _optional(_writer(others[0]))
        if all(is_dataclass(other) for other in others):
            return _optional(_write_dataclass)
    elif origin in (tuple, list):
        return _sequence([_writer(argument) for argument in arguments if argument is not Ellipsis], arguments)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(_writer(arguments[1]))
    elif isinstance(hint, type) and issubclass(hint, Enum):
        return _write_untyped
    elif is_dataclass(hint):
        return _write_dataclass

    def refuse(encoder: Encoder, value: Any, path: str) -> str:
        raise IdentityError(f"{path}: the type {hint} has no canonical form; declare it execution() or change the type")

    return refuse


def _write_dataclass(encoder: Encoder, value: Any, path: str) -> str:
    return encoder.nested(value, path)


def _write_int(encoder: Encoder, value: Any, path: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or int(_finite(value, path)) != value:
        raise IdentityError(f"{path}: {value!r} is not a whole number")
    return str(int(value))


def _write_float(encoder: Encoder, value: Any, path: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise IdentityError(f"{path}: {value!r} is not a number")
    return repr(float(_finite(value, path)) + 0.0)  # + 0.0: minus zero is zero


def _write_bool(encoder: Encoder, value: Any, path: str) -> str:
    if not isinstance(value, bool):
        raise IdentityError(f"{path}: {value!r} is not true or false")
    return "true" if value else "false"


def _write_str(encoder: Encoder, value: Any, path: str) -> str:
    if not isinstance(value, str) or isinstance(value, Enum):
        raise IdentityError(f"{path}: {value!r} is not text")
    return json.dumps(value)


def _write_none(encoder: Encoder, value: Any, path: str) -> str:
    if value is not None:
        raise IdentityError(f"{path}: {value!r} is not null")
    return "null"


_SCALARS: dict[Any, Write] = {
    int: _write_int, float: _write_float, bool: _write_bool, str: _write_str, NoneType: _write_none,
}  # fmt: skip


def _write_untyped(encoder: Encoder, value: Any, path: str) -> str:
    """A value whose type the field leaves open: a whole float is written as the integer it equals."""
    if value is None:
        return "null"
    if isinstance(value, Enum):
        return _write_untyped(encoder, value.value, path)
    if isinstance(value, bool):
        return _write_bool(encoder, value, path)
    if isinstance(value, str):
        return _write_str(encoder, value, path)
    if isinstance(value, int | float):
        whole = _finite(value, path) == int(value)
        return _write_int(encoder, value, path) if whole else _write_float(encoder, value, path)
    if isinstance(value, list | tuple):
        return _sequence([_write_untyped], (Any, ...))(encoder, value, path)
    if isinstance(value, Mapping):
        return _mapping(_write_untyped)(encoder, value, path)
    if is_dataclass(value) and not isinstance(value, type):
        return encoder.nested(value, path)
    raise IdentityError(
        f"{path}: {value!r} of type {type(value).__name__} has no canonical form; allowed: text, true/false, integers, "
        "finite numbers, enums, lists, mappings with text keys and frozen dataclasses"
    )


def _optional(write: Write) -> Write:
    return lambda encoder, value, path: "null" if value is None else write(encoder, value, path)


def _sequence(writers: list[Write], arguments: tuple[Any, ...]) -> Write:
    same = len(arguments) != len(writers) or len(writers) == 1  # tuple[X, ...] or list[X]

    def write(encoder: Encoder, value: Any, path: str) -> str:
        if not isinstance(value, list | tuple) or not (same or len(value) == len(writers)):
            raise IdentityError(f"{path}: {value!r} is not a list of the declared length")
        chosen = writers * len(value) if same else writers
        texts = (one(encoder, item, f"{path}[{i}]") for i, (one, item) in enumerate(zip(chosen, value, strict=True)))
        return "[" + ",".join(texts) + "]"

    return write


def _mapping(write_value: Write) -> Write:
    def write(encoder: Encoder, value: Any, path: str) -> str:
        if not isinstance(value, Mapping):
            raise IdentityError(f"{path}: {value!r} is not a mapping")
        for key in value:
            if not isinstance(key, str):
                raise IdentityError(f"{path}: the key {key!r} is not text")
        items = (f"{json.dumps(key)}:{write_value(encoder, value[key], f'{path}.{key}')}" for key in sorted(value))
        return "{" + ",".join(items) + "}"

    return write


def _finite(value: float, path: str) -> float:
    if not isfinite(value):
        raise IdentityError(f"{path}: {value!r} is not a finite number")
    return value
