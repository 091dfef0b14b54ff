"""Reads settings (dotted or nested keys with values) from YAML: the base, its presets, and the ``set`` of a sweep."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mm1core
from ablations.border import Refused, check_leaf
from ablations.configuration import leaves, sections
from ablations.errors import Problem, SweepError, nearest, shown
from ablations.sweep import Setting
from ablations.yaml_lines import Document, Path_, read_yaml

PRESETS = Path(mm1core.__file__).parent / "presets"


def presets() -> dict[str, Path]:
    """The shipped configurations by name."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}


def read_base(reference: str, document: Document, path: Path_, *, seen: tuple[Path, ...] = ()) -> dict[str, Setting]:
    """The settings of a preset, or of a configuration file named relative to the file that refers to it.

    A configuration holds sections, as in ``Config``, and may name another under ``extends`` whose settings it changes.
    Raises ``SweepError``.
    """
    file = _locate(reference, document, path)
    if file.resolve() in seen:
        raise SweepError(document.problem(path, f"{reference} extends itself"))
    base = read_yaml(file)
    if base.content is None:
        return {}
    if not isinstance(base.content, dict):
        raise SweepError(Problem(file=file, line=1, problem="is not a mapping of sections", allowed=_top_level()))
    if {"axes", "arms", "design"} & base.content.keys():
        raise SweepError(
            document.problem(
                path,
                f"{reference} is a sweep; name the base that it starts from, and copy what it sets",
                allowed=_bases(),
            )
        )
    content = dict(base.content)
    above: dict[str, Setting] = {}
    if "extends" in content:
        extended = content.pop("extends")
        if not isinstance(extended, str):
            raise SweepError(base.problem(("extends",), f"{shown(extended)} is not a preset or a file"))
        above = read_base(extended, base, ("extends",), seen=(*seen, file.resolve()))
    problems: list[Problem] = []
    own = read_settings(content, base, (), problems)
    if problems:
        raise SweepError(problems)
    return {**above, **own}


def read_settings(content: Any, document: Document, path: Path_, problems: list[Problem]) -> dict[str, Setting]:
    """The settings of a mapping at ``path``, keys dotted or nested. Mistakes are added to ``problems``."""
    found: dict[str, Setting] = {}
    if content is None:
        return found
    if not isinstance(content, Mapping):
        problems.append(document.problem(path, f"{shown(content)} is not a mapping of configuration keys to values"))
        return found
    _read_into(found, "", content, document, path, problems)
    return found


def _read_into(
    found: dict[str, Setting],
    prefix: str,
    content: Mapping[str, Any],
    document: Document,
    path: Path_,
    problems: list[Problem],
) -> None:
    for name, value in content.items():
        key, place = prefix + name, (*path, name)
        if key in leaves():
            if key in found:
                problems.append(document.problem(place, f"{key} is given twice"))
            elif (setting := read_value(key, value, document, place, problems)) is not None:
                found[key] = setting
        elif key in sections():
            if value is None or isinstance(value, Mapping):
                _read_into(found, key + ".", value or {}, document, place, problems)
            else:
                problems.append(
                    document.problem(place, f"{shown(value)} is not allowed: {key} is a section", allowed=_within(key))
                )
        else:
            problems.append(unknown_key(key, document, place))


def read_value(key: str, value: Any, document: Document, path: Path_, problems: list[Problem]) -> Setting | None:
    """One checked value of a leaf; ``None`` after adding to ``problems`` if it is refused."""
    try:
        return Setting(value=check_leaf(leaves()[key], value), document=document, path=path)
    except Refused as refused:
        problems.append(
            document.problem(
                (*path, *refused.inside), refused.problem, allowed=refused.allowed, nearest=refused.nearest
            )
        )
        return None


def unknown_key(key: str, document: Document, path: Path_) -> Problem:
    """What to say about a key that is neither a leaf nor a section."""
    mapping = next((leaf for leaf in leaves() if key.startswith(leaf + ".")), None)
    if mapping is not None:
        return document.problem(path, f"{mapping} is set as a whole: write {mapping}: {{...}}")
    above = key
    while above and above not in sections():
        above = above.rpartition(".")[0]
    return document.problem(
        path,
        f"{key} is not a key of the configuration",
        allowed=_within(above) if above else _top_level(),
        nearest=nearest(key, [*leaves(), *sections()]),
    )


def _within(section: str) -> str:
    """The keys and sections directly in a section."""
    inner = [key[len(section) + 1 :] for key in (*leaves(), *sections()) if key.startswith(section + ".")]
    return ", ".join(dict.fromkeys(key for key in inner if "." not in key))


def _top_level() -> str:
    return "keys in " + ", ".join(section for section in sections() if "." not in section)


def _bases() -> str:
    return ", ".join(presets()) + ", or the path of a configuration file"


def _locate(reference: str, document: Document, path: Path_) -> Path:
    known = presets()
    if reference in known:
        return known[reference]
    file = document.file.parent / reference
    if file.suffix in (".yaml", ".yml") or "/" in reference:
        if file.is_file():
            return file
        near = nearest(file.name, [found.name for found in file.parent.glob("*.y*ml")] if file.parent.is_dir() else [])
        raise SweepError(document.problem(path, f"there is no file {file}", nearest=near))
    raise SweepError(
        document.problem(
            path,
            f"{reference!r} is not a preset",
            allowed=_bases(),
            nearest=nearest(reference, known),
        )
    )
