"""Documents as tokens: what the model reads, and how much each token weighs as a target.

The words of a document come from two kinds of tokenizer: the world's word-level one and a subword one trained on files.
Both have the special tokens of ``document.py`` as ids 0 to 3. A part whose text is exactly ``END`` becomes that token;
anywhere else the spelling of a special token in a text is only text, so a caption cannot forge an image slot.
"""

import re
from functools import lru_cache

from tokenizers import Tokenizer, models, pre_tokenizers

from mm1core.data.document import BOS, END, IMAGE, PAD, Answer, Document, Picture, Text
from mm1core.errors import DataError

SPECIAL_TOKENS = (PAD, BOS, END, IMAGE)
PAD_ID, BOS_ID, END_ID, IMAGE_ID = range(4)

_SPECIAL_SPELLING = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))


def encode(
    document: Document, tokenizer: Tokenizer, *, num_image_tokens: int, answer_weight: float
) -> tuple[list[int], list[float], list[Picture]]:
    """The document after ``<bos>``: token ids, the loss weight of each as a target, its pictures in order.

    ``<bos>`` and image slots weigh 0; each picture is ``num_image_tokens`` copies of the ``<image>`` id. Raises
    ``DataError`` naming the document for words the tokenizer does not know.
    """
    tokens, weights, pictures = [BOS_ID], [0.0], []
    for part in document.parts:
        match part:
            case Picture():
                tokens += [IMAGE_ID] * num_image_tokens
                weights += [0.0] * num_image_tokens
                pictures.append(part)
            case Text(text=text, weight=weight):
                ids = encode_text(text, tokenizer, name=document.name)
                tokens += ids
                weights += [weight] * len(ids)
            case Answer(text=text):
                ids = encode_text(text, tokenizer, name=document.name)
                tokens += ids
                weights += [answer_weight] * len(ids)
    return tokens, weights, pictures


def encode_text(text: str, tokenizer: Tokenizer, *, name: str) -> list[int]:
    """Token ids of one stretch of text; ``name`` says in errors where it comes from."""
    if text == END:
        return [END_ID]
    words = _words(tokenizer, tokenizer.get_vocab_size())
    if words:
        try:
            return [words[word] for word in text.split(" ")]
        except KeyError:
            pass  # an unknown word or other white space: the tokenizer itself decides
    if "<" in text:
        text = _SPECIAL_SPELLING.sub(lambda match: f"< {match.group()[1:]}", text)
    try:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    except Exception as error:  # the tokenizers library raises no narrower class for a word without an id
        raise DataError(f"{name}: the tokenizer cannot read {text[:80]!r}: {error}") from error
    if ids and min(ids) < len(SPECIAL_TOKENS):
        raise DataError(f"{name}: the tokenizer turned {text[:80]!r} into a special token; its vocabulary is unusable")
    return ids


@lru_cache(maxsize=16)
def _words(tokenizer: Tokenizer, vocabulary_size: int) -> dict[str, int]:
    """Ids by word where splitting at single spaces provably gives what the tokenizer gives; else empty.

    The tokenizers library takes several microseconds for each tiny text, which the world's documents are made of.
    ``vocabulary_size`` is part of the cache's key so that a tokenizer that grew is read again.
    """
    plain = (
        isinstance(tokenizer.model, models.WordLevel)
        and isinstance(tokenizer.pre_tokenizer, pre_tokenizers.WhitespaceSplit)
        and tokenizer.normalizer is None
        and tokenizer.truncation is None
        and tokenizer.padding is None
    )
    if not plain:
        return {}
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    return {
        word: number
        for word, number in tokenizer.get_vocab(with_added_tokens=False).items()
        if word.split() == [word] and not any(token in word for token in added)
    }
