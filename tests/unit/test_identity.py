"""Keys: stable for what is equal, different for what may differ."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from fixed_configuration import fixed_config
from hypothesis import given
from hypothesis import strategies as st

from ablations.identity import Encoder, IdentityError, canonical_json, identity_fields, stage_key
from mm1core.config import (
    Config,
    DataConfig,
    EncoderConfig,
    EvaluationConfig,
    FilesConfig,
    TrainingConfig,
    execution,
    knob,
)
from mm1core.stages import (
    KINDS,
    CorpusStage,
    EncoderStage,
    EvaluateStage,
    PretrainStage,
    TokenizerStage,
    WorldStage,
)

FILES = FilesConfig(
    format="webdataset",
    paths=("a.tar",),
    fingerprint="f",
    held_out=0.1,
    max_broken=0.01,
    max_pixels=50_000_000,
    group=None,
)
CONFIG = fixed_config()
STAGES: dict[str, Any] = {
    "world": WorldStage(world=CONFIG.data.world),
    "corpus": CorpusStage(source="captions", files=FILES),
    "tokenizer": TokenizerStage(tokenizer=CONFIG.data.tokenizer),
    "encoder": EncoderStage(image=CONFIG.image, encoder=CONFIG.encoder, seed=0, training=CONFIG.training),
    "pretrain": PretrainStage(
        image=CONFIG.image,
        encoder=CONFIG.encoder,
        connector=CONFIG.connector,
        decoder=CONFIG.decoder,
        data=CONFIG.data,
        optimisation=CONFIG.optimisation,
        training=CONFIG.training,
        seed=0,
    ),
    "evaluate": EvaluateStage(evaluation=CONFIG.evaluation),
}
GOLDEN = {
    "world": "dadb468ee244",
    "corpus": "38a507494e67",
    "tokenizer": "fe225d0cbc6d",
    "encoder": "5b6a9c8d6938",
    "pretrain": "7f74bd7030cb",
    "evaluate": "d58f0616eec4",
}
"""If one of these moves, every store is invalid. Give a new field a neutral default (``knob``), or bump the stage's
version if its meaning has changed and put the new key here."""


def key(kind: str, config: Any, inputs: Mapping[str, str] | None = None, version: int = 1) -> str:
    return stage_key(kind=kind, version=version, config=config, inputs=inputs or {})


@pytest.mark.parametrize("kind", STAGES)
def test_keys_do_not_move(kind):
    assert key(kind, STAGES[kind], {"world": "0123456789ab"}, KINDS[kind].version) == GOLDEN[kind]


def places(value: Any, prefix: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], bool]]:
    """Every field below a dataclass, with whether it is identity: all fields above it must be as well."""
    found = []
    for item in fields(value):
        inner, place = getattr(value, item.name), (*prefix, item.name)
        identity = item.metadata.get("identity", True)
        if is_dataclass(inner):
            found += [(below, identity and counts) for below, counts in places(inner, place)]
        else:
            found.append((place, identity))
    return found


def changed(value: Any, place: tuple[str, ...]) -> Any:
    """A copy that differs at one place. Built without the checks, which are not what is tested here."""
    name, rest = place[0], place[1:]
    inner = getattr(value, name)
    new = changed(inner, rest) if rest else other(get_type_hints(type(value))[name], inner)
    copy = object.__new__(type(value))
    for item in fields(value):
        object.__setattr__(copy, item.name, new if item.name == name else getattr(value, item.name))
    return copy


def other(hint: Any, value: Any) -> Any:
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return next(choice for choice in arguments if choice != value)
    if value is None:
        kind = next(argument for argument in arguments if argument is not type(None))
        return EvaluationConfig() if kind is EvaluationConfig else other(kind, kind())
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, tuple):
        return (*value[:-1], other(type(value[-1]), value[-1]))
    if isinstance(value, Mapping):
        return {**value, "another": 1.0} if value else {"captions": FILES, "another": FILES}
    raise AssertionError(f"no other value of {hint}")


CASES = [(kind, place, identity) for kind, stage in STAGES.items() for place, identity in places(stage)]


@pytest.mark.parametrize(("kind", "place", "identity"), CASES, ids=[f"{k}:{'.'.join(p)}" for k, p, _ in CASES])
def test_a_field_changes_the_key_exactly_if_it_is_identity(kind, place, identity):
    before, after = STAGES[kind], changed(STAGES[kind], place)
    assert (key(kind, after) != key(kind, before)) == identity


def test_execution_fields_exist_and_are_few():
    without = {".".join(place) for kind, place, identity in CASES if not identity}
    assert without == {
        "source",
        "files.paths",
        "tokenizer.path",
        "data.tokenizer.path",
        "intermediate",
        *(f"training.{name}" for name in ("micro_batches", "checkpoint_every", "log_every", "shard")),
        *(f"training.{name}" for name in ("data_workers", "device")),
        "evaluation.batch_size",
        "evaluation.device",
    }


def test_kind_version_and_inputs_are_identity():
    keys = {
        key("world", STAGES["world"]),
        key("corpus", STAGES["world"]),
        key("world", STAGES["world"], version=2),
        key("world", STAGES["world"], {"encoder": "0123456789ab"}),
        key("world", STAGES["world"], {"encoder": "0123456789ac"}),
    }
    assert len(keys) == 5


def test_which_of_several_roles_a_stage_plays_is_identity():
    """Else training on one of two sources would have the key of training on the other."""
    one, other = "0123456789ab", "ba9876543210"
    roles = [("captions", "interleaved"), ("interleaved", "synthetic_captions"), ("captions", "synthetic_captions")]
    keys = {
        key("pretrain", STAGES["pretrain"], {f"corpus:{first}": one, f"corpus:{second}": other})
        for first, second in roles
    }
    assert len(keys) == 3


def test_the_order_in_which_inputs_are_given_does_not_count():
    inputs = {"world": "0123456789ab", "encoder": "ba9876543210"}
    backwards = dict(reversed(inputs.items()))
    assert key("pretrain", STAGES["pretrain"], inputs) == key("pretrain", STAGES["pretrain"], backwards)


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, kw_only=True)
class Sample:
    number: int = 1
    rate: float = 1.0
    name: str = "n"
    flag: bool = True
    pair: tuple[float, float] = (1.0, 2.0)
    many: tuple[int, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    anything: Any = None
    maybe: float | None = None
    inner: Inner = Inner()
    added_later: int = knob(7)
    workers: int = execution(0)
    colour: Colour = Colour.RED


def text(**values: Any) -> str:
    return canonical_json(Sample(**values))


def test_the_canonical_form_is_sorted_json_without_execution_and_neutral_fields():
    assert text() == (
        '{"anything":null,"colour":"red","flag":true,"inner":{"rate":0.5},"many":[],"maybe":null,"name":"n",'
        '"number":1,"pair":[1.0,2.0],"rate":1.0,"shares":{}}'
    )


def test_numbers_are_brought_to_the_declared_type():
    assert text(rate=3) == text(rate=3.0)
    assert text(number=3.0) == text(number=3)
    assert text(pair=(1, 2)) == text(pair=(1.0, 2.0)) == text(pair=[1, 2])
    assert text(shares={"a": 1}) == text(shares={"a": 1.0})
    assert text(maybe=2) == text(maybe=2.0)
    assert text(anything={"a": [3]}) == text(anything={"a": (3.0,)})
    assert text(rate=-0.0) == text(rate=0.0)


def test_a_new_field_keeps_old_keys_until_it_is_used():
    assert text(added_later=7) == text()
    assert text(added_later=8) != text()


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"rate": float("nan")}, "rate"),
        ({"rate": float("inf")}, "rate"),
        ({"number": 1.5}, "number"),
        ({"number": True}, "number"),
        ({"rate": True}, "rate"),
        ({"flag": 1}, "flag"),
        ({"name": 1}, "name"),
        ({"name": Path("a")}, "name"),
        ({"pair": (1.0,)}, "pair"),
        ({"many": (1, 2.5)}, r"many\[1\]"),
        ({"many": 3}, "many"),
        ({"shares": {"a": float("-inf")}}, r"shares\.a"),
        ({"shares": {1: 1.0}}, "shares"),
        ({"shares": [1.0]}, "shares"),
        ({"anything": {"deep": [print]}}, r"anything\.deep\[0\]"),
        ({"anything": object()}, "anything"),
        ({"anything": {1, 2}}, "anything"),
        ({"inner": {"rate": 0.5}}, "inner"),
        ({"inner": Inner(rate=float("nan"))}, r"inner\.rate"),
    ],
)
def test_what_has_no_canonical_form_raises_with_its_place(values, place):
    with pytest.raises(IdentityError, match=f"^{place}:"):
        text(**values)


def test_a_type_without_a_canonical_form_raises():
    @dataclass(frozen=True)
    class Wrong:
        names: set[str]

    with pytest.raises(IdentityError, match=r"^names:"):
        canonical_json(Wrong(names={"a"}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(JSON)
def test_what_is_written_can_be_read_and_written_again(value):
    again = identity_fields(Sample(anything=value))["anything"]
    assert text(anything=again) == text(anything=value)


@given(st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)))
def test_the_order_of_a_mapping_does_not_count(shares):
    assert text(shares=shares) == text(shares=dict(reversed(shares.items())))


def test_remembered_texts_equal_fresh_ones():
    encoder = Encoder()
    data = DataConfig()
    for steps in (1, 2):
        config = Config(data=data, training=TrainingConfig(steps=steps), encoder=EncoderConfig(layers=steps))
        assert encoder.text(config) == canonical_json(config)
    assert encoder.text(replace(config, data=DataConfig(row_tokens=99))) != encoder.text(config)
