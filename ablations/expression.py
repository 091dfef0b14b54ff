"""A small language for constraints, such as ``connector.num_tokens <= image.num_patches``.

Names are dotted keys of the configuration, and ``image.num_patches`` and ``image.grid``, which are computed. A name
below a mapping reads one entry (``data.mix.text``, 0 where it is absent). Allowed are comparisons, ``in``, ``and``,
``or``, ``not``, ``+ - * / // %``, numbers, quoted text, lists, ``true``, ``false`` and ``null``. The text is parsed
into Python's syntax tree and only these nodes are interpreted: nothing else can run.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ablations.configuration import DERIVED, leaves
from ablations.errors import nearest, shown

_LONGEST = 1000
"""Most characters. A longer text is no condition that anybody reads, and can be nested deeper than Python can
interpret."""

Get = Callable[[str], Any]
"""Looks a leaf's value up by its dotted key."""
Evaluate = Callable[[Get], Any]


class ExpressionError(Exception):
    """Text that is no expression, or values that cannot be compared."""

    def __init__(self, problem: str, *, allowed: str | None = None, near: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.allowed = allowed
        self.nearest = near


@dataclass(frozen=True, kw_only=True, eq=False)
class Expression:
    """A parsed constraint."""

    text: str
    keys: tuple[str, ...]
    """The leaves it reads."""
    evaluate: Evaluate

    def __reduce__(self) -> "tuple[Callable[[str], Expression], tuple[str]]":
        return parse, (self.text,)

    def holds(self, get: Get) -> bool:
        """Raises ``ExpressionError`` if the values cannot be compared, such as null with a number."""
        try:
            result = self.evaluate(get)
        except (TypeError, ArithmeticError, RecursionError) as error:
            values = ", ".join(f"{key}={get(key)!r}" for key in self.keys)
            raise ExpressionError(f"{shown(self.text)} has no value for {values}: {error}") from None
        if not isinstance(result, bool):
            raise ExpressionError(f"{shown(self.text)} gives {shown(result)}, not true or false")
        return result


def parse(text: str) -> Expression:
    """Raises ``ExpressionError`` with what is wrong and the nearest right spelling of an unknown name."""
    if len(text) > _LONGEST:
        raise ExpressionError(f"{shown(text)} has {len(text):,} characters", allowed=f"{_LONGEST:,}")
    keys: dict[str, None] = {}
    try:
        evaluate = _interpret(ast.parse(text.strip(), mode="eval").body, keys)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"{shown(text)} is not an expression: {getattr(error, 'msg', error)}") from None
    return Expression(text=text, keys=tuple(keys), evaluate=evaluate)


_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, container: item in container,
    ast.NotIn: lambda item, container: item not in container,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_WORDS = {"true": True, "false": False, "null": None}
_ALLOWED = "comparisons, in, and, or, not, + - * / // %, numbers, quoted text, lists, true, false, null and dotted keys"


def _interpret(node: ast.expr, keys: dict[str, None]) -> Evaluate:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return lambda get: value
        case ast.Name(id=word) if word in _WORDS:
            return lambda get: _WORDS[word]
        case ast.Name() | ast.Attribute():
            return _key(_dotted(node), keys)
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            parts = [_interpret(item, keys) for item in items]
            return lambda get: [part(get) for part in parts]
        case ast.BoolOp(op=how, values=items):
            parts = [_interpret(item, keys) for item in items]
            every = isinstance(how, ast.And)
            return lambda get: (all if every else any)(_truth(part(get)) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            part = _interpret(inner, keys)
            return lambda get: not _truth(part(get))
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            part = _interpret(inner, keys)
            return lambda get: -_number(part(get))
        case ast.BinOp(left=left, op=how, right=right) if type(how) in _ARITHMETIC:
            first, second, combine = _interpret(left, keys), _interpret(right, keys), _ARITHMETIC[type(how)]
            return lambda get: combine(_number(first(get)), _number(second(get)))
        case ast.Compare(left=left, ops=hows, comparators=others) if all(type(how) in _COMPARE for how in hows):
            parts = [_interpret(item, keys) for item in (left, *others)]
            tests = [_COMPARE[type(how)] for how in hows]
            return lambda get: _chain(tests, [part(get) for part in parts])
    raise ExpressionError(f"{shown(ast.unparse(node))} is not allowed in a constraint", allowed=_ALLOWED)


def _chain(tests: list[Callable[[Any, Any], bool]], values: list[Any]) -> bool:
    return all(test(left, right) for test, left, right in zip(tests, values[:-1], values[1:], strict=True))


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is not true or false")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Name):
        return node.id
    raise ExpressionError(f"{shown(ast.unparse(node))} is not allowed in a constraint", allowed=_ALLOWED)


def _key(key: str, keys: dict[str, None]) -> Evaluate:
    known = leaves()
    if key in known:
        keys[key] = None
        return lambda get: get(key)
    if key in DERIVED:
        compute = DERIVED[key]

        def note(leaf: str) -> int:
            keys[leaf] = None
            return 1

        compute(note)
        return compute
    above, _, entry = key.rpartition(".")
    if above in known and isinstance(known[above].default, Mapping):
        keys[above] = None
        return lambda get: get(above).get(entry, 0)
    raise ExpressionError(
        f"{key} is not a key of the configuration (write text in quotes)", near=nearest(key, [*known, *DERIVED])
    )
