"""Dotted keys of the configuration: which exist, and how a ``Config`` is built from values for some of them.

A leaf is a field that is set as a whole, such as ``connector.kind`` or ``data.mix`` (mappings are replaced, never
merged). A section is a prefix of leaves, such as ``encoder.training``. Pure, standard library only.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, get_type_hints

from mm1core.config import Config
from mm1core.errors import ConfigError

FILLED_IN = ("fingerprint",)
"""Fields that are computed when a sweep is read, and that nobody writes."""


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A field of the configuration that a sweep can set."""

    key: str
    annotation: Any
    owner: type
    """The dataclass that declares it."""
    name: str
    default: Any
    identity: bool
    """False for execution fields, which cannot change a result."""


@cache
def leaves() -> Mapping[str, Leaf]:
    """Every leaf by its dotted key, in the order of declaration."""
    found: dict[str, Leaf] = {}

    def walk(section: Any, prefix: str) -> None:
        hints = get_type_hints(type(section))
        for item in fields(section):
            value, key = getattr(section, item.name), prefix + item.name
            if is_dataclass(value):
                walk(value, key + ".")
            elif item.name not in FILLED_IN:
                found[key] = Leaf(
                    key=key,
                    annotation=hints[item.name],
                    owner=type(section),
                    name=item.name,
                    default=value,
                    identity=item.metadata.get("identity", True),
                )

    walk(Config(), "")
    return found


@cache
def sections() -> tuple[str, ...]:
    """Every section, such as ``image`` and ``encoder.training``."""
    found: dict[str, None] = {}
    for key in leaves():
        parts = key.split(".")[:-1]
        for length in range(1, len(parts) + 1):
            found[".".join(parts[:length])] = None
    return tuple(found)


DERIVED: Mapping[str, Callable[[Callable[[str], Any]], Any]] = {
    "image.grid": lambda get: get("image.resolution") // get("image.patch_size"),
    "image.num_patches": lambda get: (get("image.resolution") // get("image.patch_size")) ** 2,
}
"""Keys that can be read in constraints but not set: computed from leaves, before the configuration is checked."""


class ConfigBuilder:
    """Builds configurations that share a base, and shares the sections that equal settings give.

    Planning builds one configuration per arm; arms of a grid have most sections in common, and one object for each
    lets later steps do the work for a section once.
    """

    def __init__(self, base: Mapping[str, Any]) -> None:
        """``base``: dotted key to a validated value. It need not be a configuration that can be run by itself."""
        self._built: dict[tuple[Any, ...], tuple[Any, Any]] = {}
        self._start, self._late = Config(), base
        with suppress(ConfigError):  # start from the whole base where it can be built
            self._start, self._late = self.build({}), {}

    def build(self, overrides: Mapping[str, Any]) -> Config:
        """The base with ``overrides`` (dotted key to a validated value). Raises ``ConfigError``."""
        by_section: dict[str, dict[str, Any]] = {}
        for key, value in (*self._late.items(), *overrides.items()):
            section, _, rest = key.partition(".")
            by_section.setdefault(section, {})[rest] = value
        changed = {name: self._section(name, values) for name, values in by_section.items()}
        return replace(self._start, **changed)

    def _section(self, name: str, values: Mapping[str, Any]) -> Any:
        start = getattr(self._start, name)
        place = (
            name,
            id(start),
            *((key, id(value)) for key, value in sorted(values.items(), key=lambda item: item[0])),
        )
        known = self._built.get(place)
        if known is None:  # keeps the values, so that their ids are not reused
            known = self._built[place] = ((start, tuple(values.values())), _replaced(start, values))
        return known[1]


def _replaced(section: Any, values: Mapping[str, Any]) -> Any:
    """A section with all its changes made at once: a check must not see half of them."""
    here: dict[str, Any] = {}
    below: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        name, _, rest = key.partition(".")
        if rest:
            below.setdefault(name, {})[rest] = value
        else:
            here[name] = value
    here.update({name: _replaced(getattr(section, name), inner) for name, inner in below.items()})
    return replace(section, **here)
