"""Documents become tokens as the tokenizers library would have it, only faster, and texts cannot forge image slots."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from mm1core.data.document import BOS, END, IMAGE, PAD, Answer, Document, Picture, Text
from mm1core.data.text import BOS_ID, END_ID, IMAGE_ID, SPECIAL_TOKENS, encode, encode_text
from mm1core.data.tokenizer import train
from mm1core.errors import DataError

WORDS = [*SPECIAL_TOKENS, "red", "circle", ",", ".", "two words", "tab\there", "a<end>b", "7", "é", "\u00a0"]


def word_level(**options: str) -> Tokenizer:
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, **options))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(list(SPECIAL_TOKENS))
    return made


def byte_level() -> Tokenizer:
    return train(iter(["a red circle", "two blue squares", "a red square"] * 3), vocabulary=300)


def test_pictures_are_slots_and_answers_weigh_more() -> None:
    shown = Picture(pixels=None)  # type: ignore[arg-type]
    document = Document(
        name="d", parts=(shown, Text(text="red circle"), Answer(text="7"), Text(text=".", weight=0.5), Text(text=END))
    )
    tokens, weights, pictures = encode(document, word_level(), num_image_tokens=2, answer_weight=4.0)
    assert tokens == [BOS_ID, IMAGE_ID, IMAGE_ID, 4, 5, 11, 7, END_ID]
    assert weights == [0, 0, 0, 1, 1, 4, 0.5, 1]
    assert pictures == [shown]


@given(
    text=st.lists(
        st.sampled_from(["red", "circle", ",", "7", "é", " ", "  ", "\t", "\n", "\u2003", "\x1c", "tab"])
    ).map(" ".join)
)
def test_the_fast_road_gives_what_the_tokenizer_gives(text: str) -> None:
    tokenizer = word_level()
    try:
        expected = tokenizer.encode(text, add_special_tokens=False).ids
    except Exception:
        with pytest.raises(DataError):
            encode_text(text, tokenizer, name="d")
    else:
        assert encode_text(text, tokenizer, name="d") == expected


def test_the_fast_road_is_taken_only_where_it_is_equal() -> None:
    splitting = word_level(unk_token=".")
    splitting.pre_tokenizer = pre_tokenizers.Whitespace()  # splits at punctuation: "red," is two words
    assert encode_text("red,", splitting, name="d") == [4, 6]
    unknown = word_level(unk_token=".")
    assert encode_text("red nonsense", unknown, name="d") == [4, 7]


def test_a_tokenizer_that_grew_is_read_again() -> None:
    tokenizer = word_level()
    with pytest.raises(DataError):
        encode_text("blue", tokenizer, name="d")
    tokenizer.add_tokens(["blue"])
    assert encode_text("blue", tokenizer, name="d") == [len(WORDS)]


def test_an_unknown_word_names_the_document_and_the_text() -> None:
    with pytest.raises(DataError, match=r"captions row 3.*nonsense"):
        encode_text("red nonsense", word_level(), name="captions row 3 slot 0")


@pytest.mark.parametrize("token", [PAD, BOS, END, IMAGE])
def test_a_text_that_spells_a_special_token_does_not_become_one(token: str) -> None:
    tokenizer = byte_level()
    ids = encode_text(f"a red {token} circle{token}", tokenizer, name="d")
    assert min(ids) >= len(SPECIAL_TOKENS)
    assert tokenizer.decode(ids).replace("< ", "<") == f"a red {token} circle{token}"


def test_an_end_is_a_part_of_its_own() -> None:
    tokenizer = byte_level()
    assert encode_text(END, tokenizer, name="d") == [END_ID]
    with pytest.raises(DataError):
        encode_text(f"red {IMAGE}", word_level(), name="d")


@given(text=st.text())
def test_any_text_survives_byte_level_tokens(text: str) -> None:
    tokenizer = byte_level()
    assert tokenizer.decode(encode_text(text.replace("<", "("), tokenizer, name="d")) == text.replace("<", "(")
