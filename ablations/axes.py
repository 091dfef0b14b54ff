"""Reads the axes of a sweep: single or coupled keys, values with or without labels, and ranges."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from ablations.border import Refused, check
from ablations.configuration import leaves, sections
from ablations.errors import Problem, nearest, shown
from ablations.labels import plain_label
from ablations.settings import read_settings, read_value, unknown_key
from ablations.sweep import ARM_AXIS, Axis, AxisValue, Range, Setting
from ablations.yaml_lines import Document, Path_


def read_axes(content: Any, document: Document, problems: list[Problem], *, drawn: bool) -> tuple[Axis, ...]:
    """The axes of a sweep; ``drawn`` says whether the design draws values, so that ranges are allowed."""
    if not isinstance(content, Mapping):
        problems.append(document.problem(("axes",), f"{shown(content)} is not a mapping of keys to values"))
        return ()
    axes: list[Axis] = []
    owners: dict[str, str] = {}
    for name, values in content.items():
        path: Path_ = ("axes", name)
        keys = _keys(name, document, path, problems)
        for key in keys or ():
            if key in owners:
                problems.append(document.problem(path, f"{key} is already set by the axis {owners[key]!r}"))
            owners[key] = name
        if keys is not None:
            axis = _axis(keys, values, document, path, problems, drawn=drawn)
            if axis is not None:
                axes.append(axis)
    return tuple(axes)


def read_arms(content: Any, document: Document, problems: list[Problem]) -> Axis | None:
    """The arms of a ``list`` as the values of one axis: label to the settings that make the arm."""
    path: Path_ = ("arms",)
    if not isinstance(content, Mapping) or not content:
        problems.append(document.problem(path, "must name at least one arm", allowed="a mapping of label to settings"))
        return None
    for label in content:
        _require_name(label, document, (*path, label), problems)
    values = tuple(
        AxisValue(label=label, set=read_settings(settings, document, (*path, label), problems), named=True)
        for label, settings in content.items()
    )
    keys = tuple(dict.fromkeys(key for value in values for key in value.set))
    return Axis(name=ARM_AXIS, keys=keys, values=values, range=None, path=path)


def _keys(name: str, document: Document, path: Path_, problems: list[Problem]) -> tuple[str, ...] | None:
    keys = tuple(part.strip() for part in name.split(","))
    before = len(problems)
    for key in keys:
        if key in ("seed", "seeds"):
            problems.append(
                document.problem(path, "seeds are replicates of every arm, not an axis: write `seeds: [0, 1, 2]`")
            )
        elif key in sections():
            inner = [leaf for leaf in leaves() if leaf.startswith(key + ".")]
            problems.append(document.problem(path, f"{key} is a section; name its keys", allowed=", ".join(inner)))
        elif key not in leaves():
            problems.append(unknown_key(key, document, path))
        elif not leaves()[key].identity:
            problems.append(
                document.problem(path, f"{key} changes how work is run, not its result; give it under `set`")
            )
    if len(set(keys)) != len(keys):
        problems.append(document.problem(path, "names a key twice"))
    return keys if len(problems) == before else None


def _axis(
    keys: tuple[str, ...], content: Any, document: Document, path: Path_, problems: list[Problem], *, drawn: bool
) -> Axis | None:
    name = ", ".join(keys)
    if isinstance(content, Mapping) and _is_range(content):
        if drawn:
            span = _range(keys, content, document, path, problems)
            return None if span is None else Axis(name=name, keys=keys, values=(), range=span, path=path)
        problems.append(
            document.problem(
                path,
                "a range from low to high needs `design: {kind: random, ...}` or `{kind: search, ...}`; "
                "for two labelled values use labels other than low and high",
            )
        )
        return None
    if isinstance(content, Mapping):
        items = [(label, label, value) for label, value in content.items()]
    elif isinstance(content, list):
        items = [(None, index, value) for index, value in enumerate(content)]
    else:
        problems.append(
            document.problem(
                path, f"{shown(content)} is not allowed", allowed="a list of values, or label: value pairs"
            )
        )
        return None
    if not items:
        problems.append(document.problem(path, "has no values; give at least one"))
        return None
    values: list[AxisValue] = []
    for label, step, raw in items:
        place = (*path, step)
        if label is not None:
            _require_name(label, document, place, problems)
        settings = _coupled(keys, raw, document, place, problems)
        if settings is None:
            continue
        value = AxisValue(label=_label(settings) if label is None else label, set=settings, named=label is not None)
        same = next((other for other in values if other.values == value.values), None)
        if same is not None:
            problems.append(document.problem(place, f"the value {_label(settings)} is given twice"))
        else:
            values.append(value)
    return Axis(name=name, keys=keys, values=tuple(values), range=None, path=path)


def _coupled(
    keys: tuple[str, ...], raw: Any, document: Document, place: Path_, problems: list[Problem]
) -> dict[str, Setting] | None:
    """What one value of an axis sets."""
    if len(keys) == 1:
        setting = read_value(keys[0], raw, document, place, problems)
        return None if setting is None else {keys[0]: setting}
    if not isinstance(raw, list) or len(raw) != len(keys):
        problems.append(
            document.problem(place, f"{shown(raw)} is not allowed", allowed=f"a list of {len(keys)}: {', '.join(keys)}")
        )
        return None
    settings = {
        key: read_value(key, value, document, (*place, index), problems)
        for index, (key, value) in enumerate(zip(keys, raw, strict=True))
    }
    found = {key: setting for key, setting in settings.items() if setting is not None}
    return found if len(found) == len(keys) else None


_ENDS, _SCALE = ("low", "high"), ("log", "step")


def _is_range(content: Mapping[str, Any]) -> bool:
    """Whether a mapping is meant as a range, even with misspelt keys: ``{low: 1, mid: 2, high: 3}`` has three
    labels."""
    return all(end in content for end in _ENDS) and all(key in _ENDS or nearest(key, _SCALE) for key in content)


def _range(
    keys: tuple[str, ...], content: Mapping[str, Any], document: Document, path: Path_, problems: list[Problem]
) -> Range | None:
    if len(keys) > 1:
        problems.append(document.problem(path, "coupled keys cannot share a range; give a list of values"))
        return None
    annotation = leaves()[keys[0]].annotation
    if annotation not in (int, float):
        problems.append(document.problem(path, f"{keys[0]} is not a number; give a list of values"))
        return None
    integer = annotation is int
    unknown = [key for key in content if key not in (*_ENDS, *_SCALE)]
    for key in unknown:
        near, allowed = nearest(key, _SCALE), ", ".join((*_ENDS, *_SCALE))
        problems.append(document.problem((*path, key), "is not a key of a range", allowed=allowed, nearest=near))
    if unknown:
        return None
    try:
        for end in ("low", "high"):
            check(annotation, content[end])
        span = check(Range, {**content, "integer": integer})
    except Refused as refused:
        problems.append(document.problem((*path, *refused.inside), refused.problem, allowed=refused.allowed))
        return None
    if span.low >= span.high:
        problems.append(document.problem(path, f"low={content['low']} must be below high={content['high']}"))
    elif span.log and span.low <= 0:
        problems.append(document.problem(path, f"low={content['low']} must be positive on a logarithmic scale"))
    elif span.log and span.step is not None:
        problems.append(document.problem(path, "a logarithmic range has no step"))
    elif span.step is not None and (span.step <= 0 or (integer and span.step != int(span.step))):
        problems.append(document.problem(path, f"step={content['step']} must be positive, and whole for integers"))
    elif not isfinite((span.high - span.low) / (span.step or 1)):
        problems.append(document.problem(path, "has more steps than can be counted"))
    else:
        return span
    return None


def read_baseline(content: Any, axes: tuple[Axis, ...], document: Document, problems: list[Problem]) -> dict[str, str]:
    """Axis name to value label: from a mapping, or from a single label if there is one axis."""
    path: Path_ = ("baseline",)
    by_name = {axis.name: axis for axis in axes}
    if isinstance(content, Mapping):
        given = {", ".join(part.strip() for part in name.split(",")): (name, label) for name, label in content.items()}
    elif len(axes) == 1:
        given = {axes[0].name: (None, content)}
    else:
        problems.append(
            document.problem(
                path, f"{shown(content)} is not allowed", allowed=f"a label for each of {'; '.join(by_name)}"
            )
        )
        return {}
    chosen: dict[str, str] = {}
    for name, (written, label) in given.items():
        place = path if written is None else (*path, written)
        if name not in by_name:
            problems.append(
                document.problem(
                    place, f"{name} is not an axis", allowed="; ".join(by_name), nearest=nearest(name, by_name)
                )
            )
            continue
        labels = [value.label for value in by_name[name].values]
        text = plain_label(label)
        if text not in labels:
            problems.append(
                document.problem(
                    place,
                    f"{text!r} is not a value of {name}",
                    allowed=", ".join(labels),
                    nearest=nearest(text, labels),
                )
            )
        chosen[name] = text
    if given.keys() <= by_name.keys():
        for name in by_name.keys() - given.keys():
            problems.append(document.problem(path, f"gives no value for the axis {name}"))
    return chosen


def _require_name(label: str, document: Document, place: Path_, problems: list[Problem]) -> None:
    if not label.strip():
        problems.append(document.problem(place, "the label is empty; give it a name"))


def _label(settings: Mapping[str, Setting]) -> str:
    return "/".join(plain_label(setting.value) for setting in settings.values())
