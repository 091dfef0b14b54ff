"""Reads a YAML 1.2 file as plain values, and remembers the line of every key and item for error messages.

What no sweep needs and no program could work with is refused here: integers beyond 64 bits, hundreds of levels, files
that aliases blow up to astronomical size.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.constructor import ConstructorError, RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from ablations.errors import Problem, SweepError, nearest

_DEEPEST = 50
_TOO_DEEP = f"is nested too deeply; {_DEEPEST} levels are allowed"
_MOST_PLACES = 250_000
"""Keys and items of a file, each alias counted as what it stands for."""

Path_ = tuple[str | int, ...]
"""A place in a document: keys of mappings and indices of lists, from the top."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Document:
    """A YAML file as dict, list, str, int, float, bool and None. Mapping keys are text."""

    file: Path
    content: Any
    lines: Mapping[Path_, int]
    """The line, from 1, on which a key or a list item begins."""

    def line(self, path: Path_) -> int:
        """The line of a place, or of the nearest place around it; for a key that is missing at the top, the file's
        first."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1

    def problem(self, path: Path_, problem: str, *, allowed: str | None = None, nearest: str | None = None) -> Problem:
        return Problem(
            file=self.file,
            line=self.line(path),
            key=".".join(map(str, path)) or None,
            problem=problem,
            allowed=allowed,
            nearest=nearest,
        )


def read_yaml(file: Path) -> Document:
    """Raises ``SweepError`` for a file that is missing, unreadable or malformed, and for a key given twice."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        siblings = [path.name for path in file.parent.glob("*.y*ml")] if file.parent.is_dir() else []
        name = nearest(file.name, siblings)
        raise SweepError(
            Problem(file=file, problem="no such file", nearest=str(file.parent / name) if name else None)
        ) from None
    except IsADirectoryError:
        raise SweepError(Problem(file=file, problem="is a folder, not a YAML file")) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SweepError(Problem(file=file, line=line, problem=f"is not UTF-8 text (byte {error.start})")) from None
    except OSError as error:
        raise SweepError(Problem(file=file, problem=f"cannot be read: {error.strerror}")) from None
    lines: dict[Path_, int] = {}
    yaml = YAML(typ="rt", pure=True)
    yaml.Constructor, yaml.max_depth = _Constructor, _DEEPEST
    try:
        loaded = yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = mark.line + 1 if mark else None
        if isinstance(error, MaxDepthExceededError):
            raise SweepError(Problem(file=file, line=place, problem=_TOO_DEEP)) from None
        problem = (error.problem or "").splitlines()[0]
        if twice := re.match('found duplicate key "(.*?)"', problem):
            raise SweepError(Problem(file=file, line=place, key=twice[1], problem="is given twice")) from None
        raise SweepError(Problem(file=file, line=place, problem=f"malformed YAML: {problem}")) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"malformed YAML: {str(error).splitlines()[0]}"
        raise SweepError(Problem(file=file, line=line, problem=problem)) from None
    except Exception as error:  # whatever the library raises for a tag or a key that does not fit
        problem = f"malformed YAML: a tag or a key that does not fit ({error})"
        raise SweepError(Problem(file=file, problem=problem)) from None
    return Document(file=file, content=_plain(loaded, (), lines, file, ()), lines=lines)


class _Constructor(RoundTripConstructor):
    """Says where a scalar stands that looks like a number or a date but cannot be one."""

    def construct_non_recursive_object(self, node: Any, tag: str | None = None) -> Any:
        try:
            return super().construct_non_recursive_object(node, tag)
        except (ValueError, LookupError):
            problem = f"{node.value[:20]!r} cannot be read as a number or a date"
            raise ConstructorError(None, None, problem, node.start_mark) from None


def _plain(node: Any, path: Path_, lines: dict[Path_, int], file: Path, above: tuple[int, ...]) -> Any:
    if isinstance(node, CommentedMap | CommentedSeq):
        if id(node) in above:
            raise _refusal(file, node.lc.line, path, "contains itself")
        if len(above) == _DEEPEST:  # by aliases, which the parser does not follow
            raise _refusal(file, node.lc.line, (), _TOO_DEEP)
        above = (*above, id(node))
    if len(lines) > _MOST_PLACES:
        raise SweepError(Problem(file=file, problem=f"holds more than {_MOST_PLACES:,} keys and items"))
    if isinstance(node, CommentedMap):
        mapping: dict[str, Any] = {}
        for key, value in node.items():
            name = _key(key)
            if name is None:
                raise _refusal(file, node.lc.line, path, f"the key {key!r} is not text")
            place = (*path, name)
            if name in mapping:
                raise _refusal(file, node.lc.line, place, "is given twice")
            position = (node.lc.data or {}).get(key)  # a merged key has none
            lines[place] = (position[0] if position else node.lc.line) + 1
            mapping[name] = _plain(value, place, lines, file, above)
        return mapping
    if isinstance(node, CommentedSeq):
        items = []
        for index, value in enumerate(node):
            place = (*path, index)
            position = (node.lc.data or {}).get(index)  # one with a tag has none
            lines[place] = (position[0] if position else node.lc.line) + 1
            items.append(_plain(value, place, lines, file, above))
        return items
    plain = _scalar(node)
    if plain is not None and not isinstance(plain, str | int | float):
        raise _refusal(file, (lines.get(path) or 1) - 1, path, "has a YAML tag; write a plain value")
    if isinstance(plain, int) and not -(2**63) <= plain < 2**63:
        raise _refusal(file, (lines.get(path) or 1) - 1, path, "is too large; integers have 64 bits")
    return plain


def _refusal(file: Path, line: int, path: Path_, problem: str) -> SweepError:
    return SweepError(Problem(file=file, line=line + 1, key=".".join(map(str, path)) or None, problem=problem))


def _key(key: Any) -> str | None:
    plain = _scalar(key)
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return str(plain) if isinstance(plain, str | int | float) else None


def _scalar(value: Any) -> Any:
    """A round-trip scalar as the plain type it stands for; a date is the text that was written."""
    for kind in (bool, str, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value.isoformat() if isinstance(value, date) else value
