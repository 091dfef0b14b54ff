"""Constraints: what they say of a configuration, and that nothing but constraints can be said."""

import pytest

from ablations.configuration import leaves
from ablations.expression import ExpressionError, parse

VALUES = {
    "connector.num_tokens": 9,
    "connector.kind": "c_abstractor",
    "image.resolution": 48,
    "image.patch_size": 8,
    "image.acuity": None,
    "data.mix": {"captions": 0.9, "text": 0.1},
    "encoder.frozen": False,
    "optimisation.learning_rate": 0.5,
}


def value(key: str) -> object:
    return VALUES[key]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("connector.num_tokens <= image.num_patches", True),
        ("connector.num_tokens > image.num_patches", False),
        ("image.grid == 6", True),
        ("1 < connector.num_tokens < 9", False),
        ("1 < connector.num_tokens <= 9 < 10", True),
        ("connector.kind == 'c_abstractor'", True),
        ("connector.kind in ['average_pool', 'attention_pool']", False),
        ("connector.kind not in ['average_pool'] and not encoder.frozen", True),
        ("image.acuity == null or image.acuity <= image.resolution", True),
        ("image.acuity != None", False),
        ("encoder.frozen == false", True),
        ("data.mix.text == 0.1", True),
        ("data.mix.interleaved > 0", False),
        ("(image.resolution + 2 * 8 - 1) % 7 // 2 == 0 and -1 < 0", True),
        ("optimisation.learning_rate / 2 == 0.25", True),
        ("true or false", True),
    ],
)
def test_what_holds(text, holds):
    assert parse(text).holds(value) is holds


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__.__bases__",
        "(lambda: True)()",
        "[x for x in [1]] == [1]",
        "open('a')",
        "image.resolution.__class__ == 1",
        "connector.kind[0] == 'c'",
        "2 ** 9 > 1",
        "1 if true else 0",
        "f'{connector.kind}' == 'a'",
        "(x := 3) == 3",
        "1 is 1",
        "b'a' == b'a'",
        "...",
        "1 <",
        "",
        "a = 3",
        "import os",
        "(" * 500 + ")" * 500,
    ],
)
def test_nothing_else_can_be_said(text):
    with pytest.raises(ExpressionError):
        parse(text)


def test_an_unknown_name_is_answered_with_the_nearest_one():
    with pytest.raises(ExpressionError) as caught:
        parse("conector.num_tokens < 4")
    assert caught.value.nearest == "connector.num_tokens"


@pytest.mark.parametrize(
    "text",
    [
        "image.acuity < 3",
        "image.resolution / (image.patch_size - 8) > 1",
        "image.resolution",
        "connector.kind and true",
        "connector.kind * 1000 == 'a'",
        "connector.kind < 3",
        "encoder.frozen + 1 == 1",
        "connector.num_tokens * 1" + "0" * 400 + " / 3 > 1",
    ],
)
def test_values_that_cannot_be_compared(text):
    expression = parse(text)
    with pytest.raises(ExpressionError, match=r"gives|no value"):
        expression.holds(value)


def test_the_leaves_that_are_read_are_known():
    keys = parse("connector.num_tokens <= image.num_patches and data.mix.text > 0").keys
    assert set(keys) == {"connector.num_tokens", "image.resolution", "image.patch_size", "data.mix"}
    assert set(keys) <= leaves().keys()
